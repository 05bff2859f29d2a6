"""The Gemini Live protocol, the client's side: commands to messages, messages to events. No I/O.

Sound carries no response's id, so responses are told apart by order: all that comes until `interrupted` or
`turnComplete` is one, and has a name that is made here. What comes after `generationComplete`, when all of a response
has been made and the server presumes that it plays, is the next one, even if the boundary has not come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final, Literal

import msgspec

from bargein.services.history import Entry
from bargein.services.realtime import (
    AudioCommitted,
    AudioPiece,
    Event,
    GoingAway,
    ItemOver,
    Message,
    Profile,
    Protocol,
    ProtocolFault,
    ResponseBegan,
    ResponseOver,
    Resumable,
    SessionReady,
    Settings,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    ToolCallWithdrawn,
    Transcribed,
    UsageReported,
)
from bargein.services.sockets import Endpoint

from . import _wire as wire
from ._parts import seconds, turn_of, usage_of
from ._pending_input import PendingInput
from ._schema import declaration

__all__ = ["PROFILE", "Continuity", "GeminiProtocol", "Scheduling"]

Scheduling = Literal["WHEN_IDLE", "INTERRUPT", "SILENT"]
"""When the model speaks of the answer of a tool that the conversation does not wait for."""

PROFILE: Final = Profile(
    provider="Gemini",
    input_rate=16_000,
    output_rate=24_000,
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
    max_session_seconds=600.0,  # of one connection, about; the server says when it means it
)
BYTES_MS: Final = 32
"""Bytes of a millisecond of the user's sound."""
HELD_MS: Final = 30_000
"""How much of the user's sound is kept while it must not be sent; of more, the oldest is dropped."""
ONSET_MS: Final = 1_000
"""How much of it belongs to speech that a detector has just noticed."""
LATE_MS: Final = 3_000
"""A transcript that comes when so much of the reply has been made is of what the user says into it."""
LIVE_TEXT: Final = ("gemini-3",)
"""Models that want text in mid-session as live text, and no sound while a call is unanswered: seen by others, and not
documented."""
CALLED_OFF: Final = "The user interrupted, and it was called off."
"""The answer of a tool that will not answer."""
SEEDED: Final = ("gemini-3",)
"""Models that must be told in the setup that an earlier conversation will be given, as Google's own package does."""
MEDIA: Final = {"jpeg": "image/jpeg", "jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class Continuity:
    """What several connections of one conversation share: names that are given once, and calls by their names.

    The names begin with `mark`, so that in a history which others have begun they are not those of theirs.
    """

    def __init__(self, mark: str = "") -> None:
        self._turns, self._users, self._calls = count(1), count(1), count(1)
        self._mark = mark
        self.named: dict[str, str] = {}
        """The tool of each call, by the call's id; the newest 256."""
        self.ours: set[str] = set()
        """Ids that were made here, of calls that had none."""

    def turn(self) -> str:
        """A name for a turn of the model's."""
        return f"{self._mark}turn-{next(self._turns)}"

    def user(self) -> str:
        """A name for what the user says."""
        return f"{self._mark}user-{next(self._users)}"

    def call(self, call: wire.FunctionCall) -> str:
        """Take note of a call, and give its id."""
        name = call.id or f"{self._mark}call-{next(self._calls)}"
        if not call.id:
            self.ours.add(name)
        self.named[name] = call.name
        for old in list(self.named)[:-256]:
            del self.named[old]
            self.ours.discard(old)
        return name


class GeminiProtocol(Protocol):
    """One connection's protocol. `address` says where and as whom, and may be awaited.

    `background` are tools that the conversation does not wait for, and when their answers are spoken of. `seeded` says
    that an earlier conversation will be given.
    """

    fatal_close_codes = frozenset({1007, 1008})
    profile = PROFILE

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
        self._known = continuity or Continuity()
        self._background = background or {}
        self._seeded = seeded
        self._handle = ""
        self._settings = Settings(model="")
        self._ready = False
        # the model's turn
        self._turn = ""  # its name, while it is being made or plays
        self._last = ""
        self._made = False  # all of it
        self._made_ms = 0.0
        self._texts = False  # it has text that is not complete
        self._owed = False  # the `turnComplete` of a turn that is over already
        self._asked: Literal["", "words", "sound"] = ""  # what another one was asked for with
        self._usage: dict[str, int] = {}
        self._waiting: set[str] = set()  # calls that the model waits for
        # the user's turn
        self._user = ""  # the item that transcripts belong to
        self._said = ""
        self._final = False  # and all of it was told as final
        self._answered = False  # the model has begun to answer it
        self._parts: list[dict[str, Any]] = []  # what was written, and is to be sent with the request for an answer
        self._activity = False  # between activityStart and activityEnd
        self._detected = False  # somebody else says when speech begins
        self._onset = False  # and has said so
        self._sounding = False
        self._held = PendingInput(HELD_MS)

    @property
    def dropped_ms(self) -> float:
        """How much of the user's sound had to wait, and there was no room for it."""
        return self._held.dropped_ms

    def endpoint(self) -> Endpoint | Awaitable[Endpoint]:
        """Where to connect to."""
        return self._address()

    def resume(self, handle: str) -> None:
        """Take up a session by its handle."""
        self._handle = handle

    # What a message means -----------------------------------------------------------------------------------------

    def receive(self, data: Message) -> Iterator[Event]:
        """The events of a message. What is unknown is ignored; what cannot be read is a fault, and not the end."""
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
            self._uses(message.usage_metadata)
        if message.server_content is not None:
            yield from self._content(message.server_content)
        if message.tool_call is not None:
            for call in message.tool_call.function_calls or ():
                yield from self._called(call)
        if message.tool_call_cancellation is not None:
            for name in message.tool_call_cancellation.ids or ():
                self._waiting.discard(name)
                yield ToolCallWithdrawn(call_id=name)
        update = message.session_resumption_update
        if update is not None and update.resumable and update.new_handle:
            yield Resumable(handle=update.new_handle)
        if message.go_away is not None:
            yield GoingAway(remaining_seconds=seconds(message.go_away.time_left))
        if isinstance(message.voice_activity, dict):
            yield from self._voice(message.voice_activity)

    def _content(self, content: wire.ServerContent) -> Iterator[Event]:
        if content.input_transcription is not None:
            yield from self._transcribed(content.input_transcription)
        parts = (content.model_turn.parts if content.model_turn else None) or []
        said = content.output_transcription
        if said is not None and said.text and self._settings.output == "audio":
            yield from self._speaking(sounds=any(part.inline_data is not None for part in parts))
            self._texts = True
            yield TextPiece(response_id=self._turn, item_id=self._turn, text=said.text)
        for part in parts:
            yield from self._part(part)
        if content.interrupted:
            self._owed = True
            yield from self._over("interrupted")
        if content.generation_complete and self._turn:
            self._made = True
            if self._settings.output == "text" and self._texts:
                self._texts = False
                yield ItemOver(response_id=self._turn, item_id=self._turn)
        if content.turn_complete:
            yield from self._turn_complete()

    def _part(self, part: wire.ContentPart) -> Iterator[Event]:
        if part.thought:
            return
        if part.inline_data is not None and (part.inline_data.mime_type or "audio/pcm").startswith("audio/"):
            yield from self._speaking(sounds=True)
            self._made_ms += len(part.inline_data.data) / 2 / PROFILE.output_rate * 1000
            yield AudioPiece(response_id=self._turn, item_id=self._turn, pcm=part.inline_data.data)
        elif part.text and self._settings.output == "text":
            yield from self._speaking(sounds=True)
            self._texts = True
            yield TextPiece(response_id=self._turn, item_id=self._turn, text=part.text)

    def _speaking(self, *, sounds: bool = False) -> Iterator[Event]:
        """Something of a response comes: of the present one, or it begins the next. Without sound it may be late."""
        if self._turn and self._made and sounds:
            self._owed = True
            yield from self._over("completed")
        if self._turn:
            return
        asked, self._asked = self._asked, ""
        self._turn = self._last = self._known.turn()
        if not self._user and self._settings.transcription is not None and asked != "words":
            yield from self._user_began()  # what was said will be written down later, and comes before the answer
        self._answered = True
        yield from self._user_over()
        yield ResponseBegan(response_id=self._turn)

    def _over(self, outcome: Literal["completed", "interrupted", "failed"], reason: str = "") -> Iterator[Event]:
        """The present response is over; or the one that was asked for, before anything of it has come."""
        name = self._turn
        if not name:
            if not self._asked:
                return
            self._asked = ""
            name = self._known.turn()
            yield ResponseOver(response_id=name, outcome=outcome, reason=reason)
            return
        texts, self._texts = self._texts, False
        usage, self._usage = self._usage, {}
        self._turn, self._made, self._made_ms = "", False, 0.0
        if self._answered:
            self._user, self._answered = "", False
        if texts:
            yield ItemOver(response_id=name, item_id=name)
        yield ResponseOver(response_id=name, outcome=outcome, reason=reason, usage=usage)

    def _turn_complete(self) -> Iterator[Event]:
        """A turn is over: the present one, or one that was interrupted or followed by another before."""
        owed, self._owed = self._owed, False
        if not owed or self._made:
            begun = bool(self._turn)
            if not begun:  # nothing was answered
                yield from self._user_over()
                self._user = ""
            yield from self._over("completed" if begun else "failed", "" if begun else "there was no answer")
        if self._usage:
            usage, self._usage = self._usage, {}
            yield UsageReported(response_id=self._last, usage=usage)

    def _uses(self, usage: Any) -> None:
        """A turn may have several; they are of what was made at a time."""
        for name, value in usage_of(usage).items():
            self._usage[name] = self._usage.get(name, 0) + value

    def _called(self, call: wire.FunctionCall) -> Iterator[Event]:
        yield from self._speaking()
        name, waits = self._known.call(call), call.name not in self._background
        if waits:
            self._waiting.add(name)
        arguments = msgspec.json.encode(call.args or {}).decode()
        yield ToolCallReceived(response_id=self._turn, call_id=name, name=call.name, arguments=arguments, waits=waits)

    # The user, as the server hears -------------------------------------------------------------------------------

    def _user_began(self) -> Iterator[Event]:
        self._user, self._said, self._final, self._answered = self._known.user(), "", False, False
        yield AudioCommitted(item_id=self._user)

    def _user_over(self) -> Iterator[Event]:
        if self._user and self._said and not self._final:
            self._final = True
            yield Transcribed(item_id=self._user, text=self._said.strip(), final=True)

    def _transcribed(self, heard: wire.Transcription) -> Iterator[Event]:
        """More of what the user said. It comes when it likes, and has no id."""
        if heard.text and (not self._user or (self._answered and self._made_ms > LATE_MS)):
            yield from self._user_began()
        if heard.text:
            self._said, self._final = self._said + heard.text, False
        if heard.finished or self._answered:
            yield from self._user_over()
        elif heard.text:
            yield Transcribed(item_id=self._user, text=self._said.strip())

    def _voice(self, activity: dict[str, Any]) -> Iterator[Event]:
        ms = 1000 * seconds(activity.get("audioOffset"))
        kind = activity.get("voiceActivityType")
        if kind == "ACTIVITY_START":
            yield SpeechBegan(ms=ms, interrupts=self._interrupts)
        elif kind == "ACTIVITY_END":
            yield SpeechOver(ms=ms)

    @property
    def _interrupts(self) -> bool:
        return bool((self._settings.turn_detection or {}).get("interrupt_response", True))

    @property
    def _manual(self) -> bool:
        return self._settings.turn_detection is None

    # Commands -----------------------------------------------------------------------------------------------------

    def open_session(self, settings: Settings) -> Iterator[Message]:
        """The setup. Nothing else may be sent before it is complete."""
        self._settings = settings
        yield wire.encode({"setup": self.setup(settings)})

    def setup(self, settings: Settings) -> dict[str, Any]:
        """The setup of some settings."""
        generation: dict[str, Any] = {"responseModalities": ["AUDIO" if settings.output == "audio" else "TEXT"]}
        if settings.voice is not None:
            voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": settings.voice}}}
            generation["speechConfig"] = voice
        setup: dict[str, Any] = {"model": settings.model, "generationConfig": generation}
        if settings.instructions:
            setup["systemInstruction"] = {"role": "user", "parts": [{"text": settings.instructions}]}
        if settings.tools:
            setup["tools"] = [{"functionDeclarations": [self._declared(tool) for tool in settings.tools]}]
        if settings.transcription is not None:
            setup["inputAudioTranscription"] = settings.transcription
        if settings.output == "audio":
            setup["outputAudioTranscription"] = {}
        if (listening := self._listening(settings.turn_detection)) is not None:
            setup["realtimeInputConfig"] = listening
        setup["sessionResumption"] = {"handle": self._handle} if self._handle else {}
        if self._seeded and self._model_is(SEEDED):
            setup["historyConfig"] = {"initialHistoryInClientContent": True}
        merged = settings.with_extra(setup)
        if "tools" in settings.extra:  # those of the provider's own beside ours
            merged["tools"] = [*setup.get("tools", ()), *settings.extra["tools"]]
        return merged

    def _declared(self, tool: dict[str, Any]) -> dict[str, Any]:
        declared = declaration(tool)
        if tool["name"] in self._background:
            declared["behavior"] = "NON_BLOCKING"
        return declared

    def _listening(self, detection: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if detection is None:
            return {"automaticActivityDetection": {"disabled": True}}
        told = {key: value for key, value in detection.items() if key not in ("type", "interrupt_response")}
        listening: dict[str, Any] = {"automaticActivityDetection": told} if told else {}
        if not detection.get("interrupt_response", True):
            listening["activityHandling"] = "NO_INTERRUPTION"
        return listening or None

    def _model_is(self, family: tuple[str, ...]) -> bool:
        return self._settings.model.rpartition("/")[2].startswith(family)

    def seed(self, entries: Sequence[Entry]) -> Iterator[Message]:
        """An earlier conversation. Calls are told in words, for turns take no others."""
        turns = [turn_of(entry) for entry in entries]
        yield wire.encode({"client_content": {"turns": turns, "turnComplete": False}})

    def update(self, settings: Settings) -> Iterable[Message]:
        """Nothing can be changed: another connection is made."""
        return ()

    # Sound

    def audio(self, pcm: bytes) -> Iterable[Message]:
        """More of the user's sound. What comes outside of an activity, or while a call must be answered, waits."""
        message = _live(audio={"data": pcm, "mimeType": f"audio/pcm;rate={self.profile.input_rate}"})
        self._held.sound(message, len(pcm) / BYTES_MS)
        self._sounding = True
        if self._manual and not self._activity:
            if self._turn or self._asked or (self._detected and not self._onset):
                return ()  # whether this is speech, and interrupts, is for others to say
            return self._begin_activity()
        return self._released()

    def _released(self) -> Iterable[Message]:
        """What may be sent now."""
        if self._waiting and self._model_is(LIVE_TEXT):
            return ()  # it would close the connection
        return self._held.take()

    def _begin_activity(self) -> Iterable[Message]:
        if self._activity:
            return ()
        self._activity, self._onset = True, False
        return [_live(activityStart={}), *self._released()]

    def _end_activity(self) -> Iterable[Message]:
        if not self._activity:
            return ()
        self._activity = False
        return [*self._released(), _live(activityEnd={})]

    def speech_started(self) -> Iterable[Message]:
        """The user has begun to speak, a moment ago. Whether that interrupts the model is for others to say."""
        if not self._manual or self._activity:
            return ()
        self._detected = self._onset = True
        self._held.trim(ONSET_MS)
        return () if self._turn or self._asked else self._begin_activity()

    def commit(self) -> Iterator[Message]:
        """The user's turn is over: it is answered."""
        if not self._manual:
            yield from self.audio_paused()
            return
        if self._held:
            yield from self._begin_activity()
        if self._activity:
            yield from self._end_activity()
            self._asked = "sound"
        else:
            yield from self.respond()  # there was no sound

    def audio_paused(self) -> Iterator[Message]:
        """The source has paused: the server need not wait for silence."""
        if self._sounding and not self._manual:
            self._sounding = False
            yield _live(audioStreamEnd=True)

    def clear_audio(self) -> Iterable[Message]:
        """Forget the sound that has not been sent; what has been cannot be taken back."""
        self._held.take()
        return ()

    def cancel(self, response_id: str) -> Iterable[Message]:
        """The user wants to speak: where they say so themselves, this is the only way to stop it."""
        if not self._manual or self._activity:
            return ()
        if not self._onset:
            self._held.trim(ONSET_MS)
        return self._begin_activity()

    # The rest

    def text(self, text: str, item_id: str = "") -> Iterable[Message]:
        """What the user wrote. It goes with the request for an answer: by itself it would interrupt."""
        self._parts.append({"text": text})
        return ()

    def respond(self, instructions: str = "") -> Iterator[Message]:
        """Answer now."""
        yield from self._end_activity()
        yield from self._held.pictures()
        parts, self._parts = self._parts, []
        self._asked = "words"
        if parts and not instructions and self._model_is(LIVE_TEXT):
            yield _live(text="\n".join(part["text"] for part in parts))
            return
        if instructions:
            parts.append({"text": instructions})
        turns = [{"role": "user", "parts": [part]} for part in parts]
        content: dict[str, Any] = {"turns": turns} if turns else {}
        yield wire.encode({"client_content": {**content, "turnComplete": True}})

    def image(self, data: bytes, image_format: str, detail: str = "") -> Iterable[Message]:
        """A picture, one of a video or alone: the newest is what the model sees."""
        message = _live(video={"data": data, "mimeType": MEDIA.get(image_format.lower(), f"image/{image_format}")})
        self._held.picture(message)
        return () if self._manual and not self._activity else self._released()

    def tool_result(self, call_id: str, output: str) -> Iterator[Message]:
        """What a tool answered. The model goes on by itself."""
        self._waiting.discard(call_id)
        name = self._known.named.get(call_id)
        answer: dict[str, Any] = {} if call_id in self._known.ours else {"id": call_id}
        if name is not None:
            answer["name"] = name
        answer["response"] = {"output": output}
        if name is not None and name in self._background:
            answer["scheduling"] = self._background[name]
        yield wire.encode({"tool_response": {"functionResponses": [answer]}})
        if not self._manual or self._activity:
            yield from self._released()

    def cancel_tool_call(self, call_id: str) -> Iterator[Message]:
        """No answer will come of a tool. A model that hears nothing while it waits for one must be told."""
        if call_id in self._waiting and self._model_is(LIVE_TEXT):
            yield from self.tool_result(call_id, CALLED_OFF)


def _live(**field: Any) -> str:
    """One field a message."""
    return wire.encode({"realtime_input": field})
