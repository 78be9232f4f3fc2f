"""The patterns of sentences, by subject; each yields its sentences in both languages.

A pattern leaves the capital at the beginning and the full stop at the end to generate.py.
"""

from collections.abc import Iterator

Pairs = Iterator[tuple[str, str]]
