"""The core of every player: audio that waits, and how much of it has been heard. No tasks, no waiting."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from bargein.pipeline import LIVE, Audio, Hold, Interrupt, Played, Resume
from bargein.pipeline.lowlevel import check_options, ns

__all__ = ["EARLY", "Playout"]

EARLY = 1e-9
"""Tolerance for comparing times, in seconds: clocks are not finer."""


class _Item:
    """The released part of one item of a response."""

    def __init__(self, frame: Audio) -> None:
        self.response = frame.response_id
        self.item = frame.item_id
        self.epoch = frame.epoch
        self.ms = 0.0
        self.until = 0.0  # time at which the last released sample has been heard
        self.closed = False  # no more audio follows
        self.reported = -math.inf  # milliseconds in the latest report

    def heard_ms(self, now: float) -> float:
        # Rounded to microseconds: times are floats, and 99.99999 ms would look like a report that lacks the end.
        return max(0.0, round(self.ms - 1000 * max(0.0, self.until - now), 3))


class _Close:
    """A marker in the queue: the audio before it was the last of a response, or of all responses."""

    def __init__(self, response: str | None) -> None:
        self.response = response


class Playout:
    """Keeps waiting audio in order, and computes from the time what has been heard of released audio.

    A player adds audio (`add`, `close`), releases what is due (`release`), handles `urgent` frames, and sends what
    `reports` yields upstream. `Pacer` releases by the clock; a sound card or an RTP sender releases when it pulls. The
    caller passes the time (AnyIO's), so that one decision uses one time.

    Args:
        fade_ms: Length in milliseconds of the fades at an interrupt, at a hold and after it; 0 for none.
        report_ms: Minimum audio between two reports of an item, in milliseconds.
        behind_ms: Time in milliseconds between the release of audio and its playback: the latency of what is below.
    """

    @check_options
    def __init__(self, *, fade_ms: float = 5.0, report_ms: float = 100.0, behind_ms: float = 0.0) -> None:
        self.fade_ms = fade_ms
        """Length of the fades in milliseconds."""
        self.report_ms = report_ms
        """Minimum audio between two reports of an item, in milliseconds."""
        self.behind_ms = behind_ms
        """Latency between release and playback, in milliseconds."""
        self.held = False
        """Whether playback is on hold."""
        self.last: Audio | None = None
        """The latest released frame."""
        self.began = -math.inf
        """Time at which the current stretch of gapless sound began to be heard."""
        self.sent = 0.0
        """Length in seconds of what was released since `began`."""
        self.waiting_ms = 0.0
        """Length of the waiting audio in milliseconds."""
        self._waiting: deque[Audio | _Close] = deque()
        self._items: dict[tuple[str, str], _Item] = {}
        self._faded = False  # the next released piece must fade in

    @property
    def waiting(self) -> bool:
        """Whether audio waits, also on hold."""
        return bool(self._waiting)

    @property
    def rate(self) -> int:
        """Sampling rate (Hz) of the next waiting frame; 0 if none waits."""
        following = self._following
        return 0 if following is None else following.rate

    @property
    def _following(self) -> Audio | None:
        """The next waiting frame. A `_Close` is never in front."""
        following = self._waiting[0] if self._waiting else None
        return None if isinstance(following, _Close) else following

    @property
    def due(self) -> float:
        """Time at which all released audio has been heard, and the next sample is due."""
        return self.began + self.sent

    @property
    def unfinished(self) -> bool:
        """Whether released audio has not been reported to its end."""
        return bool(self._items)

    @property
    def finishes(self) -> float:
        """Time at which all of it has been heard."""
        return max((item.until for item in self._items.values()), default=-math.inf)

    @property
    def next_end(self) -> float:
        """Time at which the next closed item has been heard; infinite if there is none."""
        return min((item.until for item in self._items.values() if item.closed), default=math.inf)

    def add(self, frame: Audio) -> None:
        """Append audio.

        Args:
            frame: The audio, in any format.
        """
        self._waiting.append(frame)
        self.waiting_ms += frame.ms

    def close(self, response: str | None = None) -> None:
        """Note that no more audio of a response follows; None for all responses.

        Args:
            response: Id of the response. Default None.
        """
        self._waiting.append(_Close(response))
        # Markers never stay in front, so `_following` needs to look at one entry only.
        self._settle()

    def forget(self, stale: Callable[[Audio], bool]) -> None:
        """Drop waiting frames from the front while they are stale.

        Args:
            stale: Returns whether a waiting frame is stale.
        """
        # From the front only: replies come in the order of their epochs, so the first that is not stale ends the
        # search.
        while (following := self._following) is not None and stale(following):
            self._waiting.popleft()
            self.waiting_ms -= following.ms
            self._settle()

    def _settle(self) -> None:
        while self._waiting and isinstance(close := self._waiting[0], _Close):
            self._waiting.popleft()
            for item in self._items.values():
                item.closed = item.closed or close.response in (None, item.response)

    def release(self, now: float, ms: float) -> Audio | None:
        """Return the next piece of at most `ms` milliseconds, from one frame; None on hold or if nothing waits.

        Args:
            now: The present time in seconds.
            ms: Maximum length of the piece, in milliseconds.
        """
        following = self._following
        if self.held or following is None:
            return None
        self._waiting.popleft()
        piece, rest = _cut(following, ms)
        if rest is not None:
            self._waiting.appendleft(rest)
        self.waiting_ms -= piece.ms
        # Before anything is counted: a gap in the sound moves the time of all that follows.
        self._start_stretch(now)
        self.last = piece
        if self._faded:
            piece, self._faded = _fade_in(piece, self.fade_ms), False
        key = (piece.response_id, piece.item_id)
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(piece)
        self.sent += len(piece.samples) / piece.rate
        item.ms += piece.ms
        # Counted from the start of the stretch in samples. A sum of rounded lengths would drift.
        item.until = self.due
        self._settle()
        return piece

    def silence(self, now: float, ms: float) -> Audio | None:
        """Return silence in the format of the latest frame, counted like audio; None if there was no audio yet.

        Args:
            now: The present time in seconds.
            ms: Length of the silence, in milliseconds.
        """
        if self.last is None:
            return None
        self._start_stretch(now)
        count = max(1, round(ms * self.last.rate / 1000))
        self.sent += count / self.last.rate
        return Audio(samples=np.zeros((count, *self.last.samples.shape[1:]), np.int16), rate=self.last.rate)

    def urgent(self, frame: Interrupt | Hold | Resume, now: float) -> Iterator[Audio | Played]:
        """Handle an urgent frame at once. Yield what has been heard, and the fade that avoids a click.

        Args:
            frame: The urgent frame.
            now: The present time in seconds.
        """
        if isinstance(frame, Resume):
            self.resume(now)
            return
        # -1: a hold makes nothing stale.
        number = frame.epoch if isinstance(frame, Interrupt) else -1
        last = self.last
        sounding = last is not None and self.fade_ms > 0 and not self.held and self.due > now + EARLY
        # Taken before it is dropped: the fade is made of the sound that would have come next.
        following = self._following
        self.forget(lambda waiting: waiting.epoch < number)
        # Before the clock restarts below, because what was heard is computed from it.
        yield from self.reports(now, exact=True, until=number)
        if isinstance(frame, Interrupt):
            if last is not None and last.epoch >= number:
                return  # the interrupt does not concern what is playing
            self.held = self._faded = False
            # Nothing that was released counts as ahead any more, so the next reply starts at once.
            self.began, self.sent = -math.inf, 0.0
        elif self.held:
            return
        else:
            # What was faded out must fade in again. A second hold before that does not change it.
            self.held, self._faded = True, sounding or self._faded
        if sounding and last is not None:
            fade = _fade_out(following or _continuation(last), self.fade_ms)
            self._start_stretch(now)
            self.sent += len(fade.samples) / fade.rate
            yield fade

    def resume(self, now: float) -> None:
        """Continue where playback was held.

        Args:
            now: The present time in seconds.
        """
        if self.held:
            self.held = False
            self._start_stretch(now)

    def reports(self, now: float, *, exact: bool = False, until: int = -1) -> Iterator[Played]:
        """Yield `Played` for items with enough news, or for all with `exact`. Items older than epoch `until` end.

        Args:
            now: The present time in seconds.
            exact: Whether to report every item of which more was heard than was reported. Default False.
            until: The epoch before which items end. Default -1: none ends by its epoch.
        """
        for key, item in list(self._items.items()):
            # An interrupt ends an item even if it never was closed.
            done = item.epoch < until or (item.closed and item.until <= now + EARLY)
            heard = item.heard_ms(now)
            enough = heard >= item.reported + self.report_ms and item.until > now + EARLY
            if done or enough or (exact and heard > item.reported):
                item.reported = heard
                if done:
                    del self._items[key]
                yield Played(response_id=item.response, item_id=item.item, ms=heard, done=done)

    def gaps(self, start: float, end: float) -> dict[tuple[str, str], tuple[float, float]]:
        """Return which stretch of each item was released for a time in which nobody heard it.

        Args:
            start: The time at which nobody heard it any more, of the clock that `now` is of.
            end: The time from which it was heard again.

        Returns:
            Start and end in milliseconds of the item, by its response id and item id.
        """
        stretches = {key: (item.heard_ms(start), item.heard_ms(end)) for key, item in self._items.items()}
        return {key: (first, last) for key, (first, last) in stretches.items() if last > first}

    def _start_stretch(self, now: float) -> None:
        """Begin a new stretch of sound if everything released has been heard."""
        if self.due < now:
            self.began, self.sent = now + self.behind_ms / 1000, 0.0


def _cut(frame: Audio, ms: float) -> tuple[Audio, Audio | None]:
    """Return the first `ms` milliseconds of a frame, and the rest if there is any."""
    step = max(1, round(ms * frame.rate / 1000))
    if len(frame.samples) <= step:
        return frame, None
    # Without the cut, an interrupt would take effect only after the whole frame, and models send up to a second in one.
    rest = Audio(
        samples=frame.samples[step:],
        rate=frame.rate,
        pts=frame.pts + ns(step, frame.rate),
        epoch=frame.epoch,
        response_id=frame.response_id,
        item_id=frame.item_id,
    )
    return frame.with_samples(frame.samples[:step]), rest


def _ramp(piece: Audio, ms: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    count = min(len(piece.samples), max(1, round(ms * piece.rate / 1000)))
    # A straight line is enough for 5 ms: it is the jump that clicks.
    return np.linspace(0.0, 1.0, count, endpoint=False).reshape(-1, *[1] * (piece.samples.ndim - 1))


def _fade_in(piece: Audio, ms: float) -> Audio:
    """Return the piece with a fade-in."""
    ramp, samples = _ramp(piece, ms), piece.samples.copy()
    samples[: len(ramp)] = np.rint(samples[: len(ramp)] * ramp)
    return piece.with_samples(samples)


def _fade_out(piece: Audio, ms: float) -> Audio:
    """Return the first `ms` milliseconds of the piece, faded out, as a `LIVE` frame that no interrupt drops."""
    ramp = _ramp(piece, ms)
    samples = np.rint(piece.samples[: len(ramp)] * ramp[::-1]).astype(np.int16)
    return Audio(samples=samples, rate=piece.rate, pts=piece.pts, epoch=LIVE, response_id=piece.response_id)


def _continuation(piece: Audio) -> Audio:
    """Return a continuation of a piece for the fade: its last sample, repeated."""
    # A constant is the one continuation that begins without a jump whatever the sound was.
    return piece.with_samples(np.repeat(piece.samples[-1:], max(1, piece.rate // 20), axis=0))
