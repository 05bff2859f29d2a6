"""Recorded sessions of real services, to be replayed: no part of the project, in the folder `BARGEIN_RECORDINGS`."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest
import yaml

from bargein.services.sockets import Endpoint, Socket, pipe

FOLDER = pathlib.Path(os.environ.get("BARGEIN_RECORDINGS", "")).absolute()
Step = tuple[Literal["sent", "received"], dict[str, Any]]


def recorded(*families: str) -> pytest.MarkDecorator:
    """A test for each recording of these services, as its parameter `name`; skipped where there are none."""
    here = "BARGEIN_RECORDINGS" in os.environ
    names = [path.stem for family in families for path in sorted(FOLDER.glob(f"{family}_*.yaml")) if here]
    missing = pytest.param("", marks=pytest.mark.skip("BARGEIN_RECORDINGS names no folder of recordings"))
    return pytest.mark.parametrize("name", names or [missing])


def steps(name: str) -> list[Step]:
    """The messages of a recording, in order."""
    interactions = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))["interactions"]
    return [(step["direction"], step["data"]) for step in interactions if step["kind"] == "message"]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a message, by its path."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from leaves(each, f"{path}.{key}" if path else str(key))
    if not inner:
        yield path, value


def matches(ours: dict[str, Any], theirs: dict[str, Any], optional: Collection[str]) -> None:
    """Ours is theirs, value for value and of the same types, and has nothing more but what is optional."""
    mine, recorded = dict(leaves(ours)), dict(leaves(theirs))
    assert {path: mine.get(path) for path in recorded} == recorded
    assert {path: type(mine[path]) for path in recorded} == {path: type(recorded[path]) for path in recorded}
    assert set(mine) - set(recorded) <= set(optional)


class Player:
    """The service: plays what was received, and waits for what was sent. `connect` stands in for `dial`."""

    def __init__(self, played: list[Step], frame: Callable[[str], str | bytes] = str) -> None:
        self.got: list[dict[str, Any]] = []
        self.over = anyio.Event()
        self._steps = played
        self._frame = frame

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        here, there = pipe()
        async with anyio.create_task_group() as group:
            group.start_soon(self._play, here)
            try:
                yield there
            finally:
                group.cancel_scope.cancel()

    async def _play(self, socket: Socket) -> None:
        for direction, data in self._steps:
            if direction == "received":
                await socket.send(self._frame(json.dumps(data)))
            else:
                self.got.append(json.loads(await socket.receive()))
        self.over.set()
        await anyio.sleep_forever()
