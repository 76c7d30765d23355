"""The engine contract as protobuf: `engine.proto`, and what `make wire` makes of it."""
