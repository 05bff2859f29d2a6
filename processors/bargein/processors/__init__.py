"""Pure media and turn-taking steps. They import the engine only, and know no service."""

from .alignment import Alignment
from .barge_in import BACKCHANNELS, BargeIn, Decision, Evidence, decide
from .decode_picture import DecodePicture
from .detectors import Detector, Silero, WebRtc
from .encode_jpeg import EncodeJpeg
from .gain import Gain
from .latency import BargeInReaction, Latency, TurnLatency
from .meter import Level, Meter
from .mixer import Mixer
from .overlay import Overlay
from .pacer import Pacer
from .playout import Playout
from .recorder import Recorder
from .resample import Resample
from .sample_fps import SampleFps
from .scale import Scale
from .sentences import Sentences
from .spoken import AgentActivity, Heard, Spoken, Timing
from .tap import Tap
from .turn_taking import TurnTaking
from .turns import Commit, Turn, Turns, UserIdle
from .vad import SpeechContinued, SpeechProbability, Vad

__all__ = [
    "BACKCHANNELS",
    "AgentActivity",
    "Alignment",
    "BargeIn",
    "BargeInReaction",
    "Commit",
    "Decision",
    "DecodePicture",
    "Detector",
    "EncodeJpeg",
    "Evidence",
    "Gain",
    "Heard",
    "Latency",
    "Level",
    "Meter",
    "Mixer",
    "Overlay",
    "Pacer",
    "Playout",
    "Recorder",
    "Resample",
    "SampleFps",
    "Scale",
    "Sentences",
    "Silero",
    "SpeechContinued",
    "SpeechProbability",
    "Spoken",
    "Tap",
    "Timing",
    "Turn",
    "TurnLatency",
    "TurnTaking",
    "Turns",
    "UserIdle",
    "Vad",
    "WebRtc",
    "decide",
]
