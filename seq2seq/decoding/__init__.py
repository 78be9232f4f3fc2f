"""From a model and lines of text to lines of text."""
