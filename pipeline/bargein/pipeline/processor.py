"""A processor: a function from one frame to frames, on one of three rungs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, Self, cast

import msgspec

from ._contract import Contract, ProcessorKind, read_contract
from .errors import ContractError, FrameError
from .frames import Frame

__all__ = ["AudioFormat", "OnError", "Pass", "Processor", "as_processor"]

OnError = Literal["raise", "drop", "restart"]
"""What an exception in a processor does: end the session, lose one frame, or start the processor anew."""


class AudioFormat(msgspec.Struct, frozen=True):
    """What sound a processor wants or makes; checked when a graph is linked. None leaves a side open."""

    rates: int | tuple[int, ...] | None = None
    """Samples a second (Hz): the one, or those it can choose among."""
    channels: int | None = None
    """How many channels."""

    def __post_init__(self) -> None:
        for rate in (self.rates,) if isinstance(self.rates, int) else self.rates or ():
            if rate <= 0:
                raise FrameError(f"AudioFormat: a rate of {rate} Hz; expected a positive number of samples a second")

    def __str__(self) -> str:
        rates = () if self.rates is None else (self.rates,) if isinstance(self.rates, int) else self.rates
        words = [" or ".join(str(rate) for rate in rates) + " Hz"] if rates else []
        if self.channels:
            words.append({1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels"))
        return ", ".join(words) or "any audio"


class Processor:
    """One step of a graph. Its annotations are its contract.

    Define one of::

        def process(self, frame: Audio) -> Iterator[Audio]:                          # plain: no task, no queue
        async def process(self, frame: Transcript, out: Outlet[Text]) -> None:       # it waits
        async def run(self, inbox: Inbox[Audio], out: Outlet[Audio]) -> None:        # it owns its loop

    A processor that is a context manager (plain or async) is entered before its first frame and left after its last,
    however the session ends. Subclasses need not call `super().__init__()`.

    Raises `ContractError` at the `class` statement when an annotation is missing or names no frame class.
    """

    name: str = ""
    """What it is called in errors, statistics and drawings; its class name when empty."""
    blocking: bool = False
    """Run this plain processor in a worker thread of its own, because it computes for long or blocks."""
    on_error: OnError = "raise"
    """What an exception does. `drop` is for processors that take frames, `restart` for those with a loop."""
    restarts: int = 3
    """How many restarts one session allows before the exception ends it."""
    capacity: int | None = None
    """How many frames its inbox holds; None for the session's default. Only where it has an inbox."""
    latency_ms: float = 0.0
    """The delay it adds, in milliseconds, as its author declares it. Drawn, and summed along the path."""
    audio_in: AudioFormat | None = None
    """The sound it can take, when not any."""
    audio_out: AudioFormat | None = None
    """The sound it makes; None when it is what came in."""

    contract_: ClassVar[Contract | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.contract is not Processor.contract:
            return  # a graph: its contract is made of its parts'
        if not {"process", "run", "blocking"} & vars(cls).keys() and cls.contract_ is not None:
            return  # inherited with what it is read from
        # Annotations may name classes of the function that contains the class statement: look there too.
        try:
            cls.contract_ = _read(cls, sys._getframe(1).f_locals)
        except NameError:
            cls.contract_ = None  # a name that is defined further down: read again when the graph is linked

    @property
    def contract(self) -> Contract:
        """What it takes and gives. Raises `ContractError` when it cannot be told."""
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
            raise ContractError(f"{cls.__name__} defines neither process() nor run(), so it cannot stand in a graph")
        cls.contract_ = contract
        return contract

    def statistics(self) -> Any:
        """What it counts itself: a frozen snapshot, shown in the session's statistics as `own`; None for nothing."""
        return None

    def options(
        self,
        *,
        name: str | None = None,
        on_error: OnError | None = None,
        restarts: int | None = None,
        capacity: int | None = None,
    ) -> Self:
        """Set what the session should know about this one processor, and return it, for use inside a chain."""
        if name is not None:
            self.name = name
        if on_error is not None:
            self.on_error = on_error
        if restarts is not None:
            self.restarts = restarts
        if capacity is not None:
            self.capacity = capacity
        return self

    def __repr__(self) -> str:
        called = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__}{called}>"


def _read(cls: type[Processor], local: dict[str, Any] | None) -> Contract | None:
    contract = read_contract(cls.__name__, getattr(cls, "process", None), getattr(cls, "run", None), local)
    if contract and cls.blocking and contract.kind is not ProcessorKind.SYNC:
        raise ContractError(
            f"{cls.__name__}: blocking = True is for `def process(self, frame)`; inside async code, "
            "use `await anyio.to_thread.run_sync(...)`"
        )
    return contract


class Pass(Processor):
    """Take frames of the given classes (all data, when none is given) and give them on unchanged.

    It changes nothing on a line; as one branch among others it is the dry path beside the processed one.
    """

    def __init__(self, *kinds: type[Frame]) -> None:
        takes = frozenset(kinds or (Frame,))
        self.contract_ = Contract(kind=ProcessorKind.SYNC, takes=takes, gives=takes)  # type: ignore[misc]

    def process(self, frame: Frame) -> Iterator[Frame]:
        """Give the frame on."""
        yield frame


class _Function(Processor):
    """A plain annotated function as a processor."""

    def __init__(self, function: Callable[..., Any], contract: Contract) -> None:
        self.name = getattr(function, "__name__", "function")
        self.contract_ = contract  # type: ignore[misc]
        self.process = function


def as_processor(step: object) -> Processor:
    """A step of a graph as a processor: a processor as it is, an annotated function wrapped.

    Raises `ContractError` for anything else, with what it was.
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
