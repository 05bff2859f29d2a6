"""Bargein: a dataflow engine for voice and video agents that can be interrupted.

The names of everyday use are here, so that a first program needs one import line::

    from bargein import Cascade, Pipeline, Spoken, Transport, run_page

Each is imported when it is first used: `import bargein` alone loads nothing else and needs no extra. Everything else
has one full path, such as `bargein.services.transports.telephony`.
"""

from __future__ import annotations

import os
import sys

# `typing` and `pkgutil` would be three quarters of the cost of this import, so neither is imported at run time. Type
# checkers take a variable of this name for true.
TYPE_CHECKING = False

# A wheel holds the three packages (`pipeline`, `processors`, `services`) in one folder. In a checkout they lie in three
# roots, of which Python takes this one for `bargein`; the others are added as `pkgutil.extend_path` would.
__path__ += [
    folder
    for folder in (os.path.join(root, "bargein") for root in sys.path)
    if folder not in __path__
    and any(os.path.isfile(os.path.join(folder, package, "py.typed")) for package in ("pipeline", "processors"))
]

if TYPE_CHECKING:
    from typing import Any

    from bargein.pipeline import Audio as Audio
    from bargein.pipeline import Branch as Branch
    from bargein.pipeline import End as End
    from bargein.pipeline import Failure as Failure
    from bargein.pipeline import Frame as Frame
    from bargein.pipeline import Graph as Graph
    from bargein.pipeline import Image as Image
    from bargein.pipeline import Inbox as Inbox
    from bargein.pipeline import Interrupt as Interrupt
    from bargein.pipeline import Outlet as Outlet
    from bargein.pipeline import Pipeline as Pipeline
    from bargein.pipeline import Played as Played
    from bargein.pipeline import Processor as Processor
    from bargein.pipeline import ResponseEnded as ResponseEnded
    from bargein.pipeline import ResponseStarted as ResponseStarted
    from bargein.pipeline import Session as Session
    from bargein.pipeline import SpeechStarted as SpeechStarted
    from bargein.pipeline import SpeechStopped as SpeechStopped
    from bargein.pipeline import Switch as Switch
    from bargein.pipeline import Text as Text
    from bargein.pipeline import ToolCall as ToolCall
    from bargein.pipeline import ToolResult as ToolResult
    from bargein.pipeline import Transcript as Transcript
    from bargein.pipeline import Usage as Usage
    from bargein.pipeline import UserText as UserText
    from bargein.pipeline import Video as Video
    from bargein.processors import AdaptiveSilence as AdaptiveSilence
    from bargein.processors import BargeIn as BargeIn
    from bargein.processors import Commit as Commit
    from bargein.processors import EchoCancel as EchoCancel
    from bargein.processors import Gain as Gain
    from bargein.processors import Heard as Heard
    from bargein.processors import Overlay as Overlay
    from bargein.processors import Pacer as Pacer
    from bargein.processors import Recorder as Recorder
    from bargein.processors import Resample as Resample
    from bargein.processors import Sentences as Sentences
    from bargein.processors import Spoken as Spoken
    from bargein.processors import TextTurnDetector as TextTurnDetector
    from bargein.processors import Turn as Turn
    from bargein.processors import TurnDetector as TurnDetector
    from bargein.processors import Turns as Turns
    from bargein.processors import UserIdle as UserIdle
    from bargein.processors import Vad as Vad
    from bargein.services.brain import Brain as Brain
    from bargein.services.cascade import Cascade as Cascade
    from bargein.services.cascade import LanguageModel as LanguageModel
    from bargein.services.cascade import Speak as Speak
    from bargein.services.cascade import SpeechToText as SpeechToText
    from bargein.services.cascade import TextToSpeech as TextToSpeech
    from bargein.services.failover import Failover as Failover
    from bargein.services.frames import Configure as Configure
    from bargein.services.frames import Respond as Respond
    from bargein.services.frames import Say as Say
    from bargein.services.history import History as History
    from bargein.services.providers.anthropic import AnthropicMessages as AnthropicMessages
    from bargein.services.providers.azure import AzureRealtime as AzureRealtime
    from bargein.services.providers.azure import VoiceLive as VoiceLive
    from bargein.services.providers.cartesia import Cartesia as Cartesia
    from bargein.services.providers.chat import ChatCompletions as ChatCompletions
    from bargein.services.providers.deepgram import Deepgram as Deepgram
    from bargein.services.providers.elevenlabs import ElevenLabs as ElevenLabs
    from bargein.services.providers.espeak import ESpeak as ESpeak
    from bargein.services.providers.gemini import GeminiLive as GeminiLive
    from bargein.services.providers.hibari import Hibari as Hibari
    from bargein.services.providers.nova import NovaSonic as NovaSonic
    from bargein.services.providers.openai import OpenAIRealtime as OpenAIRealtime
    from bargein.services.providers.openai import OpenAISpeech as OpenAISpeech
    from bargein.services.providers.openai import OpenAITranscription as OpenAITranscription
    from bargein.services.providers.openai import serve as serve
    from bargein.services.providers.pocketsphinx import PocketSphinx as PocketSphinx
    from bargein.services.providers.qwen import QwenOmni as QwenOmni
    from bargein.services.providers.rules import Rules as Rules
    from bargein.services.providers.smart_turn import SmartTurn as SmartTurn
    from bargein.services.providers.ultravox import Ultravox as Ultravox
    from bargein.services.providers.whisper import WhisperEar as WhisperEar
    from bargein.services.providers.xai import GrokVoice as GrokVoice
    from bargein.services.server import run_page as run_page
    from bargein.services.server import serve_page as serve_page
    from bargein.services.tools import Tool as Tool
    from bargein.services.tools import ToolContext as ToolContext
    from bargein.services.tools import tool as tool
    from bargein.services.transports import FileTransport as FileTransport
    from bargein.services.transports import Sessions as Sessions
    from bargein.services.transports import Transport as Transport
    from bargein.services.transports import connect_websocket as connect_websocket
    from bargein.services.transports import serve_websocket as serve_websocket
    from bargein.services.transports.local import LocalTransport as LocalTransport
    from bargein.services.transports.webrtc import WebRtcServer as WebRtcServer

    __version__: str

