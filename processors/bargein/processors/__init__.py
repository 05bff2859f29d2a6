"""Processors for media and turn-taking. They build on the engine and know no service."""

from .audio.channels import mix_channels
from .audio.echo_cancel import EchoCancel
from .audio.gain import Gain
from .audio.meter import Meter
from .audio.mixer import Mixer
from .audio.recorder import Recorder
from .audio.resample import Resample
from .frames import (
    AgentActivity,
    BargeInLatency,
    Commit,
    Heard,
    Level,
    PauseRequest,
    PlayedSound,
    SpeechContinued,
    SpeechPaused,
    SpeechProbability,
    Timing,
    Turn,
    TurnControl,
    TurnEnd,
    TurnLatency,
    UserIdle,
)
from .listening.barge_in import BACKCHANNELS, STOP_WORDS, BargeIn, Decision, Evidence, decide
from .listening.detectors import Detector, SileroVad, WebRtcVad
from .listening.turn_detectors import (
    AdaptiveSilence,
    TextTurnDetector,
    TurnDetector,
    TurnEvidence,
    decide_silence,
)
from .listening.turns import Turns
from .listening.vad import Vad
from .observe.latency import Latency
from .observe.tap import Tap
from .speaking.alignment import Alignment
from .speaking.delivered_sound import DeliveredSound
from .speaking.pacer import Pacer
from .speaking.playout import Playout
from .speaking.sentences import Sentences
from .speaking.speakable import speakable
from .speaking.spoken import Spoken
from .video.decode_picture import DecodePicture
from .video.encode_jpeg import EncodeJpeg
from .video.fit_picture import DropPictures, FitPicture
from .video.overlay import Overlay
from .video.sample_fps import SampleFps
from .video.scale import Scale

__all__ = [
    "BACKCHANNELS",
    "STOP_WORDS",
    "AdaptiveSilence",
    "AgentActivity",
    "Alignment",
    "BargeIn",
    "BargeInLatency",
    "Commit",
    "Decision",
    "DecodePicture",
    "DeliveredSound",
    "Detector",
    "DropPictures",
    "EchoCancel",
    "EncodeJpeg",
    "Evidence",
    "FitPicture",
    "Gain",
    "Heard",
    "Latency",
    "Level",
    "Meter",
    "Mixer",
    "Overlay",
    "Pacer",
    "PauseRequest",
    "PlayedSound",
    "Playout",
    "Recorder",
    "Resample",
    "SampleFps",
    "Scale",
    "Sentences",
    "SileroVad",
    "SpeechContinued",
    "SpeechPaused",
    "SpeechProbability",
    "Spoken",
    "Tap",
    "TextTurnDetector",
    "Timing",
    "Turn",
    "TurnControl",
    "TurnDetector",
    "TurnEnd",
    "TurnEvidence",
    "TurnLatency",
    "Turns",
    "UserIdle",
    "Vad",
    "WebRtcVad",
    "decide",
    "decide_silence",
    "mix_channels",
    "speakable",
]
