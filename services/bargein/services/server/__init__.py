"""An agent's page and all of its HTTP: signalling, the WebSocket, health, metrics, and drawings of running sessions."""

from .app import make_app
from .metrics import Metrics
from .run import collect_agents, run_page
from .serve import PageOptions, PageServer, serve_page

__all__ = ["Metrics", "PageOptions", "PageServer", "collect_agents", "make_app", "run_page", "serve_page"]
