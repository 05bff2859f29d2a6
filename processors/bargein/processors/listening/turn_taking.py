"""Who takes the user's turns."""

from __future__ import annotations

from typing import ClassVar

from bargein.pipeline import Delivery, Frame

__all__ = ["TurnControl"]


class TurnControl(Frame, frozen=True):
    """Who says from now on when the user speaks, and when it is the agent's turn.

    Those who would decide it below, such as `Vad`, `BargeIn`, `Turns` and whole brains, leave it to those above.
    """

    delivery: ClassVar[Delivery] = Delivery.EVENT

    external: bool = True
    """Somebody above does, by `SpeechStarted`, `SpeechStopped`, `Commit` and `Interrupt`; or those below, as ever."""
