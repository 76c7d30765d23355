"""Benchmarks: Segue beside the bare group-committing loop, DBOS and Restate on the same work. Read RESULTS.md first."""
