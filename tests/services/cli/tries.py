"""A program that asks the doctor, and tries what it says, with the modules of some extras hidden.

It reads from standard input: sets of hidden modules by name, and the path of a sound file. It writes, for each set, the
states of the doctor's findings, and what went wrong in each attempt. Each set is tried in a process of its own. It is
forked from this one, which has imported what every set shares, so that a set costs what it adds.
"""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio
import numpy as np
import rich.table  # noqa: F401  # every set has it: the doctor is a command
import typer  # noqa: F401  # the same

import bargein.processors
from bargein import (
    Audio,
    Cascade,
    FileTransport,
    Pacer,
    Pipeline,
    Sessions,
    Transport,
    UserText,
    WebRtcServer,
    serve_page,
    serve_websocket,
)
from bargein.pipeline import Failure
from bargein.pipeline.testing import Harness, framed, run_virtual, silence, speech_like
from bargein.services.cli.agents import make_agent
from bargein.services.cli.doctor import examine
from bargein.services.providers.brains import choice

__all__: list[str] = []

Result = tuple[dict[str, str], dict[str, str]]
"""The state of each finding, and what went wrong in each attempt; an empty string where nothing did."""


def pipeline(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, peer.sink)


async def talk_offline() -> None:
    async with Harness(Cascade.offline(), Pacer()) as harness:
        await harness.send(*framed(np.concatenate([speech_like(1000), silence(2000)])))
        await anyio.sleep(5)
        await harness.send(UserText("What time is it?"))
        await anyio.sleep(5)
        assert not harness.of(Failure), harness.of(Failure)
        assert harness.of(Audio)
        await harness.session.cancel()


async def serve_demo() -> None:
    choice("auto")
    async with serve_page(make_agent("auto"), port=0):
        pass


def ask(question: str) -> None:
    choice("auto")
    with FileTransport(question).reader as reader:
        next(reader.pieces(320))


async def serve_sockets() -> None:
    async with serve_websocket(pipeline):
        pass


async def serve_webrtc() -> None:
    async with WebRtcServer(Sessions(pipeline)):
        pass


def make(name: str, *args: object) -> None:
    getattr(bargein.processors, name)(*args)


def attempts(question: str) -> dict[str, Callable[[], Any]]:
    """Return what is tried, by the finding that says whether it works."""
    return {
        "Brains offline": partial(run_virtual, talk_offline),
        "Commands bargein demo": partial(anyio.run, serve_demo),
        "Commands bargein ask": partial(ask, question),
        "Extras audio": partial(make, "Resample", 8000),
        "Extras vad": partial(make, "WebRtcVad"),
        "Extras silero": partial(make, "SileroVad"),
        "Extras video": partial(make, "Scale", 64, 64),
        "Extras http": partial(importlib.import_module, "httpx"),
        "Extras websockets": partial(anyio.run, serve_sockets),
        "Extras webrtc": partial(anyio.run, serve_webrtc),
    }


def examine_set(hidden: Sequence[str], question: str) -> Result:
    """Hide modules, then try everything and ask the doctor."""
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: importing it is an ImportError
    failures = {}
    for name, attempt in attempts(question).items():
        try:
            attempt()
            failures[name] = ""
        except Exception:
            failures[name] = traceback.format_exc()
    return {f"{each.part} {each.name}": each.state for each in examine({})}, failures


def main() -> None:
    """Answer for each set that was asked for."""
    logging.disable()
    asked = json.load(sys.stdin)
    early = set().union(*asked["sets"].values()) & set(sys.modules)
    assert not early, f"imported before they could be hidden: {early}"
    for name in [name for name in os.environ if name.endswith(("_KEY", "_PROFILE", "_KEY_ID"))]:
        del os.environ[name]
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        sets = [(hidden, asked["question"]) for hidden in asked["sets"].values()]
        results = pool.starmap(examine_set, sets, chunksize=1)
    json.dump(dict(zip(asked["sets"], results, strict=True)), sys.stdout)


if __name__ == "__main__":
    main()
