"""Pure media and turn-taking steps. They import the engine only, and know no service."""

from .audio.gain import Gain
from .audio.meter import Level, Meter
from .audio.mixer import Mixer
from .audio.recorder import Recorder
from .audio.resample import Resample
from .listening.barge_in import BACKCHANNELS, BargeIn, Decision, Evidence, decide
from .listening.detectors import Detector, Silero, WebRtc
from .listening.turn_taking import TurnTaking
from .listening.turns import Commit, Turn, Turns, UserIdle
from .listening.vad import SpeechContinued, SpeechProbability, Vad
from .observe.latency import BargeInReaction, Latency, TurnLatency
from .observe.tap import Tap
from .speaking.alignment import Alignment
from .speaking.pacer import Pacer
from .speaking.playout import Playout
from .speaking.sentences import Sentences
from .speaking.spoken import AgentActivity, Heard, Spoken, Timing
from .video.decode_picture import DecodePicture
from .video.encode_jpeg import EncodeJpeg
from .video.overlay import Overlay
from .video.sample_fps import SampleFps
from .video.scale import Scale

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
