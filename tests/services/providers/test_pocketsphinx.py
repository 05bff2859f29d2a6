"""PocketSphinx: a real ear, for real speech."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
import tomllib
import wave
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from packaging.requirements import Requirement

from bargein.pipeline.lowlevel import Samples
from bargein.services.providers import pocketsphinx as pocketsphinx_module
from bargein.services.providers._shared import sphinx_decoder
from bargein.services.providers._shared.sphinx_decoder import SphinxDecoder, make_decoder
from bargein.services.providers.pocketsphinx import PocketSphinx
from tests.environment import amount
from tests.speech import errors, utterances, words

pocketsphinx = pytest.importorskip("pocketsphinx", reason="the extra 'pocketsphinx' is not installed")

ROBOT = Path(__file__).parents[2] / "data" / "robot"
"""Two questions, spoken by eSpeak at 140 words a minute, at 16 kHz."""
GRAMMAR = """#JSGF V1.0;
grammar city;
public <question> = (what is the weather in (paris | london | rome)) | stop | yes | no;
"""


class framed(AsyncIterator[Samples]):  # noqa: N801
    """No generator, for it may be left in the middle."""

    def __init__(self, samples: Samples, size: int = 320) -> None:
        self._pieces = iter([samples[at : at + size] for at in range(0, len(samples), size)])

    async def __anext__(self) -> Samples:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


async def heard(ear: PocketSphinx, name: str, size: int = 320) -> list[str]:
    return [text async for text in ear.transcribe(framed(utterances()[name].samples, size))]


@pytest.mark.slow
@pytest.mark.timeout(180)  # with every utterance it listens for a minute and a half, on whatever machine
@pytest.mark.virtual
async def test_every_utterance() -> None:
    """At least three words in four are right, of three voices in one conversation; daily of every third sentence."""
    report, wrong, of = [], 0, 0
    chosen = list(utterances().items())[:: amount(3, 1)]
    assert {utterance.voice for _, utterance in chosen} == {utterance.voice for utterance in utterances().values()}
    async with PocketSphinx() as ear:
        for name, utterance in chosen:
            final = (await heard(ear, name) or [""])[-1]
            missed = errors(words(utterance.text), words(final))
            wrong, of = wrong + missed, of + len(words(utterance.text))
            report.append(f"{missed}  {utterance.text} -> {final}")
    assert wrong / of < 0.25, "\n".join([f"{wrong / of:.1%} of {of} words are wrong", *report])


async def test_the_weather_in_paris() -> None:
    """It is understood by the model as it comes, though it is the first that is heard; what is known grows."""
    async with PocketSphinx() as ear:
        texts = await heard(ear, "weather")
    assert {"weather", "paris"} <= set(words(texts[-1])), texts
    assert len(texts) > 2
    assert all(one != two for one, two in pairwise(texts))
    assert len(words(texts[0])) < len(words(texts[-1]))


@pytest.mark.virtual
async def test_thorough_and_in_any_pieces() -> None:
    """Going over it again hears it as well, and how the sound was cut changes nothing."""
    async with PocketSphinx(thorough=True) as ear:
        whole = await heard(ear, "weather", 100_000)
    async with PocketSphinx(thorough=True) as ear:
        assert (await heard(ear, "weather", 77))[-1] == whole[-1] == "what is the weather in paris"


async def test_a_grammar() -> None:
    """Only its sentences are heard, and those exactly."""
    async with PocketSphinx(grammar=GRAMMAR) as ear:
        assert (await heard(ear, "weather"))[-1] == "what is the weather in paris"
        assert (await heard(ear, "stop"))[-1] == "stop"


@pytest.mark.virtual
async def test_a_grammar_in_a_file(tmp_path: Path) -> None:
    """With a word of one's own."""
    path = tmp_path / "city.gram"
    path.write_text(GRAMMAR.replace("paris", "parris"))
    async with PocketSphinx(grammar=path, words={"parris": "P EH R IH S"}) as ear:
        assert (await heard(ear, "weather"))[-1] == "what is the weather in parris"


@pytest.mark.virtual
async def test_key_phrases() -> None:
    """They are found in what is said; where there is none, nothing is heard."""
    async with PocketSphinx(keyphrases={"Weather": 1e-20, "next train": 1e-20}) as ear:
        assert set(words((await heard(ear, "weather"))[-1])) == {"weather"}  # more than once, perhaps
        assert (await heard(ear, "train"))[-1] == "next train"
        assert await heard(ear, "okay") == []


