"""A response in progress: its items, and the events that tell of them, in the order of the real service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bargein.pipeline import Usage
from bargein.processors import Timing
from bargein.services.media.g711 import codec

from ._audio import ReplyAudio
from ._items import ServerConversation, ServerItem

__all__ = ["ReplyWriter"]

Say = Callable[..., None]
"""Takes an event's type and fields, and sends it."""


class _Message:
    """A message of a response while it grows."""

    def __init__(self, entry: ServerItem, index: int) -> None:
        self.entry = entry
        self.index = index
        self.pieces: list[str] = []


class ReplyWriter:
    """A response in progress.

    `settings` is what holds for it: `checked_response`.
    """

    def __init__(
        self,
        id: str,
        settings: dict[str, Any],
        conversation: tuple[str, ServerConversation],
        say: Say,
        ids: Callable[[str], str],
    ) -> None:
        self.id = id
        self.brain: str | None = None
        """The brain's own name for it, once it is known which of its responses this is."""
        self.usage: Usage | None = None
        self.ms = 0.0
        """How much of its sound was sent."""
        self._settings = settings
        self._conversation_id, self._conversation = conversation
        self._say = say
        self._ids = ids
        self._text_only = settings["output_modalities"] == ["text"]
        self._mouth = ReplyAudio(codec(settings["audio"]["output"]["format"]))
        self._codec = codec(settings["audio"]["output"]["format"])
        self._messages: dict[str, _Message] = {}
        self._output: list[dict[str, Any]] = []
        say("response.created", response=self._state("in_progress"))

    # What the brain gives -----------------------------------------------------------------------------------------

    def text(self, text: str, item: str) -> None:
        """Words of the reply."""
        message = self._message(item)
        if text:
            message.entry.open = message.entry.open or self._text_only
            message.pieces.append(text)
            kind = "output_text" if self._text_only else "output_audio_transcript"
            self._of_part(f"response.{kind}.delta", message, delta=text)

    def audio(self, frame: Any) -> None:
        """Sound of the reply. Where text was asked for, there is none."""
        if not self._text_only:
            self._deltas(self._mouth.take(frame))

    def timing(self, frame: Timing) -> None:
        """When a word sounds: for sessions that ask for it, as Azure's Voice Live does."""
        self._of_part(
            "response.audio_timestamp.delta",
            self._message(frame.item_id),
            audio_offset_ms=frame.start_ms,
            audio_duration_ms=frame.end_ms - frame.start_ms,
            text=frame.text,
            timestamp_type="word",
        )

    def call(self, call: str, name: str, arguments: str) -> None:
        """A call of a tool, whole."""
        item = {
            "id": self._ids("item"),
            "type": "function_call",
            "status": "in_progress",
            "name": name,
            "call_id": call,
            "arguments": "",
        }
        entry = ServerItem(item)
        index = self._add(entry)
        ids = {"response_id": self.id, "item_id": entry.id, "output_index": index, "call_id": call}
        if arguments:
            self._say("response.function_call_arguments.delta", **ids, delta=arguments)
        self._say("response.function_call_arguments.done", **ids, name=name, arguments=arguments)
        self._done(entry, index, {**item, "status": "completed", "arguments": arguments})

    def end(self, status: str, details: dict[str, Any] | None) -> None:
        """It is over: close what is open, and say so."""
        whole = status == "completed"
        if whole:
            self._deltas(self._mouth.rest())
        for message in self._messages.values():
            self._close(message, "completed" if whole else "incomplete")
        self._say("response.done", response=self._state(status, details))

    # Its items ----------------------------------------------------------------------------------------------------

    def _deltas(self, deltas: Any) -> None:
        for item, delta in deltas:
            message = self._message(item)
            ms = self._codec.ms(len(delta))
            self.ms += ms
            message.entry.ms += ms
            message.entry.open = True
            self._of_part("response.output_audio.delta", message, delta=delta)

    def _message(self, name: str) -> _Message:
        """The message that is called so by the brain, which begins with its first word or sound."""
        message = self._messages.get(name)
        if message is None:
            item = {
                "id": self._ids("item"),
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            entry = ServerItem(item)
            entry.brain = (self.brain or "", name)
            message = self._messages[name] = _Message(entry, self._add(entry))
            self._of_part("response.content_part.added", message, part=self._part(""))
        return message

    def _add(self, entry: ServerItem) -> int:
        index = len(self._output)
        self._output.append(entry.item)
        self._say("response.output_item.added", response_id=self.id, output_index=index, item=dict(entry.item))
        before = self._conversation.add(entry)
        self._say("conversation.item.added", previous_item_id=before, item=dict(entry.item))
        return index

    def _close(self, message: _Message, status: str) -> None:
        entry, text = message.entry, "".join(message.pieces)
        if self._text_only:
            self._of_part("response.output_text.done", message, text=text)
            content: dict[str, Any] = {"type": "output_text", "text": text}
        else:
            self._of_part("response.output_audio.done", message)
            self._of_part("response.output_audio_transcript.done", message, transcript=text)
            content = {"type": "output_audio", "transcript": text}
        self._of_part("response.content_part.done", message, part=self._part(text))
        self._done(entry, message.index, {**entry.item, "status": status, "content": [content]})

    def _done(self, entry: ServerItem, index: int, item: dict[str, Any]) -> None:
        entry.item = self._output[index] = item
        before = self._conversation.before(entry.id)
        self._say("conversation.item.done", previous_item_id=before, item=item)
        self._say("response.output_item.done", response_id=self.id, output_index=index, item=item)

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "text", "text": text} if self._text_only else {"type": "audio", "transcript": text}

    def _of_part(self, type: str, message: _Message, **fields: Any) -> None:
        self._say(
            type,
            response_id=self.id,
            item_id=message.entry.id,
            output_index=message.index,
            content_index=0,
            **fields,
        )

    def _state(self, status: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
        settings = self._settings
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": list(self._output),
            "conversation_id": self._conversation_id,
            "output_modalities": settings["output_modalities"],
            "max_output_tokens": settings["max_output_tokens"],
            "audio": settings["audio"],
            "usage": None if status == "in_progress" else _usage(self.usage),
            "metadata": settings["metadata"],
        }


def _usage(usage: Usage | None) -> dict[str, Any]:
    told = usage or Usage()
    return {
        "total_tokens": told.input_tokens + told.output_tokens,
        "input_tokens": told.input_tokens,
        "output_tokens": told.output_tokens,
        "input_token_details": {
            "text_tokens": max(0, told.input_tokens - told.input_audio_tokens),
            "audio_tokens": told.input_audio_tokens,
            "image_tokens": 0,
            "cached_tokens": told.cached_tokens,
            "cached_tokens_details": {"text_tokens": told.cached_tokens, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {
            "text_tokens": max(0, told.output_tokens - told.output_audio_tokens),
            "audio_tokens": told.output_audio_tokens,
        },
    }
