"""`RunIds`: makes the ids of several brains unique within one conversation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from bargein.pipeline import Frame, Played
from bargein.processors import AgentActivity, Heard

__all__ = ["MAX_EXTERNAL_IDS", "RunIds", "item_id_of"]

MAX_EXTERNAL_IDS = 256
"""Number of ids from above the failover that are remembered. They belong to no brain and are never renamed."""
ID_FIELDS = ("response_id", "item_id", "call_id")
ID_LIST_FIELDS = ("item_ids", "call_ids")


# Some brains number their items from one. Without renaming, the ids of two runs would collide, and a late report about
# one brain's item would be taken for a report about the other's.
class RunIds:
    """Renames the ids of one run of a brain. Outside of the run, the ids of run 2 begin with `2.`.

    Args:
        number: The number of the run, from 1. The ids of run 1 are not changed.
        external: Ids that came from above the failover.
    """

    def __init__(self, number: int, external: deque[str]) -> None:
        self.is_first = number == 1
        """Whether this is the first run."""
        self._prefix = "" if self.is_first else f"{number}."
        self._external = external

    def outward(self, name: str) -> str:
        """Return the id that the outer graph and the history use for an id of the brain."""
        # Ids from above stay the same for every brain, because processors above refer to them.
        return name if not name or name in self._external else self._prefix + name

    def inward(self, name: str) -> str:
        """Return the id that the brain uses for an id of the outer graph. An id of another run stays as it is."""
        return name.removeprefix(self._prefix)

    def frame_outward(self, frame: Frame) -> Frame:
        """Return a frame of the brain for the rest of the graph."""
        return _rename(frame, self.outward) if self._prefix else frame

    def frame_inward(self, frame: Frame) -> Frame:
        """Return a frame of the graph for the brain.

        A report about another run gets an id that cannot be one of this brain's ids.
        """
        if not self._prefix:
            return frame
        is_report = isinstance(frame, Played | Heard | AgentActivity)
        return _rename(frame, self._report_inward if is_report else self.inward)

    def _report_inward(self, name: str) -> str:
        # No run has the number 0, so ids with this prefix belong to no item of this brain.
        return name.removeprefix(self._prefix) if name.startswith(self._prefix) else f"0.{name}"


# Cached, because every frame of the second and later runs needs it.
@cache
def _id_fields(kind: type[Frame]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = kind.__struct_fields__
    return (
        tuple(name for name in ID_FIELDS if name in known),
        tuple(name for name in ID_LIST_FIELDS if name in known),
    )


def item_id_of(frame: Frame) -> str:
    """Return the id of the item that a frame belongs to; empty if its class has no items."""
    return getattr(frame, "item_id") if "item_id" in _id_fields(type(frame))[0] else ""  # noqa: B009  # checked here


def _rename(frame: Frame, rename: Callable[[str], str]) -> Frame:
    fields, list_fields = _id_fields(type(frame))
    changes: dict[str, Any] = {}
    for field in fields:
        if (old := getattr(frame, field)) and (new := rename(old)) != old:
            changes[field] = new
    for field in list_fields:
        if old := getattr(frame, field):
            changes[field] = tuple(map(rename, old))
    return msgspec.structs.replace(frame, **changes) if changes else frame