async def test_silence() -> None:
    """Neither silence nor the absence of all sound is a word."""
    async with PocketSphinx() as ear:
        assert [text async for text in ear.transcribe(framed(np.zeros(0, np.int16)))] == []
        assert [text async for text in ear.transcribe(framed(np.zeros(8000, np.int16)))] in ([], [""])


async def test_cancelled_in_the_middle() -> None:
    """The decoder is free again, and hears the next utterance as if nothing had been."""
    async with PocketSphinx(grammar=GRAMMAR, concurrency=1) as ear:
        with anyio.CancelScope() as scope:
            async with aclosing(ear.transcribe(framed(utterances()["weather"].samples))) as texts:
                async for _ in texts:
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        early = ear.transcribe(framed(utterances()["weather"].samples))
        await anext(early)
        await early.aclose()
        assert (await heard(ear, "weather"))[-1] == "what is the weather in paris"


@pytest.mark.virtual
async def test_several_at_once() -> None:
    """Two are heard at once by decoders of their own, and a third when one of them is free."""
    final: dict[str, str] = {}

    async def hear(name: str) -> None:
        final[name] = (await heard(ear, name))[-1]

    async with PocketSphinx(grammar=GRAMMAR, concurrency=2) as ear, anyio.create_task_group() as tasks:
        for name in ("weather", "stop", "yes"):
            tasks.start_soon(hear, name)
    assert final == {"weather": "what is the weather in paris", "stop": "stop", "yes": "yes"}


@pytest.mark.virtual
async def test_a_voice_from_espeak() -> None:
    """A grammar makes even a robot understood.

    The sound is recorded: eSpeak keeps state between sentences, so the same text sounds differently each time.
    """
    async with PocketSphinx(grammar=GRAMMAR) as ear:
        for city in ("london", "rome"):
            with wave.open(str(ROBOT / f"{city}.wav")) as file:
                samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
            texts = [each async for each in ear.transcribe(framed(samples))]
            assert texts[-1] == f"what is the weather in {city}"


@pytest.mark.virtual
async def test_a_sentence_without_its_end() -> None:
    """What a grammar could follow of it is given, though the library has nothing in the end."""
    async with PocketSphinx(grammar=GRAMMAR) as ear:
        assert await heard(ear, "time") == ["what", "what is", "what is the"]  # "What time is it?"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"hmm": "no-such-folder"}, "no-such-folder"),
        ({"extra": {"no_such_option": 1}}, "no_such_option"),
        ({"grammar": "#JSGF V1.0; grammar x; public <x> = flibbertigibbetish;"}, "words= with its pronunciation"),
        ({"grammar": "nonsense"}, "its grammar"),
        ({"keyphrases": {"flibbertigibbetish": 1e-20}}, "its keyphrases"),
    ],
)
@pytest.mark.virtual
async def test_what_the_library_does_not_take(options: dict[str, Any], match: str) -> None:
    """It is an error on entering, with the options in it."""
    with pytest.raises(RuntimeError, match=match):
        async with PocketSphinx(**options):
            pass


def test_what_cannot_be() -> None:
    """Two ways to say what may be heard; nobody who hears."""
    with pytest.raises(ValueError, match="give one of"):
        PocketSphinx(grammar=GRAMMAR, keyphrases={"stop": 1e-10})
    with pytest.raises(ValueError, match=re.escape("PocketSphinx(concurrency=0)")):
        PocketSphinx(concurrency=0)


async def test_outside() -> None:
    """It must be open."""
    with pytest.raises(RuntimeError, match="not open"):
        await heard(PocketSphinx(), "yes")


@pytest.mark.virtual
async def test_a_wrong_kind_of_sound() -> None:
    """It is an error that says what was expected, and the next utterance is heard."""
    async with PocketSphinx(grammar=GRAMMAR) as ear:
        with pytest.raises(ValueError, match="float32"):
            async for _ in ear.transcribe(framed(np.zeros(320, np.float32))):
                pass
        assert (await heard(ear, "yes"))[-1] == "yes"


@pytest.mark.virtual
async def test_a_decoder_that_breaks() -> None:
    """The error says so, and the next utterance has another decoder."""
    async with PocketSphinx(grammar=GRAMMAR) as ear:
        texts = ear.transcribe(framed(utterances()["weather"].samples))
        await anext(texts)
        ear._threads[0].get()._decoder = None  # as if it had gone wrong
        with pytest.raises(RuntimeError, match=r"PocketSphinx failed while it listened: .*; the next utterance"):
            [text async for text in texts]
        assert (await heard(ear, "yes"))[-1] == "yes"


