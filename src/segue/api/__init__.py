"""HTTP: the REST interface, live events, and the page. `create_app` is all that a server needs."""

from segue.api.access import Access
from segue.api.app import create_app, create_engine_app, stop_streams
from segue.engine.library import FlowLibrary

__all__ = ["Access", "FlowLibrary", "create_app", "create_engine_app", "stop_streams"]
