"""Contracts: what is read from annotations, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from typing import Any, Never, Union

import pytest

from bargein.pipeline import (
    Audio,
    ContractError,
    End,
    Frame,
    Graph,
    Inbox,
    Interrupt,
    Outlet,
    Pipeline,
    Played,
    Processor,
    Text,
    Transcript,
    Video,
)
from bargein.pipeline._contract import ProcessorKind, names


def test_a_plain_processor() -> None:
    """One parameter and an iterable: a sync processor."""

    class Step(Processor):
        def process(self, frame: Audio | Interrupt) -> Iterator[Audio | Text]:
            raise NotImplementedError

    contract = Step().contract
    assert contract.kind is ProcessorKind.SYNC
    assert contract.takes == {Audio, Interrupt}
    assert contract.gives == {Audio, Text}
    assert contract.data == {Audio}


def test_a_waiting_processor() -> None:
    """A coroutine with an outlet: an async processor."""

    class Step(Processor):
        async def process(self, frame: Transcript, out: Outlet[Text | Interrupt]) -> None: ...

    contract = Step().contract
    assert contract.kind is ProcessorKind.ASYNC
    assert contract.takes == {Transcript}
    assert contract.gives == {Text, Interrupt}


def test_loops() -> None:
    """Ports are found by annotation; either may be missing; without data to take it is a source."""

    class Both(Processor):
        async def run(self, inbox: Inbox[Audio], out: Outlet[Text]) -> None: ...

    class Swapped(Processor):
        async def run(self, to: Outlet[Text], box: Inbox[Audio]) -> None: ...

    class Source(Processor):
        async def run(self, out: Outlet[Audio]) -> None: ...

    class Hears(Processor):
        async def run(self, inbox: Inbox[Played], out: Outlet[Audio]) -> None: ...

    class Takes(Processor):
        async def run(self, inbox: Inbox[Audio]) -> None: ...

    assert Both().contract.ports == ("inbox", "out")
    assert Swapped().contract.ports == ("out", "inbox")
    assert [each().contract.source for each in (Both, Source, Hears, Takes)] == [False, True, True, False]
    assert Takes().contract.gives == frozenset()


@pytest.mark.parametrize("given", [Iterator[Text], Iterable[Text], Generator[Text, None, None], list[Text], None])
def test_return_types_of_a_sync_processor(given: Any) -> None:
    """Any iterable of frames, or nothing."""

    class Step(Processor):
        def process(self, frame: Audio) -> given:
            raise NotImplementedError

    assert Step().contract.gives == (frozenset() if given is None else {Text})


def test_unions_and_never() -> None:
    """Old unions are read; `Never` takes nothing."""

    class Step(Processor):
        async def run(self, inbox: Inbox[Never], out: Outlet[Union[Audio, Text]]) -> None: ...  # noqa: UP007

    assert Step().contract.takes == frozenset()
    assert Step().contract.gives == {Audio, Text}


def test_frame_stands_for_all_data() -> None:
    """`Frame` takes media, text and events; control and upstream frames must be named."""

    class Step(Processor):
        def process(self, frame: Frame) -> Iterator[Frame]:
            yield frame

    accepts = Step().contract.accepts
    assert [accepts(kind) for kind in (Audio, Video, Transcript)] == [True, True, True]
    assert [accepts(kind) for kind in (Interrupt, Played, End)] == [False, False, False]


def test_names_of_a_function_around_the_class() -> None:
    """Annotations may name classes that exist only where the class statement stands."""

    class Local(Frame, frozen=True, kw_only=True):
        value: int

    class Step(Processor):
        def process(self, frame: Local) -> Iterator[Local]:
            yield frame

    assert Step().contract.takes == {Local}


class Early(Processor):
    def process(self, frame: Later) -> Iterator[Later]:
        yield frame


class Later(Frame, frozen=True, kw_only=True):
    value: int


class Lost(Processor):
    def process(self, frame: Nowhere) -> Iterator[Audio]:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError


def test_names_further_down_are_read_at_link_time() -> None:
    """An annotation that cannot be found anywhere is named in the error."""
    assert Pipeline(Early()).contract.takes == {Later}
    with pytest.raises(ContractError, match="names 'Nowhere', which cannot be found"):
        _ = Pipeline(Lost()).plan


def refused(message: str, **members: Any) -> None:
    with pytest.raises(ContractError, match=message):
        type("Step", (Processor,), members)


def test_bad_annotations_are_errors_at_the_class_statement() -> None:
    """Each error says what is wrong and what to write."""

    def bare(self, frame): ...  # type: ignore[no-untyped-def]
    def no_return(self, frame: Audio): ...  # type: ignore[no-untyped-def]
    def wrong(self: Any, frame: bytes) -> Iterator[Audio]: ...  # type: ignore[empty-body]
    def single(self: Any, frame: Audio) -> Audio: ...  # type: ignore[empty-body]
    def none(self: Any) -> Iterator[Audio]: ...  # type: ignore[empty-body]
    def two(self: Any, frame: Audio, out: Outlet[Audio]) -> None: ...
    async def alone(self: Any, frame: Audio) -> None: ...
    async def no_port(self: Any, frame: Audio, out: Audio) -> None: ...
    async def bare_port(self: Any, frame: Audio, out: Outlet) -> None: ...  # type: ignore[type-arg]
    async def stream(self: Any, frame: Audio) -> AsyncIterator[Audio]:
        yield frame

    def sync(self: Any, inbox: Inbox[Audio]) -> None: ...
    async def nothing(self: Any) -> None: ...
    async def odd(self: Any, inbox: Inbox[Audio], more: int) -> None: ...
    async def untyped(self, inbox): ...  # type: ignore[no-untyped-def]

    refused("'frame' has no annotation; write `def process", process=bare)
    refused("no return annotation", process=no_return)
    refused("'frame' is annotated with <class 'bytes'>, which is not a Frame class", process=wrong)
    refused("returns .*Audio.*expected Iterator", process=single)
    refused(r"takes \(nothing\)", process=none)
    refused(r"takes \(frame, out\); expected `def process", process=two)
    refused(r"takes \(frame\); expected `async def process", process=alone)
    refused(r"expected Outlet\[SomeFrame", process=no_port)
    refused(r"expected Outlet\[SomeFrame", process=bare_port)
    refused("async generator, which nothing could interrupt", process=stream)
    refused("not a coroutine", run=sync)
    refused("takes nothing; write", run=nothing)
    refused("'more' is annotated with <class 'int'>", run=odd)
    refused("'inbox' has no annotation", run=untyped)
    refused(r"both process\(\) and run\(\)", process=single, run=odd)


def test_blocking_is_for_plain_processors() -> None:
    """An async processor cannot be moved to a thread."""
    with pytest.raises(ContractError, match="blocking = True is for"):

        class Step(Processor):
            blocking = True

            async def process(self, frame: Audio, out: Outlet[Audio]) -> None: ...


def test_a_base_class_needs_no_contract() -> None:
    """A class without process() and run() can be defined, but it cannot stand in a graph."""

    class Base(Processor):
        pass

    with pytest.raises(ContractError, match=r"neither process\(\) nor run\(\)"):
        _ = Graph(Base()).plan

    class Child(Base):
        def process(self, frame: Audio) -> None: ...

    assert Child().contract.takes == {Audio}


def test_names_in_words() -> None:
    """Lists of classes read as sentences."""
    assert names([]) == "nothing"
    assert names([Audio]) == "Audio"
    assert names([Text, Audio, Video]) == "Audio, Text or Video"


def make_base() -> type[Processor]:
    class Local(Frame, frozen=True, kw_only=True):
        value: int

    class Base(Processor):
        def process(self, frame: Local) -> Iterator[Local]:
            yield frame

    return Base


def test_subclasses_inherit_what_they_do_not_redefine() -> None:
    """A subclass uses the contract of its base, even where the annotations could not be read again."""
    base = make_base()
    child = type("Child", (base,), {"extra": 1})
    assert child().contract == base().contract
