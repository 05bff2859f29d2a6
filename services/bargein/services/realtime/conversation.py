"""Talking to a realtime model without building a graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Protocol, Self

import anyio
import numpy as np

from bargein.pipeline import Audio, Frame, Image, Interrupt, Played, Session, ToolResult, UserText
from bargein.pipeline.lowlevel import Samples, check_options, ns
from bargein.processors import Commit
from bargein.services.frames import ClearAudio, Configure, Connected, Disconnected, Respond, Say
from bargein.services.history import History
from bargein.services.tools import Tool

from .profile import Profile

__all__ = ["Conversation", "ConversationModel"]

MAX_ITEMS: Final = 256
"""How many items are kept to estimate what was played of them."""


class ConversationModel(Protocol):
    """What a conversation asks of its model."""

    @property
    def connected(self) -> bool:
        """Whether there is a session with the provider."""

    @property
    def session_id(self) -> str:
        """The session's id at the provider."""

    @property
    def provider(self) -> str:
        """Name of the provider."""

    profile: Profile
    """What the provider can do."""

    history: History
    """The conversation, as it was heard."""

    estimate_played: Callable[[str, str], float | None] | None
    """Returns how much of an item, by its response's id and its own, was played, in milliseconds; None if unknown."""

    def played(self, frame: Played) -> None:
        """Take a report of what was heard at once.

        Args:
            frame: The report of the place that plays the sound.
        """


class _Item:
    """The audio of one item, as far as the caller has received it.

    Args:
        frame: Its first frame.
        plays_at: When its playback begins, in seconds of AnyIO's clock.
    """

    def __init__(self, frame: Audio, plays_at: float) -> None:
        self.response_id, self.item_id = frame.response_id, frame.item_id
        self.ms = 0.0
        """How much audio has been received, in milliseconds."""
        self.reported = False
        """Whether the caller reports how much of it was played."""
        self._plays_at = plays_at

    def estimate_ms(self) -> float:
        """Return how much of it is played by now, in milliseconds, if it is played in real time."""
        return max(0.0, min(self.ms, 1000 * (anyio.current_time() - self._plays_at)))


