"""Brains by name: what a page, a command or a configuration may choose from."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from bargein.pipeline import Pipeline, Processor
from bargein.processors import Resample, Turns

from .cascade import Answer, Cascade
from .rules import TOOLS, Rules

__all__ = ["INSTRUCTIONS", "Choice", "choice", "choices"]

INSTRUCTIONS = "You are a friendly voice assistant. Answer in one or two short sentences."
"""What a brain is told when nobody says what it should be."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A brain that may be chosen."""

    name: str
    """What it is chosen by."""
    title: str
    """What it is, for people."""
    missing: str = ""
    """What has to be done before it can be used; empty when it can."""
    make: Callable[[], Processor]
    """A brain, for sound of any rate: one for each session."""
    write: Callable[[], Processor]
    """One that answers in writing, for those who write: `UserText` in, `Text` out."""


class _Realtime(msgspec.Struct, frozen=True):
    """A realtime model that is ready when its key is there."""

    name: str
    title: str
    path: str
    key: str
    writes: bool = True
    """It can answer in writing alone; where not, it speaks as well."""


REALTIME = (
    _Realtime("openai", "OpenAI Realtime", "bargein.services.openai:OpenAIRealtime", "OPENAI_API_KEY"),
    _Realtime("gemini", "Gemini Live", "bargein.services.gemini:GeminiLive", "GEMINI_API_KEY"),
    _Realtime("qwen", "Qwen Omni", "bargein.services.qwen:QwenOmni", "DASHSCOPE_API_KEY"),
    _Realtime("ultravox", "Ultravox", "bargein.services.ultravox:Ultravox", "ULTRAVOX_API_KEY"),
    _Realtime("xai", "Grok's voice", "bargein.services.xai:GrokVoice", "XAI_API_KEY", writes=False),
)


def choices(environ: Mapping[str, str] = os.environ) -> list[Choice]:
    """All that may be chosen, the ones that hear best first; what cannot be used says what it needs."""
    return [*(_realtime(each, environ) for each in REALTIME), _offline()]


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


def _realtime(model: _Realtime, environ: Mapping[str, str]) -> Choice:
    missing = "" if environ.get(model.key) else f"set {model.key}"
    if importlib.util.find_spec("websockets") is None:
        missing = "pip install 'bargein[websockets]'"

    def make() -> Processor:
        brain = _class(model.path)(instructions=INSTRUCTIONS, tools=TOOLS)
        return Pipeline(Resample(brain.profile.input_rate, channels=1), brain, name=model.name)

    def write() -> Processor:
        written = {"output": "text"} if model.writes else {}
        made: Processor = _class(model.path)(instructions=INSTRUCTIONS, tools=TOOLS, **written)
        return made

    return Choice(name=model.name, title=model.title, missing=missing, make=make, write=write)


def _class(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _offline() -> Choice:
    needs = {"pocketsphinx": "pocketsphinx", "espeakng_loader": "espeak", "webrtcvad": "vad", "av": "audio"}
    extras = [extra for module, extra in needs.items() if importlib.util.find_spec(module) is None]

    def write() -> Processor:
        return Pipeline(Turns(), Answer(Rules(), tools=TOOLS))

    return Choice(
        name="offline",
        title="PocketSphinx, rules and a synthetic voice: no key, no network",
        missing=f"pip install 'bargein[{','.join(extras)}]'" if extras else "",
        make=Cascade.offline,
        write=write,
    )
