"""What the user says in a served session: the input buffer, speech and its turns, transcripts."""

from __future__ import annotations

from collections import deque

from bargein.pipeline import SpeechStarted, SpeechStopped, Transcript
from bargein.processors import SpeechContinued
from bargein.services.frames import ClearAudio, Respond
from bargein.services.media.g711 import codec

from .errors import RequestError
from .items import ServerItem
from .responses import ResponseWriter, remember_newest
from .state import SessionState

__all__ = ["ServedUserInput"]

MIN_COMMIT_MS = 100.0
"""A shorter sound does not become an item, as with the real service."""
MAX_UNTRANSCRIBED = 64
"""Items of the user that wait for a transcript, at most: the oldest are given up."""


class ServedUserInput:
    """The input buffer of one session, and the items that are made of it."""

    def __init__(self, state: SessionState, responses: ResponseWriter) -> None:
        self._state = state
        self._responses = responses
        self._buffer_start_ms = 0.0  # in milliseconds of the user's sound
        self._speech: ServerItem | None = None  # the item that is being spoken
        self._names: dict[str, ServerItem] = {}  # the user's items, by the brain's ids
        self._untranscribed: deque[ServerItem] = deque(maxlen=MAX_UNTRANSCRIBED)

    def configure(self) -> None:
        """Take the format and the turn detection of the session object."""
        state = self._state
        state.audio.configure(codec(state.session["audio"]["input"]["format"]), state.turn_detection)

    # The buffer ---------------------------------------------------------------------------------------------------

    def append(self, data: bytes) -> None:
        """Add sound, in the format of the session."""
        state = self._state
        for frame in state.audio.take(data):
            if isinstance(frame, SpeechStarted):
                self._start_speech(frame)
            elif isinstance(frame, SpeechContinued):
                if self._speech is not None:
                    state.frames.append(SpeechContinued(pts=frame.pts, ms=frame.ms, item_id=self._speech.id))
            elif isinstance(frame, SpeechStopped):
                self._stop_speech(frame)
            else:
                state.frames.append(frame)
        idle_ms = (state.turn_detection or {}).get("idle_timeout_ms")
        quiet_from = self._responses.quiet_from
        if idle_ms and quiet_from is not None and state.audio.ms >= quiet_from + idle_ms:
            self._time_out(quiet_from)

    def commit(self) -> None:
        """Make an item of the buffer. Raises `RequestError` where there is too little sound in it."""
        end_ms = self._state.audio.ms
        size = end_ms - self._buffer_start_ms
        if size < MIN_COMMIT_MS:
            raise RequestError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer "
                f"only has {max(0.0, size):.2f}ms of audio.",
            )
        start_ms, speaking = self._buffer_start_ms, self._speech is not None
        item = self._add_item(end_ms)
        if self._state.detects_speech:
            # The bounds of the utterance: so the brain transcribes it now, and not only when it is asked to answer.
            if not speaking:
                lag_ms = end_ms - start_ms
                self._state.frames.append(SpeechStarted(pts=round(start_ms * 1e6), item_id=item.id, lag_ms=lag_ms))
            self._state.frames.append(SpeechStopped(pts=round(end_ms * 1e6), item_id=item.id))

    def clear(self) -> None:
        """Discard the buffer."""
        self._buffer_start_ms, self._speech = self._state.audio.ms, None
        self._state.frames.append(ClearAudio())
        self._state.send("input_audio_buffer.cleared")

    def _add_item(self, end_ms: float) -> ServerItem:
        """Make an item of the sound up to `end_ms`."""
        state = self._state
        item = self._speech or _audio_item(state.new_id("item"))
        item.ms = max(0.0, end_ms - self._buffer_start_ms)
        self._buffer_start_ms, self._speech = end_ms, None
        before = state.conversation.add(item)
        state.pending.add(item)
        if not item.final:
            self._untranscribed.append(item)
        state.send("input_audio_buffer.committed", previous_item_id=before, item_id=item.id)
        state.send("conversation.item.added", previous_item_id=before, item=item.item)
        state.send("conversation.item.done", previous_item_id=before, item=item.item)
        return item

    def _time_out(self, since_ms: float) -> None:
        """Ask for a response: the user has said nothing for the session's `idle_timeout_ms`."""
        state = self._state
        item = self._speech = _audio_item(state.new_id("item"))
        self._buffer_start_ms = max(self._buffer_start_ms, since_ms)
        state.send(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=round(since_ms),
            audio_end_ms=round(state.audio.ms),
            item_id=item.id,
        )
        self._add_item(state.audio.ms)
        state.pending.remove(item)
        self._responses.settle()
        self._responses.quiet_from = None
        self._responses.await_answer()
        state.frames.append(Respond())

    # Speech -------------------------------------------------------------------------------------------------------

    def on_speech_started(self, frame: SpeechStarted) -> None:
        """Take the start of speech from a brain that finds it by itself."""
        if not self._state.detects_speech and self._state.turn_detection is not None:
            self._start_speech(frame)

    def on_speech_stopped(self, frame: SpeechStopped) -> None:
        """Take the end of speech from a brain that finds it by itself."""
        if not self._state.detects_speech and self._state.turn_detection is not None:
            self._stop_speech(frame)

    def _start_speech(self, frame: SpeechStarted) -> None:
        state, turns = self._state, self._state.turn_detection
        assert turns is not None
        item = self._speech = _audio_item(state.new_id("item"))
        self._responses.quiet_from = None
        self._name(frame.item_id, item)
        start_ms = frame.pts / 1e6 - turns.get("prefix_padding_ms", 0)
        self._buffer_start_ms = max(self._buffer_start_ms, start_ms)
        state.send("input_audio_buffer.speech_started", audio_start_ms=max(0, round(start_ms)), item_id=item.id)
        if turns["interrupt_response"]:
            self._responses.interrupt("turn_detected")
        if state.detects_speech:
            state.frames.append(SpeechStarted(pts=frame.pts, item_id=item.id, lag_ms=frame.lag_ms))

    def _stop_speech(self, frame: SpeechStopped) -> None:
        state, turns, item = self._state, self._state.turn_detection, self._speech
        if item is None or turns is None:
            return  # cleared or committed meanwhile
        end_ms = frame.pts / 1e6 + frame.lag_ms
        state.send("input_audio_buffer.speech_stopped", audio_end_ms=round(end_ms), item_id=item.id)
        if state.detects_speech:
            state.frames.append(SpeechStopped(pts=frame.pts, item_id=item.id, lag_ms=frame.lag_ms))
        self._add_item(end_ms)
        if not turns["create_response"]:
            return
        if not state.detects_speech:
            state.pending.remove(item)  # the brain takes turns by itself, and answers what it has heard
        elif self._responses.reply is not None:
            self._responses.turn_due = True
        else:
            self._responses.ask(None)

    # Transcripts --------------------------------------------------------------------------------------------------

    def on_transcript(self, frame: Transcript) -> None:
        """Take a transcript of the user. The client gets complete ones: their deltas together are the transcript."""
        item = self._names.get(frame.item_id) or self._item_of(frame.item_id)
        if item is None or item.final or frame.speaker != "user":
            return
        self._name(frame.item_id, item)
        if not frame.final:
            return  # a later one may differ from the beginning, and a delta that was sent cannot be taken back
        item.final = True
        if item in self._untranscribed:
            self._untranscribed.remove(item)
        state = self._state
        if state.session["audio"]["input"]["transcription"] is None:
            return
        ids = {"item_id": item.id, "content_index": 0}
        if frame.text:
            state.send("conversation.item.input_audio_transcription.delta", **ids, delta=frame.text)
        item.item = {**item.item, "content": [{"type": "input_audio", "transcript": frame.text}]}
        usage = {"type": "duration", "seconds": max(1, round(item.ms / 1000))}
        state.send("conversation.item.input_audio_transcription.completed", **ids, transcript=frame.text, usage=usage)

    def _name(self, brain_id: str, item: ServerItem) -> None:
        if brain_id:
            remember_newest(self._names, brain_id, item)

    def _item_of(self, brain_id: str) -> ServerItem | None:
        """Return the user's item that an id of the brain means, where nothing has said so."""
        if self._speech is not None and brain_id == self._speech.id:
            return self._speech
        if (item := self._state.conversation.get(brain_id)) is not None:
            return item if item.item.get("role") == "user" else None
        return self._untranscribed[0] if self._untranscribed else self._speech


def _audio_item(id: str) -> ServerItem:
    content = [{"type": "input_audio", "transcript": None}]
    return ServerItem({"id": id, "type": "message", "status": "completed", "role": "user", "content": content})
