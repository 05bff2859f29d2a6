"""A sound file in the user's place."""

from .transport import FileTransport

__all__ = ["FileTransport"]
