"""Release reply audio at the pace at which it is heard, and report what was heard."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Literal

import anyio
import numpy as np

from bargein.pipeline import Audio, Hold, Inbox, Interrupt, Outlet, Played, Processor, ResponseEnded, Resume
from bargein.pipeline.lowlevel import check_not_negative, check_options, check_positive
from bargein.processors.frames import PlayedSound

from .delivered_sound import DeliveredSound
from .playout import EARLY, Playout

__all__ = ["Pacer"]

CHECK_SECONDS = 0.02
"""How often it looks whether the sink has delivered the last sound of an item."""
MAX_DELIVERY_SECONDS = 15.0
"""How long it waits for that: longer than a sink waits for a slow peer. A device may have stopped."""

PacerInput = Audio | ResponseEnded | Interrupt | Hold | Resume
PacerOutput = Audio | ResponseEnded | Played | PlayedSound


class Pacer(Processor):
    """Releases audio at the speed of playback, slightly ahead, in small pieces, and reports `Played` upstream.

    Models produce audio faster than it is heard. The pacer keeps what is not due, so that an interrupt takes effect
    within one piece: waiting audio is dropped, the sound fades out without a click, and a last `Played` says how much
    was heard. `Hold` fades out and keeps the audio; `Resume`, or the end of the stream, fades in where it stopped. On
    an `Interrupt` (not on a `Hold`) the sink below drops what it has not played yet.

    `Played` counts what the listener has heard, not what was released. It comes when an item begins, at intervals, and
    when the item ends, is held or is interrupted. The last one of an item has `done`. An item ends with its response,
    with the stream, or by an interrupt.

    Where a processor above takes `PlayedSound`, as `EchoCancel` does, the sound itself is sent upstream as well, with
    the time at which it is heard.

    Due times are counted in samples since the sound began, so they do not drift. The attribute `late_ms` is the
    greatest delay of a piece so far, in milliseconds.

    The sink of a transport paces by itself. Use a pacer only above your own sink.

    Args:
        lead_ms: How far ahead of playback audio is released, in milliseconds.
        chunk_ms: Maximum length of a released piece in milliseconds.
        fade_ms: Length of the fades in milliseconds. Use 0 where the player below fades by itself.
        report_ms: Maximum interval between two `Played` of an item, in milliseconds of its audio.
        fill: `"silence"` fills gaps with silence, for sinks that need a steady stream.
        reports: Whether to send `Played`. Use False for a sink that reports what its player confirms.
        behind_ms: Latency of the device below, in milliseconds: audio is heard this long after its release. It must
            be less than `lead_ms`.
        delivered: What the sink below has delivered and dropped. `Played` never says more, and the last one of an item
            waits until no sound of it waits in the sink. For sinks that drop audio; None for those that do not.

    Raises:
        ValueError: A duration is out of its range, or `fill` has another value.
    """

    capacity = 1500  # half a minute in frames of 20 ms: models are that far ahead
    latency_ms = 0.0

    @check_options
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
        delivered: DeliveredSound | None = None,
    ) -> None:
        check_positive("Pacer", lead_ms=lead_ms, chunk_ms=chunk_ms, report_ms=report_ms)
        check_not_negative("Pacer", fade_ms=fade_ms)
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
        self._delivered = delivered
        self._undelivered: list[tuple[Played, float]] = []  # last reports that wait for the sink, and until when
        self.late_ms = 0.0
        self._reports_sound = False  # whether a processor above takes `PlayedSound`
        self._playout = Playout(fade_ms=fade_ms, report_ms=report_ms, behind_ms=behind_ms)

    async def run(self, inbox: Inbox[PacerInput], out: Outlet[PacerOutput]) -> None:
        """Release until the end, and stay until everything has been heard."""
        playout = self._playout
        self._reports_sound = out.is_taken(PlayedSound)
        while True:
            # Urgent frames first, also when audio is due: what an interrupt makes stale must not be released before it
            # is looked at.
            frame = inbox.urgent_nowait()
            if frame is None:
                playout.forget(inbox.stale)
                frame = await self._next(inbox, out)
            if isinstance(frame, Audio):
                playout.add(frame)
                continue  # its arrival changes nothing about what was heard
            if isinstance(frame, ResponseEnded):
                playout.close(frame.response_id)
                await out.send(frame)
            elif frame is not None:
                await self._obey(frame, out)
            elif inbox.ended:
                break
            await self._report(out)
        playout.close()  # the end came when nothing was left to release: wait until the lead has been heard
        while playout.unfinished or self._undelivered:
            await anyio.sleep(self._wait_for_report(anyio.current_time()))
            await self._report(out)

    async def _obey(self, frame: Interrupt | Hold | Resume, out: Outlet[PacerOutput]) -> None:
        """Handle an urgent frame."""
        playout, now, ahead = self._playout, anyio.current_time(), self._playout.due
        for output in playout.urgent(frame, now):
            if isinstance(output, Audio):
                await self._send_sound(output, out)
            else:
                await self._send_report(output, out)
        # An interrupt that concerned what is playing has restarted the clock: the sink drops what it holds.
        if self._reports_sound and playout.last is not None and playout.due < ahead and playout.due < now:
            silence = np.zeros(0, np.int16)
            await out.send(PlayedSound(silence, playout.last.rate, now + playout.behind_ms / 1000))

    async def _send_sound(self, piece: Audio, out: Outlet[PacerOutput]) -> None:
        """Send sound that was just released, and say above when it is heard."""
        if self._reports_sound:
            start = self._playout.due - len(piece.samples) / piece.rate
            await out.send(PlayedSound(piece.samples, piece.rate, start))
        await out.send(piece)

    async def _next(self, inbox: Inbox[PacerInput], out: Outlet[PacerOutput]) -> PacerInput | None:
        """Do what is due, or wait until something is due or a frame arrives. Return the frame, if any."""
        playout, now = self._playout, anyio.current_time()
        # Nobody above is left who could send `Resume`. What is held is played to its end.
        if playout.held and inbox.ending:
            playout.resume(now)
        # Due when the sound that is below lasts only for the lead: enough for a late task, and little to lose at an
        # interrupt.
        due = playout.due - self.lead_ms / 1000 if playout.waiting and not playout.held else math.inf
        if due <= now + EARLY:
            await self._release(out, now)
            return None
        silent = math.inf
        if self.fill == "silence" and playout.last is not None and due == math.inf and not inbox.ending:
            # No further ahead than one piece: silence that was released delays the next word.
            silent = playout.due - min(self.chunk_ms, self.lead_ms) / 1000
            if silent <= now + EARLY:
                if not playout.held and (frame := inbox.receive_nowait()) is not None:
                    return frame  # audio has arrived in time
                if (silence := playout.silence(now, self.chunk_ms)) is not None:
                    await out.send(silence)
                return None
        wait = min(max(min(due, silent) - now, 0.0), self._wait_for_report(now))
        # Leave data in the inbox, so that a hold or an interrupt never waits behind it.
        if playout.waiting or playout.held:
            frame = await inbox.urgent(wait)
            if frame is None and due <= (now := anyio.current_time()) + EARLY:
                await self._release(out, now)
            return frame
        if inbox.ending and not len(inbox):
            playout.close()
            if playout.unfinished:  # stay until everything has been heard or is interrupted
                return await inbox.urgent(max(0.0, playout.finishes - now))
        # Nothing waits to be released, so the next frame of any kind may come out of the inbox.
        with suppress(anyio.EndOfStream):
            # Without a deadline no cancel scope is needed, which costs more than the frame.
            if wait == math.inf:
                return await inbox.receive()
            with anyio.move_on_after(wait):
                return await inbox.receive()
        return None

    async def _release(self, out: Outlet[PacerOutput], now: float) -> None:
        playout = self._playout
        # The first piece of a stretch has no due time, so it cannot be late.
        if playout.sent:
            self.late_ms = max(self.late_ms, 1000 * (now - max(playout.began, playout.due - self.lead_ms / 1000)))
        if (piece := playout.release(now, self.chunk_ms)) is not None:
            await self._send_sound(piece, out)

    def _wait_for_report(self, now: float) -> float:
        """Return how many seconds from now a last report of an item may be due."""
        ends = max(0.0, self._playout.next_end - now)
        return min(ends, CHECK_SECONDS) if self._undelivered else ends

    async def _report(self, out: Outlet[PacerOutput]) -> None:
        undelivered, self._undelivered = self._undelivered, []
        for played, until in undelivered:
            await self._send_report(played, out, until)
        for played in self._playout.reports(anyio.current_time()):
            await self._send_report(played, out)

    async def _send_report(self, played: Played, out: Outlet[PacerOutput], until: float | None = None) -> None:
        """Send a report with no more than the sink has delivered; the last one of an item when it has delivered all."""
        limited: Played | None = played
        if self._delivered is not None:
            now = anyio.current_time()
            until = now + MAX_DELIVERY_SECONDS if until is None else until
            limited = self._delivered.limit(played, wait=now < until)
            if limited is None:
                self._undelivered.append((played, until))
        if limited is not None and self.reports:
            await out.send(limited)
