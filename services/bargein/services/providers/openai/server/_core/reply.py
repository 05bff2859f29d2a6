"""A response in progress: its items and their events, in the order of the real service."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bargein.pipeline import Audio, Usage
from bargein.processors import Timing
from bargein.services.media.g711 import codec

from .audio import ReplyAudio
from .items import ServerConversation, ServerItem

__all__ = ["ReplyWriter"]

Send = Callable[..., None]
"""Takes an event's type and fields, and sends the event."""


class _Message:
    """A message of the response while it grows."""

    def __init__(self, entry: ServerItem, index: int) -> None:
        self.entry = entry
        self.index = index
        self.pieces: list[str] = []


class ReplyWriter:
    """A response in progress. Making one sends `response.created`.

    Args:
        id: The response's id.
        settings: What holds for it, from `response_settings`.
        conversation: The conversation's id and items; None for a response outside the conversation.
        send: Sends an event.
        new_id: Makes an id of a kind, such as `item`.
    """

    def __init__(
        self,
        id: str,
        settings: dict[str, Any],
        conversation: tuple[str, ServerConversation] | None,
        send: Send,
        new_id: Callable[[str], str],
    ) -> None:
        self.id = id
        self.brain_id: str | None = None
        """The brain's id of the response; None until it is known which of the brain's responses this is."""
        self.usage: Usage | None = None
        """What it cost, where the brain says so."""
        self.ms = 0.0
        """Length of the sound that was sent, in milliseconds."""
        self._settings = settings
        self._conversation_id = conversation[0] if conversation is not None else None
        self._conversation = conversation[1] if conversation is not None else None
        self._send = send
        self._new_id = new_id
        self._text_only = settings["output_modalities"] == ["text"]
        self._audio = ReplyAudio(codec(settings["audio"]["output"]["format"]))
        self._codec = codec(settings["audio"]["output"]["format"])
        self._messages: dict[str, _Message] = {}
        self._output: list[dict[str, Any]] = []
        send("response.created", response=self._state("in_progress"))

    # Frames of the brain -----------------------------------------------------------------------------------------

    def text(self, text: str, item: str) -> None:
        """Add text of the agent to an item."""
        message = self._message(item)
        if text:
            message.entry.unreported = message.entry.unreported or self._text_only
            message.pieces.append(text)
            kind = "output_text" if self._text_only else "output_audio_transcript"
            self._of_part(f"response.{kind}.delta", message, delta=text)

    def audio(self, frame: Audio) -> None:
        """Add sound of the agent; it is left out of a response in text."""
        if not self._text_only:
            self._send_deltas(self._audio.take(frame))

    def timing(self, frame: Timing) -> None:
        """Send the time of a word, for sessions that ask for it, as with Azure's Voice Live."""
        self._of_part(
            "response.audio_timestamp.delta",
            self._message(frame.item_id),
            audio_offset_ms=frame.start_ms,
            audio_duration_ms=frame.end_ms - frame.start_ms,
            text=frame.text,
            timestamp_type="word",
        )

    def call(self, call_id: str, name: str, arguments: str) -> None:
        """Add a complete call of a tool."""
        item = {
            "id": self._new_id("item"),
            "type": "function_call",
            "status": "in_progress",
            "name": name,
            "call_id": call_id,
            "arguments": "",
        }
        entry = ServerItem(item)
        index = self._add(entry)
        ids = {"response_id": self.id, "item_id": entry.id, "output_index": index, "call_id": call_id}
        if arguments:
            self._send("response.function_call_arguments.delta", **ids, delta=arguments)
        self._send("response.function_call_arguments.done", **ids, name=name, arguments=arguments)
        self._done(entry, index, {**item, "status": "completed", "arguments": arguments})

    def end(self, status: str, details: dict[str, Any] | None) -> None:
        """End the response: complete its items and send `response.done`.

        Args:
            status: `completed`, `cancelled`, `failed` or `incomplete`.
            details: The `status_details` object.
        """
        completed = status == "completed"
        if completed:
            self._send_deltas(self._audio.flush())
        for message in self._messages.values():
            self._close(message, "completed" if completed else "incomplete")
        self._send("response.done", response=self._state(status, details))

    # Its items ----------------------------------------------------------------------------------------------------

    def _send_deltas(self, deltas: Iterable[tuple[str, bytes]]) -> None:
        for item, delta in deltas:
            message = self._message(item)
            ms = self._codec.ms(len(delta))
            self.ms += ms
            message.entry.ms += ms
            message.entry.unreported = True
            self._of_part("response.output_audio.delta", message, delta=delta)

    def _message(self, item_id: str) -> _Message:
        """Return the message with a brain's item id. It begins with its first text or sound."""
        message = self._messages.get(item_id)
        if message is None:
            item = {
                "id": self._new_id("item"),
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            entry = ServerItem(item)
            entry.brain_ids = (self.brain_id or "", item_id)
            message = self._messages[item_id] = _Message(entry, self._add(entry))
            self._of_part("response.content_part.added", message, part=self._part(""))
        return message

    def _add(self, entry: ServerItem) -> int:
        index = len(self._output)
        self._output.append(entry.item)
        self._send("response.output_item.added", response_id=self.id, output_index=index, item=dict(entry.item))
        if self._conversation is not None:
            before = self._conversation.add(entry)
            self._send("conversation.item.added", previous_item_id=before, item=dict(entry.item))
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
        if self._conversation is not None:
            before = self._conversation.before(entry.id)
            self._send("conversation.item.done", previous_item_id=before, item=item)
        self._send("response.output_item.done", response_id=self.id, output_index=index, item=item)

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "text", "text": text} if self._text_only else {"type": "audio", "transcript": text}

    def _of_part(self, type: str, message: _Message, **fields: Any) -> None:
        self._send(
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
    usage = usage or Usage()
    return {
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "input_token_details": {
            "text_tokens": max(0, usage.input_tokens - usage.input_audio_tokens),
            "audio_tokens": usage.input_audio_tokens,
            "image_tokens": 0,
            "cached_tokens": usage.cached_tokens,
            "cached_tokens_details": {"text_tokens": usage.cached_tokens, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {
            "text_tokens": max(0, usage.output_tokens - usage.output_audio_tokens),
            "audio_tokens": usage.output_audio_tokens,
        },
    }
