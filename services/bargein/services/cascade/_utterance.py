"""`Utterance`: the sound of one utterance of the user, for a speech-to-text part."""

from __future__ import annotations

from collections import deque

import anyio

from bargein.pipeline.lowlevel import Samples

__all__ = ["Utterance"]


class Utterance:
    """The sound of one utterance. The part reads it by iterating.

    Args:
        item_id: The item of the user's speech.
        max_samples: Maximum length in samples. Later sound is left out.
        finish_seconds: Maximum time between words once the sound is over, in seconds.
    """

    def __init__(self, item_id: str, max_samples: int, finish_seconds: float) -> None:
        self.item_id = item_id
        self.over = False
        """Whether the sound is complete."""
        self.waiting = 0
        """Samples that the part has not taken yet."""
        self.cancelled = False
        """Whether `cancel` was called. Then the words are not wanted."""
        self.scope = anyio.CancelScope()
        """The scope around the part's whole work, because the part may keep its own cancel scopes open between
        words."""
        self._max_samples = max_samples
        self._finish_seconds = finish_seconds
        self._count = 0
        self._pieces: deque[Samples] = deque()
        self._changed = anyio.Event()

    @property
    def empty(self) -> bool:
        """Whether it is complete without a single sample."""
        return self.over and not self._count

    def add(self, samples: Samples) -> bool:
        """Add sound. Return whether there was room for it."""
        # This does not wait for room, because the source of the sound is live. `max_samples` bounds the memory.
        if self._count >= self._max_samples:
            return False
        self._count += len(samples)
        self.waiting += len(samples)
        self._pieces.append(samples)
        self._wake()
        return True

    def end(self) -> None:
        """Mark the sound as complete. From now on the words have a deadline."""
        self.over = True
        self.restart_deadline()
        self._wake()

    def cancel(self) -> None:
        """Discard the utterance: neither its sound nor its words are wanted any more."""
        self.cancelled = True
        self.scope.cancel()

    def restart_deadline(self) -> None:
        """Allow the part `finish_seconds` for the next words, if the sound is complete."""
        # While the user speaks, a recogniser may be silent for any time.
        if self.over:
            self.scope.deadline = anyio.current_time() + self._finish_seconds

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def __aiter__(self) -> Utterance:
        return self

    async def __anext__(self) -> Samples:
        while not self._pieces:
            if self.over:
                raise StopAsyncIteration
            await self._changed.wait()
        samples = self._pieces.popleft()
        self.waiting -= len(samples)
        return samples
