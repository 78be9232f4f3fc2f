"""The little of English and German that the phrasebook knows: words, and how they change."""
