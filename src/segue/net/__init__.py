"""The one outgoing HTTP client: where a call may go, how large and long it may be, how it fails."""
