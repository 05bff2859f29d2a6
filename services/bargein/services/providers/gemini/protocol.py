"""The client's side of the Gemini Live protocol: commands to messages, messages to events. No I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from bargein.pipeline.lowlevel import check_options
from bargein.services.history import Entry
from bargein.services.realtime import (
    Event,
    GoingAway,
    Message,
    Profile,
    Protocol,
    ProtocolFault,
    Resumable,
    SessionReady,
    Settings,
)
from bargein.services.sockets import Endpoint

from . import wire
from ._convert import entry_to_turn, parse_duration
from ._pending_input import PendingInput
from ._schema import function_declaration
from ._turns import OUTPUT_RATE, Continuity, GeminiTurns

__all__ = ["PROFILE", "GeminiProtocol", "Scheduling"]

Scheduling = Literal["WHEN_IDLE", "INTERRUPT", "SILENT"]
"""When the model speaks about the result of a tool that runs in the background."""

PROFILE: Final = Profile(
    provider="Gemini",
    input_rate=16_000,
    output_rate=OUTPUT_RATE,
    supports_images=True,
    supports_text_output=True,
    sends_response_ids=False,
    turn_detection=("server_vad",),
    supports_commit=True,
    responds_to_commit=True,
    responds_to_tool_results=True,
    supports_updates=True,
    reconnects_to_update=True,
    supports_history_seeding=True,
    supports_resumption=True,
    max_session_seconds=600.0,  # about the length of one connection; the server announces the end with `goAway`
)
BYTES_PER_MS: Final = 32
"""Bytes of the user's audio in one millisecond: 16 kHz, 16 bits, mono."""
MAX_PENDING_MS: Final = 30_000
"""Audio of the user that is kept while it must not be sent, in milliseconds."""
ONSET_MS: Final = 1_000
"""Audio before a detector's notice that belongs to the speech it has noticed, in milliseconds."""
LIVE_TEXT_MODELS: Final = ("gemini-3-", "gemini-3.0", "gemini-3.1")
"""Models that want text in mid-session as realtime input, and no audio while a tool call is unanswered.

This is not documented; other projects have observed it.
"""
BACKGROUND_BY_DEFAULT: Final = ("gemini-3.8",)
"""Models that go on while a tool runs, unless its declaration says BLOCKING. The thinking model cannot wait."""
SEEDED_MODELS: Final = ("gemini-3",)
"""Models whose setup must announce an earlier conversation. Google's own package does this."""
CANCELLED_OUTPUT: Final = "The user interrupted, and it was called off."
"""The result that is sent for a tool that was cancelled."""
MEDIA_TYPES: Final = {"jpeg": "image/jpeg", "jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class GeminiProtocol(Protocol):
    """The protocol of one connection to the Gemini Live API.

    With `turn_detection=None` the client marks the user's turns itself (`activityStart`, `activityEnd`). Audio outside
    of such an activity waits in a queue.

    Args:
        address: Returns the endpoint with its credentials, directly or as an awaitable; called for each connection.
        profile: What the model can do.
        continuity: Ids shared by the connections of one conversation; by default new ones.
        background: Names of the tools that the model does not wait for, each with its scheduling.
        seeded: Whether an earlier conversation will be sent after the setup.
    """

    fatal_close_codes = frozenset({1007, 1008})
    profile = PROFILE

    @check_options
    def __init__(
        self,
        *,
        address: Callable[[], Endpoint | Awaitable[Endpoint]],
        profile: Profile = PROFILE,
        continuity: Continuity | None = None,
        background: Mapping[str, Scheduling] | None = None,
        seeded: bool = False,
    ) -> None:
        self.profile = profile  # type: ignore[misc]
        self._address = address
        self._continuity = continuity or Continuity()
        self._background = background or {}
        self._seeded = seeded
        self._turns = GeminiTurns(self._continuity, self._background)
        self._handle = ""
        self._settings = Settings(model="")
        self._ready = False
        self._text_parts: list[dict[str, Any]] = []  # typed text, sent together with the request for a response
        self._in_activity = False  # between activityStart and activityEnd
        self._has_detector = False  # a detector in the graph reports where speech begins
        self._onset = False  # it has reported speech that is not yet in an activity
        self._audio_since_pause = False
        self._pending = PendingInput(MAX_PENDING_MS)

    @property
    def dropped_ms(self) -> float:
        """Milliseconds of the user's audio that were dropped, because they had to wait for too long."""
        return self._pending.dropped_ms

    def endpoint(self) -> Endpoint | Awaitable[Endpoint]:
        """Return where to connect to, with credentials."""
        return self._address()

    def resume(self, handle: str) -> None:
        """Resume an earlier session by its handle. Call it before the session opens."""
        self._handle = handle

    # Messages of the server ---------------------------------------------------------------------------------------

    def receive(self, data: Message) -> Iterator[Event]:
        """Return the events of a message. A message that cannot be read is a `ProtocolFault`, not the end."""
        try:
            message = wire.decode(data)
        except wire.MalformedMessageError as error:
            yield ProtocolFault(message=f"a message that cannot be read: {error}")
            return
        if message.setup_complete is not None and not self._ready:
            self._ready = True
            session = str(message.setup_complete.get("sessionId") or "")
            yield SessionReady(session_id=session, config=message.setup_complete, resumed=bool(self._handle))
        if message.usage_metadata is not None:
            self._turns.on_usage(message.usage_metadata)
        if message.server_content is not None:
            yield from self._turns.on_content(message.server_content)
        if message.tool_call is not None:
            for call in message.tool_call.function_calls or ():
                yield from self._turns.on_call(call)
        if message.tool_call_cancellation is not None:
            yield from self._turns.on_cancellation(message.tool_call_cancellation.ids or [])
        update = message.session_resumption_update
        if update is not None and update.resumable and update.new_handle:
            yield Resumable(handle=update.new_handle)
        if message.go_away is not None:
            yield GoingAway(remaining_seconds=parse_duration(message.go_away.time_left))
        if isinstance(message.voice_activity, dict):
            yield from self._turns.on_voice_activity(message.voice_activity)

    # The setup ----------------------------------------------------------------------------------------------------

    def open_session(self, settings: Settings) -> Iterator[Message]:
        """Return the setup message. Nothing else may be sent until the server has confirmed it."""
        self._settings = self._turns.settings = settings
        yield wire.encode({"setup": self.setup(settings)})

    def setup(self, settings: Settings) -> dict[str, Any]:
        """Return the setup object of some settings.

        Args:
            settings: The settings.
        """
        generation: dict[str, Any] = {"responseModalities": ["AUDIO" if settings.output == "audio" else "TEXT"]}
        if settings.voice is not None:
            voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": settings.voice}}}
            generation["speechConfig"] = voice
        setup: dict[str, Any] = {"model": settings.model, "generationConfig": generation}
        if settings.instructions:
            setup["systemInstruction"] = {"role": "user", "parts": [{"text": settings.instructions}]}
        if settings.tools:
            setup["tools"] = [{"functionDeclarations": [self._declare(tool) for tool in settings.tools]}]
        if settings.transcription is not None:
            setup["inputAudioTranscription"] = settings.transcription
        if settings.output == "audio":
            setup["outputAudioTranscription"] = {}
        if (input_config := _input_config(settings.turn_detection)) is not None:
            setup["realtimeInputConfig"] = input_config
        setup["sessionResumption"] = {"handle": self._handle} if self._handle else {}
        if self._seeded and self._is_model(SEEDED_MODELS):
            setup["historyConfig"] = {"initialHistoryInClientContent": True}
        merged = settings.with_extra(setup)
        if "tools" in settings.extra:  # Google's built-in tools stand beside the application's
            merged["tools"] = [*setup.get("tools", ()), *settings.extra["tools"]]
        return merged

    def _declare(self, tool: dict[str, Any]) -> dict[str, Any]:
        declaration = function_declaration(tool)
        if tool["name"] in self._background:
            declaration["behavior"] = "NON_BLOCKING"
        elif self._is_model(BACKGROUND_BY_DEFAULT) and "thinking" not in self._settings.model:
            declaration["behavior"] = "BLOCKING"
        return declaration

    def _is_model(self, family: tuple[str, ...]) -> bool:
        return self._settings.model.rpartition("/")[2].startswith(family)

    def seed(self, entries: Sequence[Entry]) -> Iterator[Message]:
        """Send an earlier conversation. Tool calls become words, because turns on the wire have no calls."""
        turns = [entry_to_turn(entry) for entry in entries]
        yield wire.encode({"client_content": {"turns": turns, "turnComplete": False}})

    def update(self, settings: Settings) -> Iterable[Message]:
        """Return nothing: a session cannot be changed, so the driver makes a new connection."""
        return ()

    # The user's audio ---------------------------------------------------------------------------------------------

    @property
    def _manual(self) -> bool:
        """Whether the client marks the user's turns itself."""
        return self._settings.turn_detection is None

    def audio(self, pcm: bytes) -> Iterable[Message]:
        """Send audio of the user, or keep it while it is outside of an activity or a tool call is unanswered."""
        message = _realtime_input(audio={"data": pcm, "mimeType": f"audio/pcm;rate={self.profile.input_rate}"})
        self._pending.add_audio(message, len(pcm) / BYTES_PER_MS)
        self._audio_since_pause = True
        if self._manual and not self._in_activity:
            # To begin an activity interrupts the model. Whether this audio may do that is decided elsewhere.
            if self._turns.busy or (self._has_detector and not self._onset):
                return ()
            return self._begin_activity()
        return self._take_pending()

    def _take_pending(self) -> Iterable[Message]:
        """Return the queued messages that may be sent now."""
        if self._turns.pending_calls and self._is_model(LIVE_TEXT_MODELS):
            return ()  # the server would close the connection
        return self._pending.take()

    def _begin_activity(self) -> Iterable[Message]:
        if self._in_activity:
            return ()
        self._in_activity, self._onset = True, False
        return [_realtime_input(activityStart={}), *self._take_pending()]

    def _end_activity(self) -> Iterable[Message]:
        if not self._in_activity:
            return ()
        self._in_activity = False
        return [*self._take_pending(), _realtime_input(activityEnd={})]

    def speech_started(self) -> Iterable[Message]:
        """Note that a detector has heard the user begin to speak, a moment ago. This alone interrupts nothing."""
        if not self._manual or self._in_activity:
            return ()
        self._has_detector = self._onset = True
        self._pending.trim(ONSET_MS)
        return () if self._turns.busy else self._begin_activity()

    def commit(self) -> Iterator[Message]:
        """End the user's turn, which is then answered."""
        if not self._manual:
            yield from self.audio_paused()
            return
        if self._pending:
            yield from self._begin_activity()
        if self._in_activity:
            yield from self._end_activity()
            self._turns.requested = "sound"
        else:
            yield from self.respond()  # there was no audio in this turn

    def audio_paused(self) -> Iterator[Message]:
        """Tell the server that the source has paused, so that it need not wait for silence."""
        if self._audio_since_pause and not self._manual:
            self._audio_since_pause = False
            yield _realtime_input(audioStreamEnd=True)

    def clear_audio(self) -> Iterable[Message]:
        """Drop audio that has not been sent. Audio that was sent cannot be taken back."""
        self._pending.take()
        return ()

    def cancel(self, response_id: str) -> Iterable[Message]:
        """Stop the response by beginning an activity of the user. The protocol has no other way."""
        if not self._manual or self._in_activity:
            return ()
        if not self._onset:
            self._pending.trim(ONSET_MS)
        return self._begin_activity()

    # Text, pictures and tools -------------------------------------------------------------------------------------

    def text(self, text: str, item_id: str = "") -> Iterable[Message]:
        """Keep typed text until the next request for a response. Sent alone it would interrupt the model."""
        self._text_parts.append({"text": text})
        return ()

    def respond(self, instructions: str = "") -> Iterator[Message]:
        """Request a response to the typed text and the conversation so far."""
        yield from self._end_activity()
        yield from self._pending.take_picture()
        parts, self._text_parts = self._text_parts, []
        self._turns.requested = "words"
        if parts and not instructions and self._is_model(LIVE_TEXT_MODELS):
            yield _realtime_input(text="\n".join(part["text"] for part in parts))
            return
        if instructions:
            parts.append({"text": instructions})
        turns = [{"role": "user", "parts": [part]} for part in parts]
        content: dict[str, Any] = {"turns": turns} if turns else {}
        yield wire.encode({"client_content": {**content, "turnComplete": True}})

    def image(self, data: bytes, image_format: str, detail: str = "") -> Iterable[Message]:
        """Send a picture, alone or as a frame of a video. The model looks at the newest."""
        message = _realtime_input(
            video={"data": data, "mimeType": MEDIA_TYPES.get(image_format.lower(), f"image/{image_format}")}
        )
        self._pending.set_picture(message)
        return () if self._manual and not self._in_activity else self._take_pending()

    def tool_result(self, call_id: str, output: str) -> Iterator[Message]:
        """Send a tool's result. The model continues by itself."""
        self._turns.pending_calls.discard(call_id)
        name = self._continuity.tool_names.get(call_id)
        response: dict[str, Any] = {} if call_id in self._continuity.local_ids else {"id": call_id}
        if name is not None:
            response["name"] = name
        response["response"] = {"output": output}
        if name is not None and name in self._background:
            response["scheduling"] = self._background[name]
        yield wire.encode({"tool_response": {"functionResponses": [response]}})
        if not self._manual or self._in_activity:
            yield from self._take_pending()

    def cancel_tool_call(self, call_id: str) -> Iterator[Message]:
        """Send a result for a tool that was cancelled, to models that take no audio while they wait for one."""
        if call_id in self._turns.pending_calls and self._is_model(LIVE_TEXT_MODELS):
            yield from self.tool_result(call_id, CANCELLED_OUTPUT)


def _realtime_input(**field: Any) -> str:
    """Encode a realtime input message, which has exactly one field."""
    return wire.encode({"realtime_input": field})


def _input_config(detection: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the `realtimeInputConfig` of a turn detection; None for the server's defaults."""
    if detection is None:
        return {"automaticActivityDetection": {"disabled": True}}
    settings = {key: value for key, value in detection.items() if key not in ("type", "interrupt_response")}
    config: dict[str, Any] = {"automaticActivityDetection": settings} if settings else {}
    if not detection.get("interrupt_response", True):
        config["activityHandling"] = "NO_INTERRUPTION"
    return config or None
