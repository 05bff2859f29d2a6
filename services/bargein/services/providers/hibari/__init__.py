"""A natural English voice on this machine, with its weights in a package."""

from .text_to_speech import Hibari, is_installed

__all__ = ["Hibari", "is_installed"]
