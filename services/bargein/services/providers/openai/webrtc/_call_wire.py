"""A call's data channel and its sound, put together as the messages of one WebSocket, without I/O.

On a call the server plays the sound itself. It says when the sound of a response begins and ends
(`output_audio_buffer.started`, `.stopped`, `.cleared`). When the user interrupts, it cuts its memory to what was
played.
So this module does three things:

* Sound that arrives belongs to the response that is sounding, and becomes deltas of that response.
* A response ends when its sound has ended, and not when the server has made it.
* Where a client with its own player truncates an item, `output_audio_buffer.clear` is sent instead.

A clear ends the sound that the server has at that moment. A response that is still being made may reach its player
afterwards, and then it sounds again. So a cancelled response that begins to sound is cleared once more.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

__all__ = ["SOUND_STARTS_SECONDS", "CallPicture", "CallWire"]

SOUND = "input_audio_buffer.append"
PCM = "audio/pcm"
CLEAR = '{"type":"output_audio_buffer.clear"}'
MAX_EARLY_PIECES = 10
"""Pieces of sound that are kept until their response is known: sound may arrive before the message that names it."""
SOUND_STARTS_SECONDS = 3.0
"""A response whose sound has not begun this long after it was made has no sound."""
MAX_SILENCE = 32
"""The largest sample of silence after Opus has coded and decoded it."""
MAX_REMEMBERED = 64
"""Items and responses that are remembered."""


class _Id(msgspec.Struct):
    id: str = ""
    status: str = ""


class _Part(msgspec.Struct):
    type: str = ""


class _Head(msgspec.Struct):
    """The fields of a message that say which response and item it belongs to."""

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
    """The state of one call.

    Messages to the server go through `send`; what arrives goes through `receive` (data channel) and `sound` (track).

    Args:
        video: Pictures go to the video track.
    """

    def __init__(self, *, video: bool = False) -> None:
        self._video = video
        self.sounding = ""
        """The id of the response that is being played; empty for none."""
        self.ending = ""
        """The id of a response whose sound the server has sent. Call `ended` when the last of it must have arrived."""
        self.items: dict[str, str] = {}
        """The ids of items with sound, by their response's id."""
        self._early: deque[bytes] = deque(maxlen=MAX_EARLY_PIECES)
        self._unplayed: dict[
            str, tuple[str, float]
        ] = {}  # ends of responses that are still to be played, and since when
        self._played: deque[str] = deque(maxlen=MAX_REMEMBERED)  # responses whose sound is over
        self._cancelled: deque[str] = deque(maxlen=MAX_REMEMBERED)  # responses that the client has cut off
        self._requests: deque[str] = deque()  # messages to the server that nobody asked to send
        self._cleared = False
        self._stale = False  # sound that arrives belongs to a response that was cancelled

    # What is sent ---------------------------------------------------------------------------------------------------

    def send(self, data: str) -> Iterator[str | bytes | CallPicture]:
        """Return what to send for a message: text for the channel, 16-bit PCM at 24 kHz, pictures for video.

        Pictures go to the video track where `video` is set and they have no `detail`.
        """
        head = _head(data)
        kind = head.type
        if kind == SOUND:
            yield _APPEND.decode(data).audio
        elif kind == "session.update":
            yield _without_formats(data)
        elif self._video and kind == "conversation.item.create" and (picture := _picture(data)) is not None:
            yield picture
        elif kind == "conversation.item.truncate":
            owner = next((response for response, item in self.items.items() if item == head.item_id), "")
            yield from self._clear(owner)
        else:
            yield data
            if kind == "response.cancel":
                yield from self._clear(head.response_id or self.sounding)

    def _clear(self, response: str) -> Iterator[str]:
        if response:
            self._cancelled.append(response)
        if self.sounding and not self._cleared:
            self._cleared = True
            yield CLEAR

    def requests(self) -> Iterator[str]:
        """Return what to send to the server because of what came. Call it after `receive`."""
        while self._requests:
            yield self._requests.popleft()

    # What comes -----------------------------------------------------------------------------------------------------

    def receive(self, data: str, now: float) -> Iterator[str]:
        """Return the messages that the reader gets for one of the channel. While any is `held`, call `due` later."""
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
            yield from self._over(response, played=False)
        elif head.type == "response.done" and self._sounds(response, head):
            self._unplayed[response] = data, now
        else:
            if head.item_id and (head.type.startswith("response.output_audio") or _audible(head.part)):
                self.items[response] = head.item_id
                if len(self.items) > MAX_REMEMBERED:
                    del self.items[next(iter(self.items))]
            yield data

    def sound(self, pcm: bytes) -> Iterator[str]:
        """Return the message for a piece of sound of the track: 16-bit PCM at 24 kHz."""
        if not self.sounding:
            self._stale = self._stale and not _quiet(pcm)
            if not self._stale:
                self._early.append(pcm)
            return
        yield self.delta(self.sounding, pcm)

    def end_current(self) -> Iterator[str]:
        """Return the end of the response whose last sound has arrived."""
        yield from self._over(self.ending)

    @property
    def has_unplayed(self) -> bool:
        """Whether a response that the server has made has not been played yet."""
        return bool(self._unplayed)

    def end_soundless(self, now: float) -> Iterator[str]:
        """Return the ends of responses whose sound should have begun by now, and that seem to have none."""
        for response, (_, since) in list(self._unplayed.items()):
            if response != self.sounding and now >= since + SOUND_STARTS_SECONDS:
                yield from self._over(response)

    def _started(self, response: str) -> Iterator[str]:
        if self.ending:
            yield from self._over(self.ending)
        if response in self._cancelled:
            # The clear came while the server was still making it. Nothing of it belongs to the next response.
            self._requests.append(CLEAR)
            self._early.clear()
            self.sounding, self._stale = "", True
            return
        self.sounding, self._cleared, self._stale = response, False, False
        early: list[str] = []
        while self._early and not _quiet(piece := self._early.pop()):
            early.append(self.delta(self.sounding, piece))
        self._early.clear()  # sound before a silence belonged to another response
        yield from reversed(early)

    def _over(self, response: str, *, played: bool = True) -> Iterator[str]:
        self._played.append(response)
        if response == self.sounding:
            self.sounding = self.ending = ""
        done, _ = self._unplayed.pop(response, ("", 0.0))
        if done:
            yield done if played else _cancelled(done)

    def _sounds(self, response: str, head: _Head) -> bool:
        """Return whether more of a response will be played. The sound of a cancelled one is cut off."""
        completed = head.response is not None and head.response.status in ("completed", "incomplete")
        return completed and response in self.items and response not in self._played

    def delta(self, response: str, pcm: bytes) -> str:
        """Return a piece of a response's sound as a message."""
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
        return _Head()  # the reader reports it


