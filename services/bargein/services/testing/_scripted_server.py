"""The base of scripted servers of providers: replies in order, over connections in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, Final

import anyio
import numpy as np
import numpy.typing as npt

from bargein.pipeline import ToolCall
from bargein.services.sockets import Endpoint, Socket, SocketRefusedError, pipe

__all__ = ["RATE", "ScriptedServer", "Step", "tone"]

Step = str | float | ToolCall
"""A part of a reply: words, a pause in seconds, or a tool call. The next reply follows the results of tool calls."""
RATE: Final = 24_000
"""The rate of the voices in Hz."""
MAX_RECEIVED: Final = 4096
"""Number of the client's messages that are kept."""


class ScriptedServer:
    """A server that sends its replies in order, repeated from the first after the last.

    Args:
        *replies: Each a string, or a sequence of words, pauses in seconds and tool calls.
        hears: The transcripts of the user's spoken turns, in order, repeated.
        word_ms: Length of each word's audio, in milliseconds.
        pace_seconds: Time between sending two words, in seconds. It is shorter than a word, as with the real services.
    """

    def __init__(
        self,
        *replies: str | Sequence[Step],
        hears: Sequence[str] = (),
        word_ms: int = 400,
        pace_seconds: float = 0.02,
    ) -> None:
        self.replies = replies or ("Hello.",)
        self.hears = tuple(hears)
        self.word_ms = word_ms
        self.pace_seconds = pace_seconds
        self.received: deque[Any] = deque(maxlen=MAX_RECEIVED)
        """The client's messages over all connections, the oldest first."""
        self.connections = 0
        """Number of connections so far."""
        self.endpoints: list[Endpoint] = []
        """The endpoints that clients asked for when they opened connections in memory."""
        self.refusals: deque[SocketRefusedError] = deque()
        """Errors that the next connections in memory raise, one for each connection."""
        self.call_numbers = count(1)
        self._reply_numbers, self._transcript_numbers = count(), count()

    @classmethod
    @asynccontextmanager
    async def rehearsal(
        cls, *replies: str | Sequence[Step], **options: Any
    ) -> AsyncIterator[Callable[[Endpoint], AbstractAsyncContextManager[Socket]]]:
        """Yield a function for `connect=` of a model, which then gets these replies.

        Args:
            *replies: The replies, in order.
            **options: The other arguments of the class.
        """
        yield cls(*replies, **options).connect

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Socket]:
        """Open a connection in memory, in place of one to the provider.

        Args:
            endpoint: The endpoint of the client. It is kept in `endpoints`.
        """
        self.endpoints.append(endpoint)
        if self.refusals:
            raise self.refusals.popleft()
        ours, theirs = pipe()
        async with anyio.create_task_group() as group:
            group.start_soon(self.serve_socket, ours)
            try:
                yield theirs
            finally:
                await theirs.close()
                group.cancel_scope.cancel()

    async def serve_socket(self, socket: Socket) -> None:
        """Serve one connection until it ends."""
        raise NotImplementedError

    def next_reply(self, turn: int = 0) -> str | Sequence[Step]:
        """Return the next reply: for a new turn, or for the results of a turn's tool calls.

        Args:
            turn: The number of the turn, for subclasses that compute replies.
        """
        return self.replies[next(self._reply_numbers) % len(self.replies)]

    def next_transcript(self) -> str:
        """Return the transcript of the user's next spoken turn."""
        return self.hears[next(self._transcript_numbers) % len(self.hears)]

    async def pause(self) -> None:
        """Wait for the time between two words."""
        await anyio.sleep(self.pace_seconds)


def tone(pitch_hz: float, samples: int) -> npt.NDArray[np.int16]:
    """Return a tone that stands for a voice, at 24 kHz.

    Args:
        pitch_hz: The pitch in Hz.
        samples: The length in samples.
    """
    wave: npt.NDArray[np.int16] = (8000 * np.sin(2 * np.pi * pitch_hz / RATE * np.arange(samples))).astype(np.int16)
    return wave
