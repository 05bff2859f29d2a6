"""An agent may be silent: one that writes only, or listens only."""

from __future__ import annotations

from collections.abc import Iterator

from bargein.pipeline import Audio, Interrupt, Processor

__all__ = ["MayBeSilent"]


class MayBeSilent(Processor):
    """Stands first in a sink that plays. It says that sound may come, so that a graph without any is no mistake.

    It gives none. It takes what is urgent, as nothing above need give that.
    """

    def process(self, frame: Interrupt) -> Iterator[Audio]:
        """Nothing to do."""
        yield from ()
