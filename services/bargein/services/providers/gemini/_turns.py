"""Turns of the model and of the user, recognised by the order of the server's messages. No I/O.

Gemini's audio carries no response id. Everything until `interrupted` or `turnComplete` is one response, and its id is
made here. Audio that follows `generationComplete` belongs to the next response, even if the boundary has not come: the
server sends the boundary only when it presumes that the response has been played.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from typing import Any, Final, Literal

import msgspec

from bargein.services.realtime import (
    AudioCommitted,
    AudioPiece,
    Event,
    ItemOver,
    ResponseBegan,
    ResponseOver,
    Settings,
    SpeechBegan,
    SpeechOver,
    TextPiece,
    ToolCallReceived,
    ToolCallWithdrawn,
    Transcribed,
    UsageReported,
)

from . import wire
from ._convert import parse_duration, usage_fields

__all__ = ["LATE_MS", "OUTPUT_RATE", "Continuity", "GeminiTurns"]

OUTPUT_RATE: Final = 24_000
"""Sample rate of the model's audio, in Hz."""
LATE_MS: Final = 3_000
"""Once this much of a reply has been generated, a new transcript belongs to what the user says into that reply."""
MAX_CALLS: Final = 256
"""Tool calls whose names are remembered."""


class Continuity:
    """Ids and tool names that all connections of one conversation share.

    Args:
        prefix: Beginning of every id, which keeps ids apart from those of other sessions in the same history.
    """

    def __init__(self, prefix: str = "") -> None:
        self._turns, self._users, self._calls = count(1), count(1), count(1)
        self._prefix = prefix
        self.tool_names: dict[str, str] = {}
        """The name of the tool of each call, by call id; the newest 256."""
        self.local_ids: set[str] = set()
        """Call ids that were made here, because the server sent none."""

    def next_turn(self) -> str:
        """Return a new id for a turn of the model."""
        return f"{self._prefix}turn-{next(self._turns)}"

    def next_user_item(self) -> str:
        """Return a new id for words of the user."""
        return f"{self._prefix}user-{next(self._users)}"

    def add_call(self, call: wire.FunctionCall) -> str:
        """Remember a call and return its id."""
        call_id = call.id or f"{self._prefix}call-{next(self._calls)}"
        if not call.id:
            self.local_ids.add(call_id)
        self.tool_names[call_id] = call.name
        for oldest in list(self.tool_names)[:-MAX_CALLS]:
            del self.tool_names[oldest]
            self.local_ids.discard(oldest)
        return call_id


