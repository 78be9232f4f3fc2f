"""Text where it lies, in whatever form, to pairs of segments."""
