"""Other engines, measured on the same work from bench-only environments (`python -m bench.peers.setup`)."""
