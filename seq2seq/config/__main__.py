"""Prints docs/options.md."""

from seq2seq.config.documentation import page

print(page(), end="")
