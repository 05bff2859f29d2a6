"""Releasing reply audio when it is due, and telling how much of it was heard."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Literal

import anyio
import numpy as np
from bargein.pipeline import (
    LIVE,
    Audio,
    Hold,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    ResponseEnded,
    Resume,
)

__all__ = ["Pacer"]

Taken = Audio | ResponseEnded | Interrupt | Hold | Resume
Given = Audio | ResponseEnded | Played
EARLY = 1e-9
"""Clocks are no finer than that."""


class _Item:
    """What has been released of one item of one response."""

    def __init__(self, frame: Audio) -> None:
        self.response = frame.response
        self.item = frame.item
        self.epoch = frame.epoch
        self.ms = 0.0
        self.until = 0.0  # when the last released sample will have been heard
        self.closed = False  # nothing of it follows
        self.reported = -math.inf  # milliseconds, at the latest report

    def heard(self, now: float) -> float:
        return max(0.0, round(self.ms - 1000 * max(0.0, self.until - now), 3))


class Pacer(Processor):
    """Give audio at the pace at which it is heard, at most `lead_ms` ahead, in pieces of `chunk_ms`.

    A model speaks faster than anybody listens; whoever flushes on an interrupt must not have everything already. Here
    an interrupt is silence within one piece: what waits is dropped, a fade of `fade_ms` milliseconds ends the sound
    without a click, and `Played` says, upstream, what was heard of it. `Hold` fades out and keeps everything, `Resume`
    fades in where it stopped, and so does the end of the stream, so that nobody is left on hold. A sink plays what it
    was given; on an `Interrupt` (not on a `Hold`) it drops what it has not played yet.

    `Played` reports, when an item begins, at most every `report_ms` milliseconds of it, and when it ends, is held or
    interrupted, what the listener has heard of it, not what has been released. The last one of an item has `done`: an
    item ends with its response (`ResponseEnded`), with the stream, or by an interrupt.

    Due times are counted from samples since the sound began, so they do not drift; `late_ms` is how late, at most, a
    piece went out. With `fill="silence"` gaps are filled, a chunk ahead, for sinks that need a steady stream.

    Raises `ValueError` for durations that are not positive.
    """

    capacity = 1500  # half a minute of 20 ms frames: a model is ahead of its listener
    latency_ms = 0.0

    def __init__(
        self,
        *,
        lead_ms: float = 40.0,
        chunk_ms: float = 20.0,
        fade_ms: float = 5.0,
        report_ms: float = 100.0,
        fill: Literal["nothing", "silence"] = "nothing",
    ) -> None:
        durations = {"lead_ms": lead_ms, "chunk_ms": chunk_ms, "fade_ms": fade_ms, "report_ms": report_ms}
        for name, value in durations.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"Pacer({name}={value}): expected a positive number of milliseconds")
        if fill not in ("nothing", "silence"):
            raise ValueError(f"Pacer(fill={fill!r}): expected 'nothing' or 'silence'")
        self.lead_ms = lead_ms
        self.chunk_ms = chunk_ms
        self.fade_ms = fade_ms
        self.report_ms = report_ms
        self.fill = fill
        self.late_ms = 0.0
        self._pieces: deque[Audio] = deque()  # what is to be released next
        self._items: dict[tuple[str, str], _Item] = {}
        self._start = self._sent = 0.0  # when the present run of sound began, and seconds of it released
        self._held = self._faded = False
        self._last: Audio | None = None  # the latest piece released

    async def run(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        """Release until the end, and stay until the last of it has been heard."""
        while True:
            frame = inbox.urgent_nowait()
            if frame is None:
                while self._pieces and inbox.stale(self._pieces[0]):
                    self._pieces.popleft()
                frame = await self._next(inbox, out)
            if isinstance(frame, Audio):
                self._pieces.extend(_pieces(frame, self.chunk_ms))
            elif isinstance(frame, ResponseEnded):
                self._close(frame.response)
                await out.send(frame)
            elif frame is not None:
                await self._urgent(frame, out)
            elif inbox.ended:
                break
            await self._report(out)
        self._close()  # the end came while there was nothing to release: the last of the lead is heard
        while self._items:
            await anyio.sleep(max(0.0, min(item.until for item in self._items.values()) - anyio.current_time()))
            await self._report(out)

    async def _next(self, inbox: Inbox[Taken], out: Outlet[Given]) -> Taken | None:
        """Do what is due, or wait for that or for a frame."""
        now = anyio.current_time()
        if self._held and inbox.ending:
            self._resume()
        due = self._due - self.lead_ms / 1000 if self._pieces and not self._held else math.inf
        if due <= now + EARLY:
            await self._release(self._pieces.popleft(), out)
            return None
        silent = math.inf
        if self.fill == "silence" and self._last is not None and due == math.inf and not inbox.ending:
            silent = self._due - min(self.chunk_ms, self.lead_ms) / 1000
            if silent <= now + EARLY:
                if not self._held and (frame := inbox.receive_nowait()) is not None:
                    return frame  # there is sound after all
                await self._silence(self._last, out)
                return None
        wait = min(due, silent, *(item.until for item in self._items.values() if item.closed), math.inf) - now
        wait = max(wait, 0.0)
        if self._pieces or self._held:  # data stays where it is: a hold or an interrupt must not wait behind it
            return await inbox.urgent(wait)
        if inbox.ending and not len(inbox):
            self._close()
            if self._items:  # stay until the last has been heard, or somebody interrupts it
                last = max(item.until for item in self._items.values())
                return await inbox.urgent(max(0.0, last - now))
        with anyio.move_on_after(wait):
            try:
                return await inbox.receive()
            except anyio.EndOfStream:
                return None
        return None

    @property
    def _due(self) -> float:
        return self._start + self._sent

    def _run(self, now: float) -> None:
        """The listener has heard all there was: a new run of sound begins."""
        if self._due < now:
            self._start, self._sent = now, 0.0

    async def _release(self, piece: Audio, out: Outlet[Given]) -> None:
        now = anyio.current_time()
        if self._sent:
            self.late_ms = max(self.late_ms, 1000 * (now - max(self._start, self._due - self.lead_ms / 1000)))
        self._run(now)
        self._last = piece
        if self._faded:
            piece, self._faded = _fade_in(piece, self.fade_ms), False
        key = (piece.response, piece.item)
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(piece)
        self._sent += len(piece.samples) / piece.rate
        item.ms += piece.ms
        item.until = self._due
        await out.send(piece)

    async def _urgent(self, frame: Taken, out: Outlet[Given]) -> None:
        """Hold, resume or stop."""
        if isinstance(frame, Resume):
            if self._held:
                self._resume()
            return
        number = frame.epoch if isinstance(frame, Interrupt) else -1
        last = self._last
        sounding = last is not None and not self._held and self._due > anyio.current_time() + EARLY
        following = self._pieces[0] if self._pieces else None
        while self._pieces and self._pieces[0].epoch < number:
            self._pieces.popleft()
        await self._report(out, exact=True, until=number)
        if isinstance(frame, Interrupt):
            if last is not None and last.epoch >= number:
                return  # what sounds is none of a response's: it was not meant
            self._held = self._faded = False
            self._start = self._sent = 0.0
        elif self._held:
            return
        else:
            self._held, self._faded = True, sounding or self._faded
        if sounding and last is not None:
            fade = _fade_out(following or _after(last), self.fade_ms)
            self._run(anyio.current_time())
            self._sent += len(fade.samples) / fade.rate
            await out.send(fade)

    def _resume(self) -> None:
        self._held = False
        self._run(anyio.current_time())

    async def _silence(self, like: Audio, out: Outlet[Given]) -> None:
        self._run(anyio.current_time())
        count = max(1, round(self.chunk_ms * like.rate / 1000))
        self._sent += count / like.rate
        await out.send(Audio(samples=np.zeros((count, *like.samples.shape[1:]), np.int16), rate=like.rate))

    def _close(self, response: str | None = None) -> None:
        for item in self._items.values():
            item.closed = item.closed or response in (None, item.response)

    async def _report(self, out: Outlet[Given], *, exact: bool = False, until: int = -1) -> None:
        """Say what has been heard, if it is `exact` or enough. Items older than the epoch `until` end here."""
        now = anyio.current_time()
        for key, item in list(self._items.items()):
            done = item.epoch < until or (item.closed and item.until <= now + EARLY)
            heard = item.heard(now)
            enough = heard >= item.reported + self.report_ms and item.until > now + EARLY
            if done or enough or (exact and heard > item.reported):
                item.reported = heard
                if done:
                    del self._items[key]
                await out.send(Played(response=item.response, item=item.item, ms=heard, done=done))


def _pieces(frame: Audio, ms: float) -> Iterator[Audio]:
    """A frame in pieces of at most `ms` milliseconds."""
    step = max(1, round(ms * frame.rate / 1000))
    if len(frame.samples) <= step:
        yield frame
        return
    for at in range(0, len(frame.samples), step):
        yield Audio(
            samples=frame.samples[at : at + step],
            rate=frame.rate,
            pts=frame.pts + at * 1_000_000_000 // frame.rate,
            epoch=frame.epoch,
            response=frame.response,
            item=frame.item,
        )


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
    return Audio(samples=samples, rate=piece.rate, pts=piece.pts, epoch=LIVE, response=piece.response)


def _after(piece: Audio) -> Audio:
    """What comes after a piece when nothing does: its last sample, which is to fade."""
    return piece.with_samples(np.repeat(piece.samples[-1:], max(1, piece.rate // 20), axis=0))