class Conversation:
    """A conversation with a realtime model: methods send, `async for` receives frames.

    Use it as `async with model.connect() as conversation`. The caller plays the audio, and says what was heard of it by
    `played()` or `interrupt()`. Without such reports, audio counts as played in real time from when it was received.

    Args:
        model: The model.
        session: The session of a pipeline that is the model alone. The conversation enters and leaves it.
    """

    @check_options
    def __init__(self, model: ConversationModel, session: Session) -> None:
        self.model = model
        """The model."""
        self._session = session
        self._first: deque[Frame] = deque()  # frames that came while it was being connected
        self._items: dict[tuple[str, str], _Item] = {}
        self._plays_until = 0.0  # when all audio is played that was received
        self._sample_count = 0

    async def __aenter__(self) -> Self:
        self.model.estimate_played = self._estimate_played
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
        self.model.estimate_played = None
        if kind is None:
            await self._session.cancel()
        await self._session.__aexit__(kind, error, trace)

    # State --------------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a session with the provider."""
        return self.model.connected

    @property
    def session_id(self) -> str:
        """The session's id at the provider."""
        return self.model.session_id

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return self.model.provider

    @property
    def profile(self) -> Profile:
        """What the provider can do."""
        return self.model.profile

    @property
    def epoch(self) -> int:
        """How often the agent has been interrupted in this conversation."""
        return self._session.epoch

    # Receiving ---------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        frame = self._first.popleft() if self._first else await anext(self._frames)
        if isinstance(frame, Interrupt):
            self._items.clear()  # the model has asked for the estimates
        elif isinstance(frame, Audio) and frame.response_id:
            key = (frame.response_id, frame.item_id)
            self._plays_until = max(self._plays_until, anyio.current_time())
            if key not in self._items:
                self._items[key] = _Item(frame, self._plays_until)
                if len(self._items) > MAX_ITEMS:
                    del self._items[next(iter(self._items))]
                await self._session.send(Played(response_id=frame.response_id, item_id=frame.item_id, ms=0.0))
            self._items[key].ms += frame.ms
            self._plays_until += frame.ms / 1000
        return frame

    # Sending -----------------------------------------------------------------------------------------------------

    async def send(self, frame: Frame) -> None:
        """Send a frame that the model takes.

        Args:
            frame: A frame that the model takes.
        """
        await self._session.send(frame)

    async def send_audio(self, audio: Audio | bytes | Samples) -> None:
        """Send audio of the user.

        Args:
            audio: A frame, or 16-bit mono PCM at the profile's `input_rate`, as bytes or as an array.
        """
        if not isinstance(audio, Audio):
            rate = self.profile.input_rate
            pts = ns(self._sample_count, rate)
            if isinstance(audio, np.ndarray):
                audio = Audio(audio, rate=rate, pts=pts)
            else:
                audio = Audio.from_bytes(audio, rate, pts=pts)
            self._sample_count += len(audio.samples)
        await self.send(audio)

    async def send_text(self, text: str) -> None:
        """Send text that the user wrote. The model answers it.

        Args:
            text: What the user typed.
        """
        self.profile.require("supports_text_input", "send_text()")
        await self.send(UserText(text=text))

    async def send_image(self, image: bytes | Image, image_format: str = "jpeg", *, detail: str = "") -> None:
        """Send a picture that the user shows. It becomes part of the conversation and is not answered.

        Args:
            image: A frame, or an encoded picture.
            image_format: Encoding of the picture, such as `jpeg` or `png`.
            detail: How closely the model should look, in the provider's words; empty for its default.
        """
        self.profile.require("supports_images", "send_image()")
        frame = image if isinstance(image, Image) else Image(data=image, format=image_format, detail=detail)
        await self.send(frame)

    async def send_tool_result(self, call_id: str, output: str, *, error: bool = False) -> None:
        """Answer a `ToolCall` that no tool of the model answers (`handled` is False).

        Args:
            call_id: The call.
            output: The result that the model gets, as text.
            error: The tool has failed.
        """
        await self.send(ToolResult(call_id=call_id, output=output, error=error))

    async def commit(self) -> None:
        """End the user's turn and have it answered, for push to talk."""
        self.profile.require("supports_commit", "commit()")
        await self.send(Commit())

    async def clear(self) -> None:
        """Discard the audio of the user that has not been committed."""
        await self.send(ClearAudio())

    async def respond(self, instructions: str = "") -> None:
        """Request an answer now, or after the response that is being made.

        Args:
            instructions: Replace those of the session for this answer; empty for those of the session.
        """
        self.profile.require("supports_response_requests", "respond()")
        await self.send(Respond(instructions=instructions))

    async def ask_out_of_band(self, name: str, instructions: str) -> None:
        """Ask a question that is not part of the conversation. The answer comes as a frame `OutOfBand`.

        Args:
            name: Name of the question, which the frame repeats.
            instructions: The question.
        """
        self.profile.require("supports_out_of_band", "ask_out_of_band()")
        await self.send(Respond(instructions=instructions, out_of_band=name))

    async def say(self, text: str, *, protected: bool = False) -> None:
        """Have the model say these words exactly.

        Args:
            text: The words.
            protected: The user's speech does not interrupt them.

        Raises:
            UnsupportedError: The provider cannot say given words.
        """
        self.profile.require("supports_verbatim_speech", "say()")
        await self.send(Say(text=text, protected=protected))

    async def update(
        self,
        *,
        instructions: str | None = None,
        tools: Iterable[Tool[..., object]] | None = None,
        voice: str | None = None,
    ) -> None:
        """Change the session. None leaves a setting as it is.

        Args:
            instructions: What the model should do and be; empty for the instructions that the model was created with.
            tools: The tools that run here, in place of all before.
            voice: Name of the voice, as the provider calls it.
        """
        self.profile.require("supports_updates", "update()")
        chosen = None if tools is None else tuple(tools)
        await self.send(Configure(instructions=instructions, tools=chosen, voice=voice))

    async def played(self, response_id: str, ms: float, *, item_id: str = "", done: bool = False) -> None:
        """Report how much of an item was heard.

        Args:
            response_id: The response.
            ms: How much of its audio was heard, in milliseconds from its beginning.
            item_id: The item of the response.
            done: No more of it will be heard.
        """
        if (item := self._items.get((response_id, item_id))) is not None:
            item.reported = True
        await self.send(Played(response_id=response_id, item_id=item_id, ms=ms, done=done))

    async def interrupt(self, played_ms: float | None = None) -> int:
        """Stop the agent, and write down at once what was heard of it.

        Args:
            played_ms: How much was heard of the item that was playing, in milliseconds; None to assume that it played
                in real time since it was received.

        Returns:
            The new epoch.
        """
        items = list(self._items.values())
        self._items.clear()
        for item in items:
            ms = item.estimate_ms()
            if played_ms is not None:
                ms = played_ms if item is items[-1] else item.ms
            report = Played(response_id=item.response_id, item_id=item.item_id, ms=min(item.ms, ms), done=True)
            self.model.played(report)
        return self._session.interrupt("the application")

    def _estimate_played(self, response_id: str, item_id: str) -> float | None:
        """Return how much of an item was played by now, in milliseconds; None if unknown or reported by the caller."""
        item = self._items.get((response_id, item_id))
        return None if item is None or item.reported else item.estimate_ms()
