"""Flows that a workspace keeps: one draft each, immutable versions, templates, saved steps.

`StoredFlows` is the service that the doors call; `Shelf` shows its flows beside those of folders, by one rule for ids.
"""