@pytest.mark.virtual
async def test_a_decoder_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next instance with the same arguments takes it, and begins as if it had heard nobody."""
    loads: list[dict[str, Any]] = []

    def counted(library: Any, options: dict[str, Any]) -> Any:
        loads.append(options)
        return make_decoder(library, options)

    monkeypatch.setattr(pocketsphinx_module, "make_decoder", counted)
    grammar = GRAMMAR + "\n// once\n"
    PocketSphinx(grammar=grammar).preload()
    texts = []
    for _ in range(2):
        async with PocketSphinx(grammar=grammar) as ear:
            texts.append(await heard(ear, "weather"))
    assert len(loads) == 1
    assert texts[0] == texts[1]


@pytest.mark.virtual
async def test_a_decoder_at_work_is_not_given_to_others() -> None:
    """A cancelled call runs on in its thread; the decoder goes with the thread."""
    ear = PocketSphinx(grammar=GRAMMAR + "\n// cancelled\n")
    async with ear:
        texts = ear.transcribe(framed(utterances()["weather"].samples))
        await anext(texts)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(texts)
        assert not ear._threads[0].is_idle
    assert not pocketsphinx_module._idle_decoders.get(ear._key)


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "pocketsphinx", None)
    with pytest.raises(ModuleNotFoundError, match=r"bargein\[pocketsphinx\]"):
        PocketSphinx()


WHEELS = {"3.11": "5.1.1", "3.12": "5.0.4", "3.13": "5.1.1"}
"""The newest PocketSphinx that has a wheel, by the version of Python. 5.1 has none for 3.12, but a source archive."""


@pytest.mark.parametrize("python", WHEELS)
def test_the_extra_installs_from_a_wheel(python: str) -> None:
    """For each Python one requirement holds, and the newest version that it admits has a wheel."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(each) for each in project["optional-dependencies"]["pocketsphinx"]]
    (chosen,) = [
        each for each in requirements if each.marker is None or each.marker.evaluate({"python_version": python})
    ]
    assert chosen.specifier.contains(WHEELS[python])
    assert python != "3.12" or not chosen.specifier.contains("5.1.1")


@pytest.mark.skipif(sys.platform != "linux", reason="other wheels need not export the C functions")
def test_the_interpreter_goes_on_while_a_decoder_loads() -> None:
    """The C library is called through `ctypes.CDLL`, which releases the interpreter lock (`ctypes.PyDLL` does not)."""
    functions = sphinx_decoder._find_functions()
    assert functions is not None, "pocketsphinx no longer exports its C functions; see _shared/sphinx_decoder.py"
    assert type(functions) is ctypes.CDLL


@pytest.mark.slow
@pytest.mark.virtual
@pytest.mark.parametrize("options", [{}, {"grammar": GRAMMAR}, {"keyphrases": {"weather": 1e-20}}])
async def test_both_decoders_hear_the_same(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own class, and ours, which calls the same functions without the interpreter lock."""
    texts = []
    for find in (sphinx_decoder._find_functions, lambda: None):
        monkeypatch.setattr(sphinx_decoder, "_find_functions", find)
        pocketsphinx_module._idle_decoders.clear()
        async with PocketSphinx(**options) as ear:
            ours = isinstance(ear._threads[0].get()._decoder, SphinxDecoder)
            texts.append(await heard(ear, "weather"))
            assert ours == (find() is not None)
            ear._key = f"{ear._key} {find}"  # it is not given to the other
    assert texts[0] == texts[1]
    assert texts[0]


def test_a_decoder_is_freed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a while, in which the event loop of everybody would stand still."""
    monkeypatch.setattr(pocketsphinx_module, "_idle_decoders", defaultdict(list))
    freed: list[str] = []
    done = threading.Event()

    class Heavy:
        def __del__(self) -> None:
            freed.append(threading.current_thread().name)
            done.set()

    for number in range(pocketsphinx_module.MAX_IDLE_DECODERS + 1):
        decoders: list[Any] = [Heavy()]
        pocketsphinx_module._give_back(str(number), decoders)
    assert done.wait(30)
    assert freed == ["bargein pocketsphinx free"]
