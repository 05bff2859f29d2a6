"""Pure media and turn-taking steps. They import the engine only, and know no service."""

from .detectors import Detector, Silero, WebRtc
from .gain import Gain
from .meter import Level, Meter
from .pacer import Pacer
from .resample import Resample
from .tap import Tap
from .vad import SpeechProbability, Vad

__all__ = [
    "Detector",
    "Gain",
    "Level",
    "Meter",
    "Pacer",
    "Resample",
    "Silero",
    "SpeechProbability",
    "Tap",
    "Vad",
    "WebRtc",
]
