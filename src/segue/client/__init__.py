"""Doors for Python programs: Segue in one's own process, and a client of a running host."""
