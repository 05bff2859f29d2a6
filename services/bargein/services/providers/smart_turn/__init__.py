"""Smart Turn: a small model on this machine that hears whether the user has finished."""

from .turn_detector import SmartTurn, is_installed

__all__ = ["SmartTurn", "is_installed"]
