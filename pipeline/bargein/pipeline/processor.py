"""The base class of processors: functions from one frame to frames, of one of three kinds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self, cast

from ._contract import Contract, ProcessorKind, read_contract
from ._options import check_options
from .audio_format import AudioFormat
from .errors import ContractError
from .frames import Frame

__all__ = ["OnError", "Pass", "Processor", "ProcessorLike", "as_processor"]

OnError = Literal["raise", "drop", "restart"]
"""What an exception in a processor does: end the session, lose one frame, or restart the processor."""


class Processor:
    """One step of a graph. Its annotations are its contract.

    Define one of three methods, each of which adds one power::

        # Sync: a generator. No task and no queue.
        def process(self, frame: Audio) -> Iterator[Audio]: ...

        # Async: it awaits. One frame at a time, in its own task.
        async def process(self, frame: Transcript, out: Outlet[Text]) -> None: ...

        # Loop: it owns its loop.
        async def run(self, inbox: Inbox[Audio], out: Outlet[Audio]) -> None: ...

    A processor that is a context manager (sync or async) is entered before its first frame and left after its last,
    however the session ends. Subclasses need not call `super().__init__()`.

    Raises:
        ContractError: At the `class` statement, when an annotation is missing or names no frame class.
    """

    name: str = ""
    """Its name in errors, statistics and drawings. Empty for its class name."""
    blocking: bool = False
    """Whether to run this sync processor in its own worker thread, because it computes for long or blocks."""
    on_error: OnError = "raise"
    """What an exception does. `drop` is for processors that define `process`, `restart` for those that define `run`."""
    max_restarts: int = 3
    """How many restarts one session allows before the exception ends it."""
    capacity: int | None = None
    """How many frames its inbox holds. None for the session's default. Without effect on fused processors."""
    latency_ms: float = 0.0
    """The delay that it adds, in milliseconds, as its author declares it. Drawn, and summed along the path."""
    audio_in: AudioFormat | None = None
    """The sound that it can take. None for any."""
    audio_out: AudioFormat | None = None
    """The sound that it sends. None when it sends the sound in the format in which it came."""

    contract_: ClassVar[Contract | None] = None
    is_adapter: bool = False
    """Whether a graph placed it as an adapter of another processor. Then no processor above has to send what it
    takes."""
    _session: object = None  # the session that runs it, which alone may use it

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.contract is not Processor.contract:
            return  # a graph, which makes its contract from its parts
        if not {"process", "run", "blocking"} & vars(cls).keys() and cls.contract_ is not None:
            return  # inherited, with the method that it is read from
        # Annotations may name classes of the function that contains the class statement: look there too.
        try:
            cls.contract_ = _read(cls, sys._getframe(1).f_locals)
        except NameError:
            cls.contract_ = None  # a name that is defined further down: read again when the graph is linked

    @property
    def in_session(self) -> bool:
        """Whether a session runs it, or has not let go of it yet. Another session cannot take it until then."""
        return self._session is not None

    @property
    def contract(self) -> Contract:
        """The frame classes that it takes and sends.

        Raises:
            ContractError: An annotation names something that cannot be found, or there is no method to read.
        """
        if self.contract_ is not None:
            return self.contract_
        cls = type(self)
        try:
            contract = _read(cls, None)
        except NameError as error:
            raise ContractError(
                f"{cls.__name__}: an annotation names {error.name!r}, which cannot be found. "
                "Import it at run time, not only under TYPE_CHECKING"
            ) from error
        if contract is None:
            raise ContractError(f"{cls.__name__} defines neither process() nor run(), so it cannot be part of a graph")
        cls.contract_ = contract
        return contract

    def adapters(self) -> Sequence[Processor]:
        """Return new processors that a graph places directly above this one, in order.

        A processor that is particular about its input overrides this, so that its users need not convert for it. For
        example, a model that hears 24 kHz brings a `Resample`. Adapters are ordinary processors: they are checked,
        counted and drawn like the others. The default returns none.
        """
        return ()

    def statistics(self) -> object:
        """Return what the processor itself counts: a frozen snapshot, shown in the session's statistics as `own`.

        The default returns None.
        """
        return None

    @check_options
    def options(
        self,
        *,
        name: str | None = None,
        on_error: OnError | None = None,
        max_restarts: int | None = None,
        capacity: int | None = None,
    ) -> Self:
        """Set how the session treats this processor, and return the processor, for use inside a chain.

        What is None stays as it is.

        Args:
            name: Its name in errors, statistics and drawings.
            on_error: What an exception does: `raise`, `drop` or `restart`.
            max_restarts: How many restarts one session allows.
            capacity: How many frames its inbox holds, at least 1.
        """
        if name is not None:
            self.name = name
        if on_error is not None:
            self.on_error = on_error
        if max_restarts is not None:
            self.max_restarts = max_restarts
        if capacity is not None:
            self.capacity = capacity
        return self

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__}{name}>"


def _read(cls: type[Processor], local: dict[str, Any] | None) -> Contract | None:
    contract = read_contract(cls.__name__, getattr(cls, "process", None), getattr(cls, "run", None), local)
    if contract and cls.blocking and contract.kind is not ProcessorKind.SYNC:
        raise ContractError(
            f"{cls.__name__}: blocking = True is for `def process(self, frame)`; inside async code, "
            "use `await anyio.to_thread.run_sync(...)`"
        )
    return contract


class ProcessorLike(Protocol):
    """The part of `Processor` by which a protocol, such as `Brain`, tells type checkers that it describes processors.

    A graph takes it wherever it takes a processor. At run time the object has to be a `Processor`.
    """

    def adapters(self) -> Sequence[Processor]:
        """Return new processors that a graph places directly above this one. See `Processor.adapters`."""


class Pass(Processor):
    """Take frames and pass them on unchanged.

    In a line it changes nothing. As one branch among others it is the unprocessed path beside the processed one.

    Args:
        kinds: The frame classes to take. Default: all data.
    """

    def __init__(self, *kinds: type[Frame]) -> None:
        takes = frozenset(kinds or (Frame,))
        self.contract_ = Contract(kind=ProcessorKind.SYNC, takes=takes, gives=takes)  # type: ignore[misc]

    def process(self, frame: Frame) -> Iterator[Frame]:
        """Yield the frame."""
        yield frame


class _Function(Processor):
    """An annotated function as a processor."""

    def __init__(self, function: Callable[..., Any], contract: Contract) -> None:
        self.name = getattr(function, "__name__", "function")
        self.contract_ = contract  # type: ignore[misc]
        self.process = function


def as_processor(step: object) -> Processor:
    """Return a step of a graph as a processor: a processor as it is, an annotated function wrapped.

    Args:
        step: A `Processor`, or a function with type annotations.

    Raises:
        ContractError: The step is something else. The message shows it.
    """
    if isinstance(step, Processor):
        return step
    if isinstance(step, type) and issubclass(step, Processor):
        raise ContractError(f"{step.__name__} is a class; a graph is made of instances: write {step.__name__}(...)")
    if callable(step):
        owner = getattr(step, "__name__", repr(step))
        try:
            contract = read_contract(owner, step, None, bound=False)
        except NameError as error:
            raise ContractError(f"{owner}: an annotation names {error.name!r}, which cannot be found") from error
        return _Function(cast("Callable[..., Any]", step), cast("Contract", contract))
    raise ContractError(f"a graph is made of processors, not of {type(step).__name__} {step!r:.60}")
