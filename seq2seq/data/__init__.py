"""Pairs of segments to batches of token ids: cleaned, cut into pieces, stored, mixed."""
