"""Turns pairs of text into a model, from the command line."""
