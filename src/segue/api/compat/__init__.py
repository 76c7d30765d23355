"""The source documents' own paths, bodies and status words, as thin doors to what the canonical API does."""
