"""The extras' one sentence, as the processors say it."""

from __future__ import annotations

from bargein.processors._need import need

__all__ = ["need"]
