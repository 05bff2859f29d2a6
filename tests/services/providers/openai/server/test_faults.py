"""The scripted brain, and the faults that a server can be told to make."""

from __future__ import annotations

import base64

import anyio
import pytest

from bargein.pipeline import Audio, ResponseEnded, Text
from bargein.pipeline.testing import Harness, check_processor
from bargein.services.frames import Respond, Say
from bargein.services.providers.openai.server.serve import Faults
from bargein.services.testing import ScriptedBrain

from .brain_kit import LONG, Made, sound
from .server_kit import error, piped, samples, spoken, types


@pytest.mark.virtual
async def test_the_scripted_brain_is_a_good_processor() -> None:
    """It passes the conformance suite."""
    await check_processor(lambda: ScriptedBrain("One two.", [0.1, "Three."], paced=True))


@pytest.mark.virtual
async def test_the_scripted_brain_gives_its_replies_in_turn() -> None:
    """Strings, frames and pauses; then from the beginning again."""
    step = Audio(samples=samples(spoken("yes", 0)), rate=24_000)
    made = Made("One.", [0.5, Text(text="Two."), step], word_ms=0)
    async with piped(made) as (client, _):
        for count in (1, 2, 3):
            await client.say("next")
            await client.next("response.done", count)
        said = [each["transcript"] for each in client.of("response.output_audio_transcript.done")]
        assert said == ["One.", "Two.", "One."]
        assert sound(client) == spoken("yes", 0)
        assert anyio.current_time() == 0.5


@pytest.mark.virtual
async def test_the_scripted_brain_says_and_queues() -> None:
    """What is asked while it speaks waits; `Say` is said word for word."""
    async with Harness(ScriptedBrain("One.", "Two.", word_ms=100, paced=True)) as harness:
        await harness.send(Respond(), Say(text="Hear, hear."), Respond())
        await anyio.sleep(2)
    assert "".join(frame.text for frame in harness.of(Text)) == "One.Hear, hear.Two."
    assert [frame.response_id for frame in harness.of(ResponseEnded)] == ["reply-1", "reply-2", "reply-3"]


@pytest.mark.virtual
async def test_late_deltas() -> None:
    """Sound of a cancelled response still comes, before and after its end."""
    faults = Faults(late_deltas_after_cancel=3, late_deltas_after_done=2)
    async with piped(Made(LONG, paced=True), faults=faults) as (client, _):
        await client.say("hi")
        await anyio.sleep(0.25)
        await client.send("response.cancel")
        await client.next("response.done")
        await anyio.sleep(1)
        assert types(client.seen)[-2:] == ["response.output_audio.delta"] * 2
        done = types(client.seen).index("response.done")
        cancelled = client.seen[done]["response"]["id"]
        assert types(client.seen)[done - 3 : done] == ["response.output_audio.delta"] * 3
        assert {each["response_id"] for each in client.seen[done - 3 : done] + client.seen[-2:]} == {cancelled}


@pytest.mark.virtual
async def test_a_delta_before_created() -> None:
    """The first delta overtakes the response's creation; nothing is lost."""
    async with piped(Made("One two."), faults=Faults(delta_before_created=True)) as (client, _):
        await client.say("hi")
        await client.next("response.done")
        kinds = types(client.seen)
        assert kinds.index("response.output_audio_transcript.delta") < kinds.index("response.created")
        assert len(sound(client)) == 9600


@pytest.mark.virtual
async def test_split_deltas() -> None:
    """Deltas come in pieces, cut through samples; together they are whole."""
    async with piped(Made("Hello you."), faults=Faults(split_deltas=3)) as (client, _):
        await client.say("hi")
        await client.next("response.done")
        sizes = [len(base64.b64decode(each["delta"])) for each in client.of("response.output_audio.delta")]
        assert any(size % 2 for size in sizes)
        assert sum(sizes) == 9600
        words = [each["delta"] for each in client.of("response.output_audio_transcript.delta")]
        assert "".join(words) == "Hello you."
        assert len(words) > 2


@pytest.mark.virtual
async def test_a_slow_reader() -> None:
    """The server takes its time for each message."""
    async with piped(Made("Hi."), faults=Faults(slow_reader_seconds=2)) as (client, _):
        await client.say("hi")
        await client.next("response.done")
        assert anyio.current_time() == 4


@pytest.mark.virtual
async def test_an_abrupt_close() -> None:
    """The connection breaks after so many events."""
    async with piped(Made("Hi."), faults=Faults(close_after_events=5)) as (client, _):
        await client.say("hi")
        assert (await client.end()).code == 1006
    assert len(client.seen) == 5


@pytest.mark.virtual
async def test_an_early_end() -> None:
    """The session expires when it is told to."""
    async with piped(ScriptedBrain, faults=Faults(expire_after_seconds=7)) as (client, _):
        assert (await client.end()).code == 1001
        assert anyio.current_time() == 7


@pytest.mark.virtual
async def test_errors_and_rubbish() -> None:
    """Error events with given codes, messages that are no events, and events that nobody knows."""
    faults = Faults(error_events=("rate_limit_exceeded",), malformed_json=True, unknown_events=True)
    async with piped(Made("Hi."), faults=faults) as (client, _):
        await client.say("hi")
        await client.next("response.done")
        assert error(client.seen)["code"] == "rate_limit_exceeded"
        assert len(client.rubbish) == 2
        assert len(client.of("rate_limits.forecast")) >= 10
        await client.say("again")
        await client.next("response.done", 2)
        assert len(client.of("error")) == 1


@pytest.mark.virtual
async def test_a_duplicate_start_of_speech() -> None:
    """Each start of speech is told twice."""
    async with piped(Made("Hi."), faults=Faults(duplicate_speech_started=True)) as (client, _):
        await client.speak(spoken("time"))
        second = await client.next("input_audio_buffer.speech_started", 2)
        assert client.of("input_audio_buffer.speech_started") == [second, second]
