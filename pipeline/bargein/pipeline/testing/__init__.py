"""The test kit: a harness, virtual time, test signals, scripted peers, and a conformance suite for processors."""

from .clock import VirtualLoop, hold_clock, run_virtual, stand_still, virtual_asyncio, virtual_trio
from .conformance import check_processor
from .harness import Arrival, Harness, Timeline
from .noises import breath, click, cough, hum, keyboard, music, slam
from .scripted import Reply, Scripted
from .signals import framed, joined, noise, silence, speech_like, tone

__all__ = [
    "Arrival",
    "Harness",
    "Reply",
    "Scripted",
    "Timeline",
    "VirtualLoop",
    "breath",
    "check_processor",
    "click",
    "cough",
    "framed",
    "hold_clock",
    "hum",
    "joined",
    "keyboard",
    "music",
    "noise",
    "run_virtual",
    "silence",
    "slam",
    "speech_like",
    "stand_still",
    "tone",
    "virtual_asyncio",
    "virtual_trio",
]