def _picture(data: str) -> CallPicture | None:
    """Return the picture of an item that only shows one: `Video`, and an `Image` without `detail`."""
    parts = msgspec.json.decode(data)["item"].get("content") or [{}]
    address = str(parts[0].get("image_url") or "")
    if len(parts) > 1 or parts[0].get("detail") or not address.startswith("data:image/"):
        return None
    form, _, encoded = address.removeprefix("data:image/").partition(";base64,")
    return CallPicture(base64.b64decode(encoded), form)


def _cancelled(done: str) -> str:
    """Return the end of a response that was made completely but not played to its end, as cancelled."""
    message: dict[str, Any] = msgspec.json.decode(done)
    message["response"]["status"] = "cancelled"
    return msgspec.json.encode(message).decode()


def _quiet(pcm: bytes) -> bool:
    return not np.any(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > MAX_SILENCE)


def _audible(part: _Part | None) -> bool:
    return part is not None and part.type in ("audio", "output_audio")


def _without_formats(data: str) -> str:
    """Return a `session.update` without formats of sound: on a call the SDP decides them."""
    message: dict[str, Any] = msgspec.json.decode(data)
    for direction in message["session"].get("audio", {}).values():
        form = direction.pop("format", None) if isinstance(direction, dict) else None
        if isinstance(form, dict) and form.get("type", PCM) != PCM:
            raise ValueError(f"on a call the sound is Opus, and here {PCM}; leave out audio={form['type']!r}")
    return msgspec.json.encode(message).decode()
