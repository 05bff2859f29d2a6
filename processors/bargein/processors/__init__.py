"""Pure media and turn-taking steps. They import the engine only, and know no service."""

from .audio.channels import mix_channels
from .audio.gain import Gain
from .audio.meter import Level, Meter
from .audio.mixer import Mixer
from .audio.recorder import Recorder
from .audio.resample import Resample
from .listening.barge_in import BACKCHANNELS, BargeIn, Decision, Evidence, decide
from .listening.detectors import Detector, SileroVad, WebRtcVad
from .listening.turn_taking import TurnControl
from .listening.turns import Commit, Turn, Turns, UserIdle
from .listening.vad import SpeechContinued, SpeechProbability, Vad
from .observe.latency import BargeInLatency, Latency, TurnLatency
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
    "BargeInLatency",
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
    "SileroVad",
    "SpeechContinued",
    "SpeechProbability",
    "Spoken",
    "Tap",
    "Timing",
    "Turn",
    "TurnControl",
    "TurnLatency",
    "Turns",
    "UserIdle",
    "Vad",
    "WebRtcVad",
    "decide",
    "mix_channels",
]
