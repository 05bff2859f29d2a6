"""The outlet of a processor: where it sends its frames."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar, TypeVarTuple, cast

from anyio.lowlevel import checkpoint

from ._epoch import Epoch
from ._inbox import Inbox
from ._limits import CHECKPOINT_MASK, TAKES_ROOM, future_epoch_error
from .errors import ContractError
from .frames import LIVE, Delivery, Frame
from .statistics import Counters

__all__ = ["Emitter", "Engine", "Outlet"]

F_contra = TypeVar("F_contra", bound=Frame, contravariant=True)
Args = TypeVarTuple("Args")


class Emitter(Protocol):
    """What an outlet needs to know of the stage that emits: a `Stage`, seen from below it in the order of imports."""

    name: str
    counters: Counters
    unpaid: list[Inbox[Any]]

    def not_a_frame(self, value: object) -> ContractError:
        """Return the error for emitting something that is not a frame."""


class Engine(Protocol):
    """What an outlet asks of the run. `stage` is the run's own `Stage`."""

    epoch: Epoch
    overfull: list[Inbox[Any]]
    feed: Callable[[Any, Frame], None]
    trim: Callable[[], None]

    def has_taker(self, stage: Any, kind: type[Frame]) -> bool:
        """Return whether a processor above a stage takes frames of an upstream class."""

    async def wait_for_room(self, stage: Any) -> None:
        """Wait until everything that the stage has just overfilled has room again."""

    async def pay(self, stage: Any) -> None:
        """Wait for the room for which an earlier, cancelled send did not wait."""

    def start_reply(
        self, stage: Any, reply: Outlet[Any], function: Callable[..., Coroutine[Any, Any, None]], args: tuple[Any, ...]
    ) -> None:
        """Start a task for a response."""


class Outlet(Generic[F_contra]):
    """The way out of a processor.

    Media and text that are sent never outlive their cause. In `process(frame, out)` the cause is the frame. In a reply,
    made by `reply()` or `respond()`, it is the response, which belongs to the epoch in which it started.
    """

    __slots__ = ("_cause", "_run", "_sent", "_stage")

    def __init__(self, run: Engine, stage: Emitter, cause: int = LIVE) -> None:
        """Called by the engine.

        Args:
            run: The session's engine.
            stage: The processor that sends.
            cause: The epoch of the frame that is being processed. What is sent expires with it at the latest. Default
                `LIVE`.
        """
        self._run = run
        self._stage = stage
        self._cause = cause
        self._sent = 0

    @property
    def epoch(self) -> int:
        """The latest epoch that a sent frame may belong to: the response's, or else the session's current one."""
        return self._run.epoch.number if self._cause == LIVE else self._cause

    @property
    def stale(self) -> bool:
        """Whether an interrupt has expired the response, so that everything sent would be dropped."""
        return self._cause < self._run.epoch.number

    def is_taken(self, kind: type[Frame]) -> bool:
        """Return whether a processor above takes frames of an upstream class.

        A processor that could send much upstream asks once, and saves the cost if nothing takes it.

        Args:
            kind: A class of frames with `Delivery.UPSTREAM`.
        """
        return self._run.has_taker(self._stage, kind)

    async def send(self, frame: F_contra) -> None:
        """Send a frame, and wait until there is room for more. A stale frame is dropped and counted.

        Args:
            frame: The frame. Without an epoch of its own it inherits that of its cause.
        """
        run, stage = self._run, self._stage
        if stage.unpaid and frame.delivery in TAKES_ROOM:
            await run.pay(stage)
        self._emit(frame)
        if run.overfull:
            await run.wait_for_room(stage)
        else:
            self._sent += 1
            if not self._sent & CHECKPOINT_MASK:
                await checkpoint()

    def offer(self, frame: F_contra) -> None:
        """Send a frame without ever waiting. For live sources, such as microphones and cameras.

        Where an inbox is full, its oldest frame is dropped and counted.

        Args:
            frame: The frame. Without an epoch of its own it inherits that of its cause.
        """
        self._emit(frame)
        # After the frame is in, so that the newest is kept: of live media the past is worth least.
        self._run.trim()

    def reply(self) -> Outlet[F_contra]:
        """Begin a response.

        Returns:
            An outlet whose frames belong to the current epoch, however late they are sent.
        """
        # A reply within a reply would get a newer epoch than the words that it continues.
        if self._cause != LIVE:
            return self
        return Outlet(self._run, self._stage, self._run.epoch.begin_response())

    def respond(
        self, function: Callable[[Outlet[F_contra], *Args], Coroutine[Any, Any, None]], *args: *Args
    ) -> Outlet[F_contra]:
        """Begin a response in its own task, which the next interrupt cancels.

        The processor continues to listen meanwhile. An exception in the function counts as one in the processor.

        Args:
            function: Called as `await function(reply, *args)`; it sends the response through `reply`.
            args: Further arguments of the function.

        Returns:
            The outlet of the response.
        """
        reply = self.reply()
        self._run.start_reply(self._stage, reply, cast("Callable[..., Coroutine[Any, Any, None]]", function), args)
        return reply

    def _emit(self, frame: Frame) -> None:
        # The hot path of every async processor: one function, no helpers, the usual case first.
        if not isinstance(frame, Frame):
            raise self._stage.not_a_frame(frame)
        run, stage, cause = self._run, self._stage, self._cause
        # What a frame causes never outlives it. This one comparison is what keeps the promise for async processors.
        if frame.epoch > cause and frame.delivery in (Delivery.STREAM, Delivery.URGENT):
            frame = frame.stamped(cause)
        if frame.epoch != LIVE and frame.delivery is not Delivery.URGENT:
            if frame.epoch < run.epoch.number:
                stage.counters.stale += 1
                return
            if frame.epoch > run.epoch.number:
                raise future_epoch_error(frame, run.epoch.number)
            if cause == LIVE:  # the processor set the epoch itself, which is another way to begin a response
                run.epoch.begin_response()
        stage.counters.frames_out += 1
        run.feed(stage, frame)

    def __repr__(self) -> str:
        return f"<Outlet of {self._stage.name}{'' if self._cause == LIVE else f', epoch {self._cause}'}>"