_SERVICES = "bargein.services"
_PROVIDERS = "bargein.services.providers"

_NAMES = {
    "bargein.pipeline": (
        "Audio Branch End Failure Frame Graph Image Inbox Interrupt Outlet Pipeline Played Processor ResponseEnded "
        "ResponseStarted Session SpeechStarted SpeechStopped Switch Text ToolCall ToolResult Transcript Usage "
        "UserText Video"
    ),
    "bargein.processors": (
        "AdaptiveSilence BargeIn Commit EchoCancel Gain Heard Overlay Pacer Recorder Resample Sentences Spoken "
        "TextTurnDetector Turn TurnDetector Turns UserIdle Vad"
    ),
    f"{_SERVICES}.brain": "Brain",
    f"{_SERVICES}.cascade": "Cascade LanguageModel Speak SpeechToText TextToSpeech",
    f"{_SERVICES}.failover": "Failover",
    f"{_SERVICES}.frames": "Configure Respond Say",
    f"{_SERVICES}.history": "History",
    f"{_PROVIDERS}.anthropic": "AnthropicMessages",
    f"{_PROVIDERS}.azure": "AzureRealtime VoiceLive",
    f"{_PROVIDERS}.cartesia": "Cartesia",
    f"{_PROVIDERS}.chat": "ChatCompletions",
    f"{_PROVIDERS}.deepgram": "Deepgram",
    f"{_PROVIDERS}.elevenlabs": "ElevenLabs",
    f"{_PROVIDERS}.espeak": "ESpeak",
    f"{_PROVIDERS}.gemini": "GeminiLive",
    f"{_PROVIDERS}.hibari": "Hibari",
    f"{_PROVIDERS}.nova": "NovaSonic",
    f"{_PROVIDERS}.openai": "OpenAIRealtime OpenAISpeech OpenAITranscription serve",
    f"{_PROVIDERS}.pocketsphinx": "PocketSphinx",
    f"{_PROVIDERS}.qwen": "QwenOmni",
    f"{_PROVIDERS}.rules": "Rules",
    f"{_PROVIDERS}.smart_turn": "SmartTurn",
    f"{_PROVIDERS}.ultravox": "Ultravox",
    f"{_PROVIDERS}.whisper": "WhisperEar",
    f"{_PROVIDERS}.xai": "GrokVoice",
    f"{_SERVICES}.server": "run_page serve_page",
    f"{_SERVICES}.tools": "Tool ToolContext tool",
    f"{_SERVICES}.transports": "FileTransport Sessions Transport connect_websocket serve_websocket",
    f"{_SERVICES}.transports.local": "LocalTransport",
    f"{_SERVICES}.transports.webrtc": "WebRtcServer",
}

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

_EXTRAS = {"WebRtcServer": "webrtc", "run_page": "server", "serve_page": "server"}
"""Names whose module imports a library of an extra at once. The others import theirs when they are constructed."""

__all__ = ["__version__", *sorted(_MODULES)]  # noqa: PLE0604 - strings, as `dict` keys


def __getattr__(name: str) -> Any:
    import importlib  # noqa: PLC0415 - the first name pays for it, not the import

    if name == "__version__":
        value: Any = importlib.import_module("importlib.metadata").version("bargein")
    elif name in _MODULES:
        try:
            value = getattr(importlib.import_module(_MODULES[name]), name)
        except ModuleNotFoundError as error:
            if (error.name or "bargein").partition(".")[0] == "bargein" or name not in _EXTRAS:
                raise
            raise ModuleNotFoundError(
                f"bargein.{name} needs {error.name}, which is not installed; pip install 'bargein[{_EXTRAS[name]}]'",
                name=error.name,
            ) from error
    else:
        raise AttributeError(f"module 'bargein' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
