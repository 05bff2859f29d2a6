"""Talking to a realtime model directly: the session of a graph that is the model alone."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import numpy as np

from bargein.pipeline import Audio, Frame, Image, Pipeline, Played, ToolResult, UserText
from bargein.processors import Commit
from bargein.services.frames import ClearAudio, Configure, Connected, Disconnected, Respond, Say

from .profile import Profile

if TYPE_CHECKING:
    from .realtime import Realtime

__all__ = ["Conversation"]


class _Item:
    """One item's audio, as the caller has been given it."""

    def __init__(self, frame: Audio) -> None:
        self.response, self.item = frame.response_id, frame.item_id
        self.ms = 0.0
        self.began = anyio.current_time()


class Conversation:
    """A conversation with a model: methods to send, `async for` to receive frames. Made by `Realtime.connect()`.

    The caller plays the audio. What was heard of it is what `played()` or `interrupt()` say; where nobody says, it is
    taken to have been played as it was received, in real time.
    """

    def __init__(self, model: Realtime, **options: Any) -> None:
        self.model = model
        self._session = Pipeline(model, inputs=Frame).session(**options)
        self._first: deque[Frame] = deque()  # what came while it was being connected
        self._items: dict[tuple[str, str], _Item] = {}
        self._samples = 0

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        self._frames = aiter(self._session)
        try:
            async for frame in self._frames:
                self._first.append(frame)
                if isinstance(frame, Connected) or (isinstance(frame, Disconnected) and frame.final):
                    break
        except BaseException as error:
            await self._session.__aexit__(type(error), error, error.__traceback__)
            raise
        if not any(isinstance(frame, Connected) for frame in self._first):
            await self._session.__aexit__(None, None, None)  # which raises why
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self._session.cancel()
        await self._session.__aexit__(kind, error, trace)

    # What is known ------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """There is a session with the provider."""
        return self.model.connected

    @property
    def session_id(self) -> str:
        """The session's id at the provider."""
        return self.model.session_id

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.model.provider

    @property
    def profile(self) -> Profile:
        """What the provider can do."""
        return self.model.profile

    @property
    def epoch(self) -> int:
        """How often the agent has been interrupted."""
        return self._session.epoch

    # What is received ---------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        frame = self._first.popleft() if self._first else await anext(self._frames)
        if isinstance(frame, Audio) and frame.response_id:
            key = (frame.response_id, frame.item_id)
            if key not in self._items:
                self._items[key] = _Item(frame)
                await self._session.send(Played(response_id=frame.response_id, item_id=frame.item_id, ms=0.0))
            self._items[key].ms += frame.ms
        return frame

    # What is sent -------------------------------------------------------------------------------------------------

    async def send(self, frame: Frame) -> None:
        """Send any frame that the model takes."""
        await self._session.send(frame)

    async def send_audio(self, sound: Audio | bytes | np.ndarray[Any, np.dtype[np.int16]]) -> None:
        """The user's sound: a frame, or 16-bit mono PCM at the profile's `input_rate`."""
        if not isinstance(sound, Audio):
            rate = self.profile.input_rate
            pts = self._samples * 1_000_000_000 // rate
            if isinstance(sound, bytes | bytearray | memoryview):
                sound = Audio.from_bytes(sound, rate, pts=pts)
            else:
                sound = Audio(samples=sound, rate=rate, pts=pts)
            self._samples += len(sound.samples)
        await self.send(sound)

    async def send_text(self, text: str) -> None:
        """What the user writes, which the model answers."""
        self.profile.require("supports_text_input", "send_text()")
        await self.send(UserText(text=text))

    async def send_image(self, image: bytes | Image, form: str = "jpeg", *, detail: str = "") -> None:
        """A picture, encoded. It is part of the conversation; it is not answered by itself."""
        self.profile.require("supports_images", "images")
        await self.send(image if isinstance(image, Image) else Image(data=image, format=form, detail=detail))

    async def send_tool_result(self, call: str, output: str, *, error: bool = False) -> None:
        """The answer to a `ToolCall` that no tool of the model's answers."""
        await self.send(ToolResult(call_id=call, output=output, error=error))

    async def commit(self) -> None:
        """The user's turn is over: answer it. For push to talk."""
        self.profile.require("supports_commit", "commit()")
        await self.send(Commit())

    async def clear(self) -> None:
        """Forget the user's sound that has not been committed."""
        await self.send(ClearAudio())

    async def respond(self, instructions: str = "") -> None:
        """Answer now. While a response is being made, when that is over."""
        self.profile.require("supports_response_requests", "respond()")
        await self.send(Respond(instructions=instructions))

    async def ask_out_of_band(self, name: str, instructions: str) -> None:
        """Ask something that is no part of the conversation; the answer comes as an `OutOfBand` of that name."""
        self.profile.require("supports_out_of_band", "ask_apart()")
        await self.send(Respond(instructions=instructions, out_of_band=name))

    async def say(self, text: str, *, protected: bool = False) -> None:
        """Say these words; `protected`, whatever the user says meanwhile.

        Raises `UnsupportedError` where the provider cannot be made to.
        """
        self.profile.require("supports_verbatim_speech", "say()")
        await self.send(Say(text=text, protected=protected))

    async def update(self, *, instructions: str | None = None, tools: Any = None, voice: str | None = None) -> None:
        """Change the session."""
        self.profile.require("supports_updates", "update()")
        chosen = None if tools is None else tuple(tools)
        await self.send(Configure(instructions=instructions, tools=chosen, voice=voice))

    async def played(self, response: str, ms: float, *, item: str = "", done: bool = False) -> None:
        """So much of an item has been heard."""
        await self.send(Played(response_id=response, item_id=item, ms=ms, done=done))

    async def interrupt(self, played_ms: float | None = None) -> int:
        """Stop the agent; returns the new epoch. `played_ms` is how much was heard of the item that was playing.

        The history says so at once.
        """
        now = anyio.current_time()
        items = list(self._items.values())
        self._items.clear()
        for at, item in enumerate(items):
            elapsed = 1000 * (now - item.began)
            ms = item.ms if at < len(items) - 1 else elapsed if played_ms is None else played_ms
            self.model.played(Played(response_id=item.response, item_id=item.item, ms=min(item.ms, ms), done=True))
        return self._session.interrupt("the application")
