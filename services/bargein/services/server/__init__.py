"""An agent's page and all of its HTTP: signalling, the WebSocket, health, metrics, and drawings of running sessions."""

from .app import make_app
from .metrics import Metrics
from .serve import PageOptions, PageServer, run_page, serve_page

__all__ = ["Metrics", "PageOptions", "PageServer", "make_app", "run_page", "serve_page"]
