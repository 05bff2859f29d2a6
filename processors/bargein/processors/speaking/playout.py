"""What waits to be played, and what of it was heard: the core of every player, without a task or a wait."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from bargein.pipeline import LIVE, Audio, Hold, Interrupt, Played, Resume

__all__ = ["EARLY", "Playout"]

EARLY = 1e-9
"""Clocks are no finer than that (seconds)."""


class _Item:
    """What has been released of one item of one response."""

    def __init__(self, frame: Audio) -> None:
        self.response = frame.response_id
        self.item = frame.item_id
        self.epoch = frame.epoch
        self.ms = 0.0
        self.until = 0.0  # when the last released sample will have been heard
        self.closed = False  # nothing of it follows
        self.reported = -math.inf  # milliseconds, at the latest report

    def heard(self, now: float) -> float:
        return max(0.0, round(self.ms - 1000 * max(0.0, self.until - now), 3))


class _Close:
    """Among what waits: what came before it of a response, or of all, was the last."""

    def __init__(self, response: str | None) -> None:
        self.response = response


class Playout:
    """The sound that waits, in order; what is released is taken for heard as time passes, `behind_ms` later.

    A player adds what comes (`add`, `close`), releases what is due (`release`), obeys (`urgent`), and sends what
    `reports` gives upstream. `Pacer` releases when its clock says so, a sound card or an RTP sender when it pulls.
    All times are AnyIO's, and given by the caller, so that one decision has one time.
    """

    def __init__(self, *, fade_ms: float = 5.0, report_ms: float = 100.0, behind_ms: float = 0.0) -> None:
        self.fade_ms = fade_ms
        """How long the sound falls or rises at an interrupt, a hold, and after it; 0 where what is below sees to it."""
        self.report_ms = report_ms
        """How often, in milliseconds of an item, it is reported."""
        self.behind_ms = behind_ms
        """How long after its release sound is heard: the latency of what is below."""
        self.held = False
        """On hold: nothing is to be released."""
        self.last: Audio | None = None
        """What was released latest."""
        self.began = -math.inf
        """When the present run of sound began to be heard, without a gap since."""
        self.sent = 0.0
        """Seconds of it released."""
        self.waiting_ms = 0.0
        """How much sound waits."""
        self._waiting: deque[Audio | _Close] = deque()
        self._items: dict[tuple[str, str], _Item] = {}
        self._faded = False  # on hold, or just after it: what comes next fades in

    @property
    def waiting(self) -> bool:
        """There is sound to release, be it on hold."""
        return bool(self._waiting)

    @property
    def rate(self) -> int:
        """Samples a second of what comes next; 0 if nothing waits."""
        following = self._following
        return 0 if following is None else following.rate

    @property
    def _following(self) -> Audio | None:
        """What comes next. A `_Close` is never in front."""
        following = self._waiting[0] if self._waiting else None
        return None if isinstance(following, _Close) else following

    @property
    def due(self) -> float:
        """When all that was released will have been heard: the next sample is due then."""
        return self.began + self.sent

    @property
    def unfinished(self) -> bool:
        """Something was released whose end has not been reported."""
        return bool(self._items)

    @property
    def finishes(self) -> float:
        """When all of that will have been heard."""
        return max((item.until for item in self._items.values()), default=-math.inf)

    @property
    def next_end(self) -> float:
        """When the next item of which nothing follows will have been heard; infinite if there is none."""
        return min((item.until for item in self._items.values() if item.closed), default=math.inf)

    def add(self, frame: Audio) -> None:
        """Sound to be played after all other."""
        self._waiting.append(frame)
        self.waiting_ms += frame.ms

    def close(self, response: str | None = None) -> None:
        """Nothing of this response follows; None for all of them."""
        self._waiting.append(_Close(response))
        self._settle()

    def forget(self, stale: Callable[[Audio], bool]) -> None:
        """Drop what waits at the front and must not be played any more."""
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
        """The next piece, of at most `ms` milliseconds and never of two frames; None if there is none, or on hold."""
        following = self._following
        if self.held or following is None:
            return None
        self._waiting.popleft()
        piece, rest = _cut(following, ms)
        if rest is not None:
            self._waiting.appendleft(rest)
        self.waiting_ms -= piece.ms
        self._run(now)
        self.last = piece
        if self._faded:
            piece, self._faded = _fade_in(piece, self.fade_ms), False
        key = (piece.response_id, piece.item_id)
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(piece)
        self.sent += len(piece.samples) / piece.rate
        item.ms += piece.ms
        item.until = self.due
        self._settle()
        return piece

    def silence(self, now: float, ms: float) -> Audio | None:
        """Silence like the latest sound, which takes its time as sound does; None if there was none yet."""
        if self.last is None:
            return None
        self._run(now)
        count = max(1, round(ms * self.last.rate / 1000))
        self.sent += count / self.last.rate
        return Audio(samples=np.zeros((count, *self.last.samples.shape[1:]), np.int16), rate=self.last.rate)

    def urgent(self, frame: Interrupt | Hold | Resume, now: float) -> Iterator[Audio | Played]:
        """Hold, resume, or stop: at once. Gives what was heard, and the fade that ends the sound without a click."""
        if isinstance(frame, Resume):
            self.resume(now)
            return
        number = frame.epoch if isinstance(frame, Interrupt) else -1
        last = self.last
        sounding = last is not None and self.fade_ms > 0 and not self.held and self.due > now + EARLY
        following = self._following
        self.forget(lambda waiting: waiting.epoch < number)
        yield from self.reports(now, exact=True, until=number)
        if isinstance(frame, Interrupt):
            if last is not None and last.epoch >= number:
                return  # what sounds is none of a response's: it was not meant
            self.held = self._faded = False
            self.began, self.sent = -math.inf, 0.0
        elif self.held:
            return
        else:
            self.held, self._faded = True, sounding or self._faded
        if sounding and last is not None:
            fade = _fade_out(following or _after(last), self.fade_ms)
            self._run(now)
            self.sent += len(fade.samples) / fade.rate
            yield fade

    def resume(self, now: float) -> None:
        """Go on where it was held."""
        if self.held:
            self.held = False
            self._run(now)

    def reports(self, now: float, *, exact: bool = False, until: int = -1) -> Iterator[Played]:
        """What has been heard, if that is `exact` or enough. Items older than the epoch `until` end here."""
        for key, item in list(self._items.items()):
            done = item.epoch < until or (item.closed and item.until <= now + EARLY)
            heard = item.heard(now)
            enough = heard >= item.reported + self.report_ms and item.until > now + EARLY
            if done or enough or (exact and heard > item.reported):
                item.reported = heard
                if done:
                    del self._items[key]
                yield Played(response_id=item.response, item_id=item.item, ms=heard, done=done)

    def _run(self, now: float) -> None:
        """If the listener has heard all there was, a new run of sound begins."""
        if self.due < now:
            self.began, self.sent = now + self.behind_ms / 1000, 0.0


def _cut(frame: Audio, ms: float) -> tuple[Audio, Audio | None]:
    """At most `ms` milliseconds of a frame, and what is left of it."""
    step = max(1, round(ms * frame.rate / 1000))
    if len(frame.samples) <= step:
        return frame, None
    rest = Audio(
        samples=frame.samples[step:],
        rate=frame.rate,
        pts=frame.pts + step * 1_000_000_000 // frame.rate,
        epoch=frame.epoch,
        response_id=frame.response_id,
        item_id=frame.item_id,
    )
    return frame.with_samples(frame.samples[:step]), rest


def _ramp(piece: Audio, ms: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    count = min(len(piece.samples), max(1, round(ms * piece.rate / 1000)))
    return np.linspace(0.0, 1.0, count, endpoint=False).reshape(-1, *[1] * (piece.samples.ndim - 1))


def _fade_in(piece: Audio, ms: float) -> Audio:
    """The piece, rising from silence."""
    ramp, samples = _ramp(piece, ms), piece.samples.copy()
    samples[: len(ramp)] = np.rint(samples[: len(ramp)] * ramp)
    return piece.with_samples(samples)


def _fade_out(piece: Audio, ms: float) -> Audio:
    """The first `ms` milliseconds of the piece, falling to silence. It belongs to no epoch, as it must pass."""
    ramp = _ramp(piece, ms)
    samples = np.rint(piece.samples[: len(ramp)] * ramp[::-1]).astype(np.int16)
    return Audio(samples=samples, rate=piece.rate, pts=piece.pts, epoch=LIVE, response_id=piece.response_id)


def _after(piece: Audio) -> Audio:
    """What comes after a piece when nothing does: its last sample, which is to fade."""
    return piece.with_samples(np.repeat(piece.samples[-1:], max(1, piece.rate // 20), axis=0))
