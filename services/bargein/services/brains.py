"""Brains by name: what a page, a command or a configuration may choose from."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping

import msgspec
from bargein.pipeline import Image, Pipeline, Processor, Video
from bargein.processors import EncodeJpeg, Resample, Turns

from .cascade import Answer, Cascade
from .providers import PROVIDERS, Provider
from .rules import TOOLS, Rules

__all__ = ["INSTRUCTIONS", "Choice", "choice", "choices"]

INSTRUCTIONS = "You are a friendly voice assistant. Answer in one or two short sentences."
"""What a model is told when nobody says what it should be."""
SUGGESTIONS = ("What is the weather in Paris?", "Set a timer for ten seconds", "What is twelve times seven?")
"""Sentences that the tools of `Rules` can answer."""
OFFLINE = {"pocketsphinx": "pocketsphinx", "espeakng_loader": "espeak", "webrtcvad": "vad", "av": "audio"}
"""What the offline brain imports, and the extras that bring it."""


PICTURES = (Image, Video)
"""Not every peer shows pictures; a brain that is chosen stands below any."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A brain that may be chosen."""

    name: str
    """What it is chosen by."""
    title: str
    """What it is, for people."""
    missing: str = ""
    """What has to be done before it can be used; empty when it can."""
    sees: bool = False
    """It looks at what a camera shows."""
    suggestions: tuple[str, ...] = ()
    """Sentences that one may say to it; a page offers them."""
    make: Callable[[], Processor]
    """A brain, for sound of any rate and any picture: one for each session."""
    write: Callable[[], Processor]
    """One that answers in writing, for those who write: `UserText` in, `Text` out."""


def choices(environ: Mapping[str, str] = os.environ) -> list[Choice]:
    """All that may be chosen, the ones that hear best first; what cannot be used says what it needs."""
    return [*(_realtime(each, environ) for each in PROVIDERS if each.keys), _offline()]


def choice(name: str = "auto", environ: Mapping[str, str] = os.environ) -> Choice:
    """The brain of that name; `auto` is the first that can be used.

    Raises `ValueError` for a name that nobody has, and for a brain that cannot be used, with what it needs.
    """
    offered = choices(environ)
    found = [each for each in offered if each.name == name or (name == "auto" and not each.missing)]
    if not found:
        said = "none can be used; `bargein doctor` says what is missing" if name == "auto" else "there is no such brain"
        raise ValueError(f"brain {name!r}: {said}; there are {', '.join(each.name for each in offered)}")
    if found[0].missing:
        raise ValueError(f"brain {name!r} cannot be used: {found[0].missing}")
    return found[0]


def _realtime(provider: Provider, environ: Mapping[str, str]) -> Choice:
    name = provider.name.lower().split()[0]
    profile = provider.capabilities

    def make() -> Processor:
        brain = provider.make(instructions=INSTRUCTIONS, tools=TOOLS)
        seeing: Processor = EncodeJpeg() if brain.profile.images else _Unseen()
        return Pipeline(Resample(brain.profile.input_rate, channels=1), seeing, brain, name=name, inputs=PICTURES)

    def write() -> Processor:
        options = {"output": "text"} if profile.text_output else {}
        return provider.make(instructions=INSTRUCTIONS, tools=TOOLS, **options)

    missing = "" if any(environ.get(key) for key in provider.keys) else f"set {' or '.join(provider.keys)}"
    if missing_extras := _missing(dict(provider.needs)):
        missing = f"pip install 'bargein[{missing_extras}]'"
    return Choice(
        name=name,
        title=provider.name,
        missing=missing,
        sees=profile.images,
        suggestions=SUGGESTIONS,
        make=make,
        write=write,
    )


def _offline() -> Choice:
    extras = _missing(OFFLINE)
    return Choice(
        name="offline",
        title="PocketSphinx, rules and a synthetic voice: no key, no network",
        missing=f"pip install 'bargein[{extras}]'" if extras else "",
        suggestions=SUGGESTIONS,
        make=lambda: Pipeline(_Unseen(), Cascade.offline(), inputs=PICTURES),
        write=lambda: Pipeline(Turns(), Answer(Rules(), tools=TOOLS)),
    )


def _missing(needs: Mapping[str, str]) -> str:
    missing = (extra for module, extra in needs.items() if importlib.util.find_spec(module) is None)
    return ",".join(dict.fromkeys(missing))


class _Unseen(Processor):
    """Pictures for a brain that cannot look at them."""

    name = "unseen"

    def process(self, frame: Video | Image) -> None:
        """Nothing comes of it."""
