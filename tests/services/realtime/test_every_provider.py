"""Every provider with its stand-in, and everything at once: speech, tools that end late, breaks, and bent messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest

from bargein.pipeline import (
    LIVE,
    Audio,
    Played,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    ToolResult,
    UserText,
)
from bargein.pipeline.testing import Harness, framed, silence, speech_like
from bargein.processors import Commit, Heard, Pacer, Spoken
from bargein.services.frames import Configure, Respond, Say, ToolFinished, ToolStarted
from bargein.services.providers.catalog import PROVIDERS, Provider
from bargein.services.realtime import Realtime
from bargein.services.realtime._dialogue.responses import MAX_RESPONSES
from bargein.services.sockets import Endpoint, Socket, SocketClosedError
from bargein.services.testing.rehearsal import STAND_INS
from bargein.services.tools import tool
from tests.services.upheaval import nothing_stale, seeded

pytestmark = pytest.mark.virtual

SEEDS = 2
"""With each provider, on each of two backends; thousands were run by hand."""
BREAKS = 4
"""So many connections may break."""
REPLIES: tuple[Any, ...] = (
    "one two three four five six seven eight",
    [ToolCall(call_id="", name="look", arguments='{"at": "it"}'), ToolCall(call_id="", name="wait", arguments="{}")],
    "nine ten",
    ["a word, and", ToolCall(call_id="", name="fail", arguments="{}")],
    "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty",
)
BENT = ("no JSON", "[]", "{}", '{"type": 7}', '{"type": "unheard.of", "response": 3}', '{"serverContent": []}', '{"a":')


class Wire:
    """What `connect` gives, with faults: messages that mean nothing, and connections that break at any of them."""

    def __init__(self, connect: Callable[[Endpoint], AbstractAsyncContextManager[Socket]], random: Random) -> None:
        self._connect = connect
        self._random = random
        self.faulty = True
        self.connections = 0
        self.open = 0

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        async with self._connect(endpoint) as socket:
            self.connections += 1
            self.open += 1
            try:
                yield _Line(socket, self, self._random)
            finally:
                self.open -= 1


class _Line:
    def __init__(self, socket: Socket, wire: Wire, random: Random) -> None:
        self._socket = socket
        self._wire = wire
        self._random = random
        self._left = random.choice((10**9, 10**9, 3, 30, 100, 300)) if wire.connections < BREAKS else 10**9

    async def receive(self) -> str | bytes:
        if self._wire.faulty and self._random.random() < 0.03:
            return self._random.choice(BENT)
        await self._worn()
        return await self._socket.receive()

    async def send(self, data: str | bytes) -> None:
        await self._worn()
        await self._socket.send(data)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._socket.close(code, reason)

    async def _worn(self) -> None:
        self._left -= 1
        if self._wire.faulty and self._left <= 0:
            await self._socket.close(1006)
            raise SocketClosedError(1006)


def tools(random: Random) -> list[Any]:
    """One that answers at once or late, one that is called off by an interrupt, one that fails."""

    @tool
    async def look(at: str) -> str:
        """Look."""
        await anyio.sleep(random.choice((0, 0, 0.1, 1, 4)))
        return at

    @tool(cancellable=True)
    async def wait() -> str:
        """Wait."""
        await anyio.sleep(random.choice((0, 0.5, 3)))
        return "over"

    @tool
    async def fail() -> str:
        """Fail."""
        await anyio.sleep(random.choice((0, 1)))
        raise RuntimeError("no")

    return [look, wait, fail]


async def converse(provider: Provider, seed: int) -> None:
    """One conversation, and what must hold of it."""
    random = Random(seed)
    stand_in = STAND_INS[provider.name]
    async with stand_in.serve(*REPLIES) as connect:
        wire = Wire(connect, random)
        options: dict[str, Any] = dict(stand_in.options)
        if provider.capabilities.supports_commit and random.random() < 0.3:
            options["turn_detection"] = None
        ours = tools(random) if random.random() < 0.7 else ()
        model = provider.create(**options, tools=ours, connect=wire.connect)
        model._random = Random(seed)
        async with Harness(model, Spoken(), Pacer(lead_ms=40)) as harness, anyio.create_task_group() as group:
            if not ours:
                group.start_soon(_answer_calls, random, harness)
            await anyio.sleep(0.01)
            for _ in range(random.randint(4, 12)):
                await _something(random, harness, model)
            wire.faulty = False
            await anyio.sleep(60)
            before = len(harness.of(ResponseEnded))
            await harness.send(UserText(text="and at last?"))
            await anyio.sleep(60)
            await harness.settle()
            outcomes = [frame.outcome for frame in harness.of(ResponseEnded)[before:]]
            assert "completed" in outcomes, "it is answered, whatever went before"
            _at_rest(model)
            group.cancel_scope.cancel()
            began = anyio.current_time()
            with anyio.CancelScope(shield=True):
                await harness.session.cancel()
            assert anyio.current_time() - began < 2
        assert not wire.open
    nothing_stale(harness)
    _whole(harness)
    _remembered_as_heard(harness, model)


async def _answer_calls(random: Random, harness: Harness) -> None:
    """The application's own work, one call after the other, and late."""
    while True:
        call = await harness.next(ToolCall, within_seconds=10_000)
        await anyio.sleep(random.choice((0, 0.2, 2)))
        await harness.send(ToolResult(call_id=call.call_id, output="done"))


