"""Prints docs/options.md."""

from seq2seq.config.page import page

print(page(), end="")
