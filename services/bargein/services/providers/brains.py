"""Brains by name, for a page, a command or a configuration to choose from."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping

import msgspec

from bargein.pipeline import Image, Pipeline, Processor, Video
from bargein.pipeline.lowlevel import CheckedFields
from bargein.processors import EncodeJpeg, Resample, Turns
from bargein.services.cascade import Answer, Cascade

from .catalog import PROVIDERS, Provider
from .hibari import is_installed as hibari_is_installed
from .rules import TOOLS, Rules
from .whisper import is_installed as whisper_is_installed

__all__ = ["INSTRUCTIONS", "BrainChoice", "choice", "choices"]

INSTRUCTIONS = "You are a friendly voice assistant. Answer in one or two short sentences."
"""The instructions of every brain made here."""
SUGGESTIONS = ("What is the weather in Paris?", "And in Rome?", "What is twelve times seven?")
"""Sentences that every brain made here can answer, with its tools."""
OFFLINE = {"pocketsphinx": "pocketsphinx", "espeakng_loader": "espeak", "webrtcvad": "vad", "av": "audio"}
"""The modules that the offline brain imports, each with the extra that installs it. `whisper` replaces the first, and
`hibari` the voice."""
PICTURES = (Image, Video)
"""Inputs that every brain made here accepts, so that it works below a transport with or without a camera."""


class BrainChoice(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """A brain that can be chosen by name."""

    name: str
    """The name to choose it by, such as `"openai"`."""
    title: str
    """What it is, in words for people."""
    missing: str = ""
    """What must be done before it can be used, such as `"set OPENAI_API_KEY"`; empty if it can be used."""
    sees: bool = False
    """Whether it looks at pictures and video."""
    suggestions: tuple[str, ...] = ()
    """Sentences that a user can say to it; a page offers them."""
    make: Callable[[], Processor]
    """Return a new brain that takes audio of any rate, pictures and text; call it once for each session."""
    write: Callable[[], Processor]
    """Return a new brain for written conversations: `UserText` in, `Text` out."""


def choices(environ: Mapping[str, str] = os.environ) -> list[BrainChoice]:
    """Return all brains: the realtime models in the order of the table, then the offline brain.

    Args:
        environ: The environment in which keys are looked up.
    """
    return [*(_realtime(each, environ) for each in PROVIDERS if each.keys), _offline()]


def choice(name: str = "auto", environ: Mapping[str, str] = os.environ) -> BrainChoice:
    """Return the brain of this name.

    Args:
        name: A `BrainChoice.name`, or `"auto"` for the first that can be used.
        environ: The environment in which keys are looked up.

    Raises:
        ValueError: There is no such brain, or it cannot be used; the message says what it needs.
    """
    offered = choices(environ)
    found = [each for each in offered if each.name == name or (name == "auto" and not each.missing)]
    if not found:
        reason = (
            "none can be used; `bargein doctor` says what is missing" if name == "auto" else "there is no such brain"
        )
        raise ValueError(f"brain {name!r}: {reason}; there are {', '.join(each.name for each in offered)}")
    if found[0].missing:
        raise ValueError(f"brain {name!r} cannot be used: {found[0].missing}")
    return found[0]


def _realtime(provider: Provider, environ: Mapping[str, str]) -> BrainChoice:
    name = provider.name.lower().split()[0]
    profile = provider.capabilities

    def make() -> Processor:
        brain = provider.create(instructions=INSTRUCTIONS, tools=TOOLS)
        pictures: Processor = EncodeJpeg() if brain.profile.supports_images else _DropPictures()
        return Pipeline(Resample(brain.profile.input_rate, channels=1), pictures, brain, name=name, inputs=PICTURES)

    def write() -> Processor:
        options = {"output": "text"} if profile.supports_text_output else {}
        return provider.create(instructions=INSTRUCTIONS, tools=TOOLS, **options)

    missing = "" if any(environ.get(key) for key in provider.keys) else f"set {' or '.join(provider.keys)}"
    if extras := _missing_extras(dict(provider.needs)):
        missing = f"pip install 'bargein[{extras}]'"
    return BrainChoice(
        name=name,
        title=provider.name,
        missing=missing,
        sees=profile.supports_images,
        suggestions=SUGGESTIONS,
        make=make,
        write=write,
    )


def _offline() -> BrainChoice:
    whisper, hibari = whisper_is_installed(), hibari_is_installed()
    replaced = ({"pocketsphinx"} if whisper else set()) | ({"espeak"} if hibari else set())
    extras = _missing_extras({module: each for module, each in OFFLINE.items() if each not in replaced})
    ear, voice = "Whisper" if whisper else "PocketSphinx", "the voice Hibari" if hibari else "a synthetic voice"
    return BrainChoice(
        name="offline",
        title=f"{ear}, rules and {voice}: no key, no network",
        missing=f"pip install 'bargein[{extras}]'" if extras else "",
        suggestions=SUGGESTIONS,
        make=lambda: Pipeline(_DropPictures(), Cascade.offline(), inputs=PICTURES),
        write=lambda: Pipeline(Turns(), Answer(Rules(), tools=TOOLS)),
    )


def _missing_extras(needs: Mapping[str, str]) -> str:
    missing = (extra for module, extra in needs.items() if importlib.util.find_spec(module) is None)
    return ",".join(dict.fromkeys(missing))


class _DropPictures(Processor):
    """Takes pictures away from a brain that cannot look at them."""

    name = "drop_pictures"

    def process(self, frame: Video | Image) -> None:
        """Drop the frame."""