async def _something(random: Random, harness: Harness, model: Realtime) -> None:
    can = model.profile
    match random.choice(("text", "text", "wait", "wait", "local", "twice", "speech", "both", "ask", "say", "change")):
        case "text":
            await harness.send(UserText(text="go on"))
            await anyio.sleep(random.choice((0.0, 0.01, 0.3)))
        case "wait":
            await anyio.sleep(random.choice((0.02, 0.2, 1.0, 3.0)))
        case "local":
            before = harness.session.epoch
            harness.interrupt()
            assert harness.session.epoch == before + 1
        case "twice":
            harness.interrupt()
            await anyio.sleep(random.choice((0.0, 0.01)))
            harness.interrupt()
        case "speech":
            await _speak(random, harness, model)
        case "both":
            await _speak(random, harness, model, ended=False)
            harness.interrupt()
            await _quiet(harness, model)
        case "ask" if can.supports_response_requests:
            for _ in range(random.randint(1, 3)):
                await harness.send(Respond())
        case "change" if can.supports_updates:
            await harness.send(Configure(instructions=f"be brief {random.random()}"))
        case "say" if can.supports_verbatim_speech:
            await harness.send(Say(text="given words", protected=random.random() < 0.3))


async def _speak(random: Random, harness: Harness, model: Realtime, *, ended: bool = True) -> None:
    rate = model.profile.input_rate
    await harness.play(list(framed(speech_like(random.choice((300, 800)), rate=rate, dbfs=-6), rate=rate)))
    if ended:
        await _quiet(harness, model)


async def _quiet(harness: Harness, model: Realtime) -> None:
    rate = model.profile.input_rate
    if model.settings.turn_detection is None:
        await harness.send(Commit())
    await harness.play(list(framed(silence(1200, rate=rate), rate=rate)))


def _at_rest(model: Realtime) -> None:
    """Nothing is under way any more, and nothing is kept that no one waits for."""
    dialogue = model._dialogue
    assert dialogue is not None
    assert not dialogue.busy
    assert not dialogue.output
    assert not dialogue.send_queue or model.profile.needs_continuous_audio
    assert not dialogue.tool_calls.running
    assert not dialogue.tool_calls._parallel
    assert not dialogue.playback._deadlines
    assert len(dialogue.responses.by_id) <= MAX_RESPONSES + 1


def _whole(harness: Harness) -> None:
    """Each response begins once and ends once, in this order, and one after the other; each call of a tool, too."""
    began: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    speaking = 0
    for _, frame in harness.timeline:
        if isinstance(frame, ResponseStarted):
            began[frame.response_id] += 1
        elif isinstance(frame, ResponseEnded):
            ended[frame.response_id] += 1
        elif (isinstance(frame, Audio | Text) and frame.epoch != LIVE) or isinstance(frame, ToolCall):
            assert began[frame.response_id]
        elif isinstance(frame, SpeechStarted | SpeechStopped):
            speaking += 1 if isinstance(frame, SpeechStarted) else -1
            assert 0 <= speaking <= 1
    assert began == ended
    assert not began or max(began.values()) == 1
    called = {frame.call_id for frame in harness.of(ToolCall) if frame.handled}
    begun = Counter(frame.call_id for frame in harness.of(ToolStarted))
    assert set(begun) == called
    finished = Counter(frame.call_id for frame in harness.of(ToolFinished))
    assert begun == Counter({call: count for call, count in finished.items() if call in called})


def _remembered_as_heard(harness: Harness, model: Realtime) -> None:
    """Of each item the history keeps what was heard: a beginning of what was said, and all of it if all was played."""
    heard = {(frame.response_id, frame.item_id): frame for frame in harness.of(Heard) if frame.done}
    played = {(frame.response_id, frame.item_id): frame.ms for frame in harness.of(Played) if frame.done}
    outcomes = {frame.response_id: frame.outcome for frame in harness.of(ResponseEnded)}
    for entry in model.history:
        if entry.role == "call":
            assert entry.output is not None or outcomes.get(entry.response_id) != "completed" or entry.name == "wait"
        if entry.role != "assistant":
            continue
        assert entry.text.strip().startswith(entry.remembered.strip()) or not entry.remembered.strip(), entry
        key = entry.response_id, entry.item_id
        if not played.get(key):
            assert not entry.remembered.strip(), f"{entry} was not heard"
        elif key in heard:
            assert entry.remembered.strip() == heard[key].text.strip(), entry


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("provider", PROVIDERS, ids=[each.name for each in PROVIDERS])
async def test_random_interleavings(provider: Provider) -> None:
    """The seed is part of the test, so a failure can be repeated."""
    await seeded(partial(converse, provider), range(SEEDS))
