"""Scores of translations against references, each with the signature that says how it was made."""
