"""Releasing reply audio when it is due, and telling how much of it was heard."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Literal

import anyio
import numpy as np
from bargein.pipeline import (
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


class _Item:
    """What has been released of one item of one response."""

    def __init__(self, frame: Audio) -> None:
        self.response = frame.response
        self.item = frame.item
        self.ms = 0.0
        self.until = 0.0  # when the last released sample will have been heard
        self.closed = False  # nothing of it follows
        self.reported = -math.inf  # milliseconds, at the latest report

    def heard(self, now: float) -> float:
        return max(0.0, round(self.ms - 1000 * max(0.0, self.until - now), 3))  # clocks are no finer than that


class Pacer(Processor):
    """Give audio at the pace at which it is heard, at most `lead_ms` ahead, in pieces of `chunk_ms`.

    A model speaks faster than anybody listens; whoever flushes on an interrupt must not have everything already. Here
    an interrupt is silence within one piece: what waits is dropped, a fade of `fade_ms` milliseconds ends the sound
    without a click, and `Played` says, upstream, what was heard of it. `Hold` fades out and keeps everything, `Resume`
    fades in where it stopped. `Played` reports, when an item begins, at most every `report_ms` milliseconds of it, and
    when it ends, is held or interrupted (`done`), what the listener has heard of it, not what has been released.

    Due times are counted from samples since the sound began, so they do not drift; `late_ms` is how late, at most, a
    piece went out. With `fill="silence"` gaps are filled, for sinks that need a steady stream.

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
        self._items: deque[_Item] = deque()
        self._start = self._sent = 0.0  # when the present run of sound began, and seconds of it released
        self._held = self._faded = False
        self._format: Audio | None = None

    async def run(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        """Release until the end, and stay until the last of it has been heard."""
        while True:
            try:
                frame = await self._receive(inbox, out)
            except anyio.EndOfStream:
                break
            if isinstance(frame, Audio):
                await self._play(frame, inbox, out)
            elif isinstance(frame, ResponseEnded):
                self._close(frame.response)
                await out.send(frame)
            else:
                await self._urgent(frame, None, out)
        self._close()
        while self._items:
            await anyio.sleep(max(0.0, self._items[0].until - anyio.current_time()))
            await self._report(out)

    @property
    def _due(self) -> float:
        return self._start + self._sent

    async def _receive(self, inbox: Inbox[Taken], out: Outlet[Given]) -> Taken:
        """The next frame; while none comes, report what has been heard, and fill the gap."""
        while True:
            wait = float("inf")
            if self._items and self._items[0].closed:
                wait = self._items[0].until - anyio.current_time()
            if self.fill == "silence" and self._format is not None:
                wait = min(wait, self._due - self.lead_ms / 1000 - anyio.current_time())
            with anyio.move_on_after(max(0.0, wait)):
                return await inbox.receive()
            await self._report(out)
            if self.fill == "silence" and self._format is not None:
                await self._silence(out)

    async def _play(self, frame: Audio, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        pieces = deque(_pieces(frame, self.chunk_ms))
        while pieces:
            now = anyio.current_time()
            if self._due < now and not self._held:  # the listener has heard all there was: a new run begins
                self._start, self._sent = now, 0.0
            wait = self._due - self.lead_ms / 1000 - now
            if self._held or wait > 0:
                urgent = await inbox.urgent(float("inf") if self._held else wait)
                if urgent is not None:
                    await self._urgent(urgent, pieces[0], out)
            elif (urgent := inbox.urgent_nowait()) is not None:
                await self._urgent(urgent, pieces[0], out)
            elif not inbox.stale(frame):
                await self._release(pieces.popleft(), out)
            if inbox.stale(frame):
                return

    async def _release(self, piece: Audio, out: Outlet[Given]) -> None:
        now = anyio.current_time()
        if self._sent:
            self.late_ms = max(self.late_ms, 1000 * (now - max(self._start, self._due - self.lead_ms / 1000)))
        if self._faded:
            piece, self._faded = _fade(piece, self.fade_ms, rising=True), False
        current = self._items[-1] if self._items else None
        if current is None or current.closed or (current.response, current.item) != (piece.response, piece.item):
            self._close()
            current = _Item(piece)
            self._items.append(current)
        self._sent += piece.ms / 1000
        self._format = piece
        current.ms += piece.ms
        current.until = self._due
        await out.send(piece)
        await self._report(out)

    async def _urgent(self, frame: Taken, following: Audio | None, out: Outlet[Given]) -> None:
        """Hold, resume or stop; `following` is what would have been released next."""
        if isinstance(frame, Resume):
            if self._held:
                self._held = False
                self._start, self._sent = anyio.current_time(), 0.0
            return
        sounding = following is not None and not self._held and self._sent > 0
        await self._report(out, exact=True, final=isinstance(frame, Interrupt))
        if isinstance(frame, Interrupt):
            self._held = self._faded = False
            self._start = self._sent = 0.0
        else:
            self._held, self._faded = True, sounding or self._faded
        if sounding and following is not None:
            # Not of the reply any more: it must pass, though what it is made of has expired.
            await out.send(_fade(following, self.fade_ms, rising=False))

    async def _silence(self, out: Outlet[Given]) -> None:
        like = self._format
        now = anyio.current_time()
        if like is None or self._due - self.lead_ms / 1000 > now:
            return
        if self._due < now:
            self._start, self._sent = now, 0.0
        shape = (round(self.chunk_ms * like.rate / 1000), *like.samples.shape[1:])
        self._sent += self.chunk_ms / 1000
        await out.send(Audio(samples=np.zeros(shape, np.int16), rate=like.rate))

    def _close(self, response: str | None = None) -> None:
        for item in self._items:
            item.closed = item.closed or response in (None, item.response)

    async def _report(self, out: Outlet[Given], *, exact: bool = False, final: bool = False) -> None:
        """Say what has been heard, if it is `exact` or enough; `final` ends every item where it is."""
        now = anyio.current_time()
        while self._items:
            item = self._items[0]
            done = final or (item.closed and item.until <= now + 1e-9)
            heard = item.heard(now)
            if done or exact or heard >= item.reported + self.report_ms:
                item.reported = heard
                await out.send(Played(response=item.response, item=item.item, ms=heard, done=done))
            if not done:
                return
            self._items.popleft()


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


def _fade(piece: Audio, ms: float, *, rising: bool) -> Audio:
    """The piece with a fade at its start; or the first `ms` milliseconds of it fading out, belonging to no epoch."""
    count = min(len(piece.samples), max(1, round(ms * piece.rate / 1000)))
    ramp = np.linspace(0.0, 1.0, count, endpoint=False).reshape(-1, *[1] * (piece.samples.ndim - 1))
    if rising:
        samples = piece.samples.copy()
        samples[:count] = np.rint(samples[:count] * ramp)
        return piece.with_samples(samples)
    samples = np.rint(piece.samples[:count] * ramp[::-1]).astype(np.int16)
    return Audio(samples=samples, rate=piece.rate, pts=piece.pts)