class GeminiTurns:
    """Turns the server's messages of one connection into events.

    Args:
        continuity: Ids of the conversation.
        background: Names of the tools that the model does not wait for.
    """

    def __init__(self, continuity: Continuity, background: Collection[str]) -> None:
        self.settings = Settings(model="")
        """The settings of the session, set when it opens."""
        self.requested: Literal["", "words", "sound"] = ""
        """What a response was requested with that has not begun; empty if none was requested."""
        self.pending_calls: set[str] = set()
        """Tool calls that the model waits for."""
        self._continuity = continuity
        self._background = background
        # The model's turn.
        self._turn = ""  # its id, while it is generated or plays
        self._last_turn = ""
        self._generated = False  # all of the turn
        self._generated_ms = 0.0
        self._has_text = False  # text whose item is not complete
        self._boundary_due = False  # the `turnComplete` of a turn that is over already has not come
        self._usage: dict[str, int] = {}
        # The user's turn.
        self._user_item = ""
        self._transcript = ""
        self._transcript_final = False
        self._answered = False  # the model has begun to answer it

    @property
    def busy(self) -> bool:
        """Whether the model has a turn, or is about to begin one."""
        return bool(self._turn or self.requested)

    @property
    def server_interrupts(self) -> bool:
        """Whether the server stops its response when the user speaks."""
        return bool((self.settings.turn_detection or {}).get("interrupt_response", True))

    # The model's turn ---------------------------------------------------------------------------------------------

    def on_content(self, content: wire.ServerContent) -> Iterator[Event]:
        """Return the events of a `serverContent` object."""
        if content.input_transcription is not None:
            yield from self._on_transcription(content.input_transcription)
        parts = (content.model_turn.parts if content.model_turn else None) or []
        words = content.output_transcription
        if words is not None and words.text and self.settings.output == "audio":
            yield from self._ensure_turn(new_output=any(part.inline_data is not None for part in parts))
            self._has_text = True
            yield TextPiece(response_id=self._turn, item_id=self._turn, text=words.text)
        for part in parts:
            yield from self._on_part(part)
        if content.interrupted:
            self._boundary_due = True
            yield from self._end_turn("interrupted")
        if content.generation_complete and self._turn:
            self._generated = True
            if self.settings.output == "text" and self._has_text:
                self._has_text = False
                yield ItemOver(response_id=self._turn, item_id=self._turn)
        if content.turn_complete:
            yield from self._on_turn_complete()

    def _on_part(self, part: wire.ContentPart) -> Iterator[Event]:
        if part.thought:
            return
        if part.inline_data is not None and (part.inline_data.mime_type or "audio/pcm").startswith("audio/"):
            yield from self._ensure_turn(new_output=True)
            self._generated_ms += len(part.inline_data.data) / 2 / OUTPUT_RATE * 1000
            yield AudioPiece(response_id=self._turn, item_id=self._turn, pcm=part.inline_data.data)
        elif part.text and self.settings.output == "text":
            yield from self._ensure_turn(new_output=True)
            self._has_text = True
            yield TextPiece(response_id=self._turn, item_id=self._turn, text=part.text)

    def _ensure_turn(self, *, new_output: bool = False) -> Iterator[Event]:
        """Begin a turn unless there is one.

        With `new_output`, a turn that is fully generated ends first. A transcript without audio can be a late piece of
        the present turn, so it does not end that turn.
        """
        if self._turn and self._generated and new_output:
            self._boundary_due = True
            yield from self._end_turn("completed")
        if self._turn:
            return
        requested, self.requested = self.requested, ""
        self._turn = self._last_turn = self._continuity.next_turn()
        if not self._user_item and self.settings.transcription is not None and requested != "words":
            # The transcript of what is answered here will come later, but its item precedes the answer.
            yield from self._begin_user_item()
        self._answered = True
        yield from self._finish_transcript()
        yield ResponseBegan(response_id=self._turn)

    def _end_turn(self, outcome: Literal["completed", "interrupted", "failed"], reason: str = "") -> Iterator[Event]:
        """End the present turn, or a requested response of which nothing has come."""
        turn = self._turn
        if not turn:
            if self.requested:
                self.requested = ""
                yield ResponseOver(response_id=self._continuity.next_turn(), outcome=outcome, reason=reason)
            return
        has_text, self._has_text = self._has_text, False
        usage, self._usage = self._usage, {}
        self._turn, self._generated, self._generated_ms = "", False, 0.0
        if self._answered:
            self._user_item, self._answered = "", False
        if has_text:
            yield ItemOver(response_id=turn, item_id=turn)
        yield ResponseOver(response_id=turn, outcome=outcome, reason=reason, usage=usage)

    def _on_turn_complete(self) -> Iterator[Event]:
        """End the present turn, unless the boundary belongs to a turn that is over already."""
        due, self._boundary_due = self._boundary_due, False
        if not due or self._generated:
            answered = bool(self._turn)
            if not answered:
                yield from self._finish_transcript()
                self._user_item = ""
            yield from self._end_turn(
                "completed" if answered else "failed", "" if answered else "the model sent no answer"
            )
        if self._usage:
            usage, self._usage = self._usage, {}
            yield UsageReported(response_id=self._last_turn, usage=usage)

    def on_usage(self, usage: object) -> None:
        """Add token counts. A turn can have several messages, each for a part of it."""
        for name, value in usage_fields(usage).items():
            self._usage[name] = self._usage.get(name, 0) + value

    def on_call(self, call: wire.FunctionCall) -> Iterator[Event]:
        """Return the events of a tool call."""
        yield from self._ensure_turn()
        call_id, waits = self._continuity.add_call(call), call.name not in self._background
        if waits:
            self.pending_calls.add(call_id)
        arguments = msgspec.json.encode(call.args or {}).decode()
        yield ToolCallReceived(
            response_id=self._turn, call_id=call_id, name=call.name, arguments=arguments, waits=waits
        )

    def on_cancellation(self, call_ids: list[str]) -> Iterator[Event]:
        """Return the events of tool calls that the model has withdrawn."""
        for call_id in call_ids:
            self.pending_calls.discard(call_id)
            yield ToolCallWithdrawn(call_id=call_id)

    # The user's turn ----------------------------------------------------------------------------------------------

    def _begin_user_item(self) -> Iterator[Event]:
        self._user_item = self._continuity.next_user_item()
        self._transcript, self._transcript_final, self._answered = "", False, False
        yield AudioCommitted(item_id=self._user_item)

    def _finish_transcript(self) -> Iterator[Event]:
        if self._user_item and self._transcript and not self._transcript_final:
            self._transcript_final = True
            yield Transcribed(item_id=self._user_item, text=self._transcript.strip(), final=True)

    def _on_transcription(self, piece: wire.Transcription) -> Iterator[Event]:
        """Add a piece of the user's transcript. It has no id and can arrive at any time."""
        if piece.text and (not self._user_item or (self._answered and self._generated_ms > LATE_MS)):
            yield from self._begin_user_item()
        if piece.text:
            self._transcript, self._transcript_final = self._transcript + piece.text, False
        if piece.finished or self._answered:
            yield from self._finish_transcript()
        elif piece.text:
            yield Transcribed(item_id=self._user_item, text=self._transcript.strip())

    def on_voice_activity(self, activity: dict[str, Any]) -> Iterator[Event]:
        """Return the events of the server's own voice activity detection."""
        ms = 1000 * parse_duration(activity.get("audioOffset"))
        kind = activity.get("voiceActivityType")
        if kind == "ACTIVITY_START":
            yield SpeechBegan(ms=ms, interrupts=self.server_interrupts)
        elif kind == "ACTIVITY_END":
            yield SpeechOver(ms=ms)
