"""OpenAI's realtime interface, from both sides: `OpenAIRealtime` is a client, `serve` puts any brain behind it."""

from .client.protocol import PROFILE, OpenAIProtocol
from .client.realtime import OpenAIRealtime
from .client.speech import OpenAISpeech, OpenAITranscription
from .dialect import BETA, GA, Dialect
from .server.serve import Faults, Limits, Remember, Server, ServerStatistics, serve, serve_socket
from .server_language import ServerLanguage
from .webrtc.call import dial_call
from .webrtc.sideband import OpenAISideband, Secret, mint_secret

__all__ = [
    "BETA",
    "GA",
    "PROFILE",
    "Dialect",
    "Faults",
    "Limits",
    "OpenAIProtocol",
    "OpenAIRealtime",
    "OpenAISideband",
    "OpenAISpeech",
    "OpenAITranscription",
    "Remember",
    "Secret",
    "Server",
    "ServerLanguage",
    "ServerStatistics",
    "dial_call",
    "mint_secret",
    "serve",
    "serve_socket",
]
