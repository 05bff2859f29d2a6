"""A call of OpenAI's: the messages of its data channel, and the sound beside it, as if all came on one socket. No I/O.

On a call the server plays: it says when a response begins to sound and when it has (`output_audio_buffer.started`,
`.stopped`, `.cleared`), and when the user interrupts it cuts its memory to what was played, by itself. So here

* the sound that comes belongs to the response that is sounding, and becomes its deltas;
* a response is over when it has sounded, and not when it has been made;
* `output_audio_buffer.clear` stands for the truncation that a client with a player of its own would send.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

__all__ = ["SOUNDS_SECONDS", "CallPicture", "CallWire"]

SOUND = "input_audio_buffer.append"
PCM = "audio/pcm"
CLEAR = '{"type":"output_audio_buffer.clear"}'
EARLY_PIECES = 10
"""Pieces of sound that are kept until it is said whose they are: the two ways are not equally long."""
SOUNDS_SECONDS = 3.0
"""When a response that was made has not begun to sound for so long, it will not."""
QUIET = 32
"""No sample of silence is louder, coded and decoded."""
KEPT = 64
"""Items that are remembered."""


class _Id(msgspec.Struct):
    id: str = ""
    status: str = ""


class _Part(msgspec.Struct):
    type: str = ""


class _Head(msgspec.Struct):
    """What of a message says whose it is."""

    type: str = ""
    response_id: str | None = None
    item_id: str | None = None
    response: _Id | None = None
    part: _Part | None = None


class _Append(msgspec.Struct):
    audio: bytes


_HEAD = msgspec.json.Decoder(_Head)
_APPEND = msgspec.json.Decoder(_Append)


class CallPicture(msgspec.Struct, frozen=True):
    """An encoded picture for the video track."""

    data: bytes
    format: str


class CallWire:
    """One call. What the driver sends goes through `send`, what comes through `receive` and `sound`."""

    def __init__(self, *, video: bool = False) -> None:
        self._video = video
        self.sounding = ""
        """The response that is being heard."""
        self.ending = ""
        """One whose sound has been sent: `ended` is to be called when the last of it must have come."""
        self.items: dict[str, str] = {}
        """The items with sound, by their response."""
        self._early: deque[bytes] = deque(maxlen=EARLY_PIECES)
        self._held: dict[
            str, tuple[str, float]
        ] = {}  # the ends of responses that are still to be heard, and since when
        self._heard: deque[str] = deque(maxlen=KEPT)  # responses whose sound is over
        self._cleared = False
        self._stale = False  # what comes is of a response that was cut off

    # What is sent ---------------------------------------------------------------------------------------------------

    def send(self, data: str) -> Iterator[str | bytes | CallPicture]:
        """The messages for the channel, as text; for the tracks the sound, 16-bit PCM at 24 kHz, and with `video` the
        pictures that have no `detail`.
        """
        kind = _head(data).type
        if kind == SOUND:
            yield _APPEND.decode(data).audio
        elif kind == "session.update":
            yield _without_formats(data)
        elif self._video and kind == "conversation.item.create" and (picture := _picture(data)) is not None:
            yield picture
        elif kind == "conversation.item.truncate":
            yield from self._clear()
        else:
            yield data
            if kind == "response.cancel":
                yield from self._clear()

    def _clear(self) -> Iterator[str]:
        if self.sounding and not self._cleared:
            self._cleared = True
            yield CLEAR

    # What comes -----------------------------------------------------------------------------------------------------

    def receive(self, data: str, now: float) -> Iterator[str]:
        """The messages that the driver gets for one that came on the channel. If any is `held`, ask `due` later."""
        head = _head(data)
        response = head.response_id or (head.response.id if head.response else "")
        if head.type == "output_audio_buffer.started":
            yield data
            yield from self._started(response)
        elif head.type == "output_audio_buffer.stopped":
            yield data
            if response == self.sounding:
                self.ending = response
        elif head.type == "output_audio_buffer.cleared":
            yield data
            self._stale = self._stale or response == self.sounding
            yield from self._over(response, heard=False)
        elif head.type == "response.done" and self._sounds(response, head):
            self._held[response] = data, now
        else:
            if head.item_id and (head.type.startswith("response.output_audio") or _audible(head.part)):
                self.items[response] = head.item_id
                if len(self.items) > KEPT:
                    del self.items[next(iter(self.items))]
            yield data

    def sound(self, pcm: bytes) -> Iterator[str]:
        """The message for a piece of sound that came on the track: 16-bit PCM at 24 kHz."""
        if not self.sounding:
            self._stale = self._stale and not _quiet(pcm)
            if not self._stale:
                self._early.append(pcm)
            return
        yield self.delta(self.sounding, pcm)

    def ended(self) -> Iterator[str]:
        """The last of what was sounding has come."""
        yield from self._over(self.ending)

    @property
    def held(self) -> bool:
        """A response was made, and is not over yet."""
        return bool(self._held)

    def due(self, now: float) -> Iterator[str]:
        """The ends of responses that should have begun to sound by now, and seem to have no sound."""
        for response, (_, since) in list(self._held.items()):
            if response != self.sounding and now >= since + SOUNDS_SECONDS:
                yield from self._over(response)

    def _started(self, response: str) -> Iterator[str]:
        if self.ending:
            yield from self._over(self.ending)
        self.sounding, self._cleared, self._stale = response, False, False
        early: list[str] = []
        while self._early and not _quiet(piece := self._early.pop()):
            early.append(self.delta(self.sounding, piece))
        self._early.clear()  # before a silence it was the end of another
        yield from reversed(early)

    def _over(self, response: str, *, heard: bool = True) -> Iterator[str]:
        self._heard.append(response)
        if response == self.sounding:
            self.sounding = self.ending = ""
        done, _ = self._held.pop(response, ("", 0.0))
        if done:
            yield done if heard else _cancelled(done)

    def _sounds(self, response: str, head: _Head) -> bool:
        """Whether more of it will be heard. What was cancelled is cut off."""
        completed = head.response is not None and head.response.status in ("completed", "incomplete")
        return completed and response in self.items and response not in self._heard

    def delta(self, response: str, pcm: bytes) -> str:
        """A piece of a response's sound, as a message."""
        message = {
            "type": "response.output_audio.delta",
            "response_id": response,
            "item_id": self.items.get(response, ""),
            "output_index": 0,
            "content_index": 0,
            "delta": base64.b64encode(pcm).decode(),
        }
        return msgspec.json.encode(message).decode()


