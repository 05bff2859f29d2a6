"""Since when a peer's network is lost, by its packets, on a clock made of numbers."""

from __future__ import annotations

import math

from bargein.services.transports.webrtc._loss_detector import LossDetector


def test_silence_of_everything_is_a_loss_and_ends_with_a_gap() -> None:
    """The microphone's packets of that time never come."""
    line = LossDetector(lambda: 7)
    assert line.lost_since(0.0) == math.inf, "no microphone yet"
    line.on_microphone(1.0, 65_530)
    assert line.lost_since(1.1) == math.inf
    assert line.lost_since(1.3) == 1.0
    line.on_microphone(2.0, 65_530 + 50 & 0xFFFF)
    assert line.ended == (1.0, 2.0)
    assert line.lost_since(2.1) == math.inf


def test_packets_that_were_late_are_no_loss() -> None:
    line = LossDetector(lambda: 7)
    line.on_microphone(1.0, 1)
    assert line.lost_since(1.5) == 1.0
    line.on_microphone(1.5, 2)
    line.on_microphone(1.5, 1)  # out of order
    assert line.ended is None


def test_a_peer_without_a_microphone_still_sends_reports() -> None:
    """So it hears: nothing is known of it any more until its microphone is on again."""
    count = 7
    line = LossDetector(lambda: count)
    line.on_microphone(1.0, 1)
    assert line.lost_since(1.5) == 1.0
    count += 1
    assert line.lost_since(4.0) == math.inf
    assert line.lost_since(90.0) == math.inf
    line.on_microphone(91.0, 2)
    assert line.lost_since(92.0) == 91.0
