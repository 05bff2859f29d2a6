"""The head of a switch: the processor that chooses among branches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from .errors import LinkError
from .frames import Frame
from .processor import Processor

__all__ = ["Route", "Router"]

Route = str | Mapping[type[Frame], str] | Callable[[Frame], str]
"""How a switch chooses: one branch for all frames, a branch for each frame class, or a function from frame to
branch."""


class Router(Processor):
    """The head of a switch: it sends each frame down one branch."""

    def __init__(self, route: Route, branches: Mapping[str, Processor]) -> None:
        self.branches = branches
        # Names are checked when the switch is made. What a function returns can only be checked for each frame.
        self.check(route)
        self.route: Route = route

    def process(self, frame: Frame) -> Iterator[Frame]:
        """Yield the frame. The engine asks `choose` for its branch."""
        yield frame

    def choose(self, frame: Frame) -> str:
        """Return the name of the branch for a frame.

        Raises:
            LinkError: There is no branch for it.
        """
        route = self.route
        if isinstance(route, str):
            return route
        if callable(route):
            branch = route(frame)
        else:
            # Exact classes only: with base classes the choice would depend on the order of the entries.
            listed = route.get(type(frame)) or route.get(Frame)
            if listed is None:
                raise LinkError(
                    f"the switch has no branch for {type(frame).__name__}; "
                    f"name one for `Frame` to catch what is not listed: {{..., Frame: {next(iter(self.branches))!r}}}"
                )
            branch = listed
        if branch not in self.branches:
            raise self._unknown(branch)
        return branch

    def check(self, route: Route) -> None:
        """Check that a route names branches that exist.

        Raises:
            LinkError: A branch does not exist.
        """
        named = [route] if isinstance(route, str) else list(route.values()) if isinstance(route, Mapping) else []
        for branch in named:
            if branch not in self.branches:
                raise self._unknown(branch)

    def _unknown(self, branch: object) -> LinkError:
        return LinkError(f"the switch has no branch {branch!r}; it has {', '.join(map(repr, self.branches))}")
