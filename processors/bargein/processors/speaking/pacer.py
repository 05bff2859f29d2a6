"""Releasing reply audio when it is due, and telling how much of it was heard."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Literal

import anyio
from bargein.pipeline import Audio, Hold, Inbox, Interrupt, Outlet, Played, Processor, ResponseEnded, Resume

from .playout import EARLY, Playout

__all__ = ["Pacer"]

Taken = Audio | ResponseEnded | Interrupt | Hold | Resume
Given = Audio | ResponseEnded | Played


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
    piece went out. With `fill="silence"` gaps are filled, a chunk ahead, for sinks that need a steady stream. With
    `fade_ms=0` nothing fades: for a sink whose player is told of interrupts and holds, and sees to that itself. With
    `reports=False` it sends no `Played`: for a sink that is told by its player, and reports it. `behind_ms` is how long
    after its release sound is heard at the earliest, part of the lead: the latency of a device.

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
        reports: bool = True,
        behind_ms: float = 0.0,
    ) -> None:
        durations = {"lead_ms": lead_ms, "chunk_ms": chunk_ms, "fade_ms": fade_ms, "report_ms": report_ms}
        for name, value in durations.items():
            if not (math.isfinite(value) and (value > 0 or (value == 0 and name == "fade_ms"))):
                raise ValueError(f"Pacer({name}={value}): expected a positive number of milliseconds")
        if not 0 <= behind_ms < lead_ms:
            raise ValueError(
                f"Pacer(behind_ms={behind_ms}): expected less than the lead of {lead_ms:g} ms, and not less than 0"
            )
        if fill not in ("nothing", "silence"):
            raise ValueError(f"Pacer(fill={fill!r}): expected 'nothing' or 'silence'")
        self.lead_ms = lead_ms
        self.chunk_ms = chunk_ms
        self.fill = fill
        self.reports = reports
        self.late_ms = 0.0
        self._playout = Playout(fade_ms=fade_ms, report_ms=report_ms, behind_ms=behind_ms)

    async def run(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        """Release until the end, and stay until the last of it has been heard."""
        playout = self._playout
        while True:
            frame = inbox.urgent_nowait()
            if frame is None:
                playout.forget(inbox.stale)
                frame = await self._next(inbox, out)
            if isinstance(frame, Audio):
                playout.add(frame)
                continue  # nothing has been heard by that
            if isinstance(frame, ResponseEnded):
                playout.close(frame.response_id)
                await out.send(frame)
            elif frame is not None:
                for made in playout.urgent(frame, anyio.current_time()):
                    if self.reports or isinstance(made, Audio):
                        await out.send(made)
            elif inbox.ended:
                break
            await self._report(out)
        playout.close()  # the end came while there was nothing to release: the last of the lead is heard
        while playout.unfinished:
            await anyio.sleep(max(0.0, playout.next_end - anyio.current_time()))
            await self._report(out)

    async def _next(self, inbox: Inbox[Taken], out: Outlet[Given]) -> Taken | None:
        """Do what is due, or wait for that or for a frame."""
        playout, now = self._playout, anyio.current_time()
        if playout.held and inbox.ending:
            playout.resume(now)
        due = playout.due - self.lead_ms / 1000 if playout.waiting and not playout.held else math.inf
        if due <= now + EARLY:
            await self._release(out, now)
            return None
        silent = math.inf
        if self.fill == "silence" and playout.last is not None and due == math.inf and not inbox.ending:
            silent = playout.due - min(self.chunk_ms, self.lead_ms) / 1000
            if silent <= now + EARLY:
                if not playout.held and (frame := inbox.receive_nowait()) is not None:
                    return frame  # there is sound after all
                if (silence := playout.silence(now, self.chunk_ms)) is not None:
                    await out.send(silence)
                return None
        wait = max(min(due, silent, playout.next_end) - now, 0.0)
        if playout.waiting or playout.held:  # data stays where it is: a hold or an interrupt must not wait behind it
            frame = await inbox.urgent(wait)
            if frame is None and due <= (now := anyio.current_time()) + EARLY:
                await self._release(out, now)
            return frame
        if inbox.ending and not len(inbox):
            playout.close()
            if playout.unfinished:  # stay until the last has been heard, or somebody interrupts it
                return await inbox.urgent(max(0.0, playout.finishes - now))
        with suppress(anyio.EndOfStream):
            if wait == math.inf:
                return await inbox.receive()
            with anyio.move_on_after(wait):
                return await inbox.receive()
        return None

    async def _release(self, out: Outlet[Given], now: float) -> None:
        playout = self._playout
        if playout.sent:
            self.late_ms = max(self.late_ms, 1000 * (now - max(playout.began, playout.due - self.lead_ms / 1000)))
        if (piece := playout.release(now, self.chunk_ms)) is not None:
            await out.send(piece)

    async def _report(self, out: Outlet[Given]) -> None:
        for played in self._playout.reports(anyio.current_time()):
            if self.reports:
                await out.send(played)