def _head(data: str) -> _Head:
    try:
        return _HEAD.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return _Head()  # whoever reads it will complain


def _picture(data: str) -> CallPicture | None:
    """The one picture of an item, if it is to be seen and not to be kept: `Video`, and an `Image` without `detail`."""
    parts = msgspec.json.decode(data)["item"].get("content") or [{}]
    address = str(parts[0].get("image_url") or "")
    if len(parts) > 1 or parts[0].get("detail") or not address.startswith("data:image/"):
        return None
    form, _, encoded = address.removeprefix("data:image/").partition(";base64,")
    return CallPicture(base64.b64decode(encoded), form)


def _cancelled(done: str) -> str:
    """The end of a response that was made whole, and not heard to its end."""
    message: dict[str, Any] = msgspec.json.decode(done)
    message["response"]["status"] = "cancelled"
    return msgspec.json.encode(message).decode()


def _quiet(pcm: bytes) -> bool:
    return not np.any(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > QUIET)


def _audible(part: _Part | None) -> bool:
    return part is not None and part.type in ("audio", "output_audio")


def _without_formats(data: str) -> str:
    """The session without formats of sound, which the peers agree on: whether a server minds them is not known."""
    message: dict[str, Any] = msgspec.json.decode(data)
    for way in message["session"].get("audio", {}).values():
        form = way.pop("format", None) if isinstance(way, dict) else None
        if isinstance(form, dict) and form.get("type", PCM) != PCM:
            raise ValueError(f"on a call the sound is Opus, and here {PCM}; leave out audio={form['type']!r}")
    return msgspec.json.encode(message).decode()
