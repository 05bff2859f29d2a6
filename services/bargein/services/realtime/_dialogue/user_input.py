"""The user's side of a conversation: audio, text and pictures on their way to the provider."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import anyio

from bargein.pipeline import Audio
from bargein.pipeline.lowlevel import ns
from bargein.services.frames import Remember
from bargein.services.history import Entry, History, Picture
from bargein.services.realtime.events import Transcribed
from bargein.services.realtime.protocol import Message, Protocol

from .send_queue import MAX_COMMANDS, SendQueue

__all__ = ["UserInput"]

MAX_FINAL_ITEMS: Final = 64
"""How many items are remembered whose transcript is final, so that a late partial one does not undo it."""


class UserInput:
    """What the user says, writes and shows.

    Args:
        history: The conversation.
        send_queue: What sends it to the provider.
    """

    def __init__(self, history: History, send_queue: SendQueue) -> None:
        self.audio_at = math.inf
        """When the user's source last sent audio; infinite while it is paused."""
        self.may_be_answered = False
        """Whether audio has been received since the last response began."""
        self.provider_hears_speech = False
        """Whether the provider reports that the user speaks."""
        self.detector_hears_speech = False
        """Whether a detector above reports that the user speaks."""
        self._history = history
        self._send_queue = send_queue
        self._final_items: deque[str] = deque(maxlen=MAX_FINAL_ITEMS)
        self._waiting: deque[Entry] = deque(maxlen=MAX_COMMANDS)  # text and pictures that wait for a session

    @property
    def speaking(self) -> bool:
        """Whether the user speaks."""
        return self.provider_hears_speech or self.detector_hears_speech

    # Audio --------------------------------------------------------------------------------------------------------

    def add_audio(self, frame: Audio) -> bool:
        """Send audio of the user, in messages of at most a second. Returns whether the source was paused before."""
        was_paused = self.audio_at == math.inf
        self.may_be_answered = True
        self.audio_at = anyio.current_time()
        # A source that reads a file may send minutes in one frame, and providers limit the size of a message.
        for at in range(0, len(frame.samples), frame.rate):
            piece = frame.samples[at : at + frame.rate]
            pcm = piece.astype("<i2", copy=False).tobytes()
            self._send_queue.add_audio(pcm, 1000 * len(piece) / frame.rate, frame.pts + ns(at, frame.rate))
        return was_paused

    def send_silence(self, ms: int) -> None:
        """Send silence behind the audio so far, so that a provider that detects turns finds the end of this one."""

        def make_messages(protocol: Protocol) -> Iterable[Message]:
            messages = protocol.audio(bytes(2 * (protocol.profile.input_rate * ms // 1000)))
            return (messages,) if isinstance(messages, str | bytes) else messages

        self._send_queue.command(make_messages, behind_audio=True)

    def pause(self) -> None:
        """Note that the user's source has stopped sending audio, and tell the provider."""
        # Without a session there is no stream to pause: the next one begins with whatever comes.
        if self.audio_at != math.inf and self._send_queue.open:
            self._send_queue.command(lambda protocol: protocol.audio_paused(), behind_audio=True)
        self.audio_at = math.inf

    def commit(self) -> None:
        """Tell the provider that the user's turn is over."""
        self._send_queue.command(lambda protocol: protocol.commit(), behind_audio=True)

    def is_outdated(self, event: Transcribed) -> bool:
        """Return whether a transcript is partial, and the final one of its item has come before."""
        if event.final:
            self._final_items.append(event.item_id)
        return not event.final and event.item_id in self._final_items

    # Text and pictures --------------------------------------------------------------------------------------------

    def send_entry(self, entry: Entry, picture: Picture | None = None) -> None:
        """Send what the user wrote or shows: as input and not as history, although it may wait for a session.

        Args:
            entry: The entry of the history.
            picture: The picture that it shows; None for text.
        """

        def make_messages(protocol: Protocol) -> Iterable[Message]:
            with suppress(ValueError):
                self._waiting.remove(entry)
            if picture is not None:
                return protocol.image(picture.data, picture.media.removeprefix("image/"), picture.detail)
            return protocol.text(entry.text, entry.item_id)

        # Before `command`, which may call the function above at once.
        self._waiting.append(entry)
        self._send_queue.command(make_messages)

    def is_waiting(self, entry: Entry) -> bool:
        """Return whether an entry waits to be sent."""
        # By identity: the user may write the same words twice.
        return any(entry is each for each in self._waiting)

    def remember(self, frame: Remember) -> None:
        """Write down a part of the conversation that was not said in it, and tell the provider once it is complete."""
        entry = self._history.remember(frame.role, frame.text, frame.item_id, call_id=frame.call_id, name=frame.name)
        queue = self._send_queue
        if entry is None or not entry.worth or not queue.open or queue.protocol is None:
            return  # a new session gets the whole history
        if queue.protocol.profile.supports_history_seeding:
            queue.post(queue.protocol.seed([entry]))
