"""An agent's page and everything HTTP: signalling, the socket, health, metrics, and the pipelines that run."""

from .app import make_app
from .metrics import Metrics
from .serve import PageServer, serve_page

__all__ = ["Metrics", "PageServer", "make_app", "serve_page"]
