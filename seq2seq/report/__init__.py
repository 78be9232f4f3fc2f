"""Pages that a person looks at: each is one HTML file that needs nothing else, and no network."""
