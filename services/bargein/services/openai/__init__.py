"""OpenAI's realtime interface, from both sides: `OpenAIRealtime` is a client, `serve` puts any brain behind it."""

from .call import dial_call
from .dialect import BETA, GA, Dialect
from .protocol import PROFILE, OpenAIProtocol
from .realtime import OpenAIRealtime
from .serve import Faults, Limits, Remember, ScriptedBrain, Server, ServerStatistics, serve, serve_socket
from .sideband import OpenAISideband, Secret, mint_secret
from .tongue import Tongue

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
    "Remember",
    "ScriptedBrain",
    "Secret",
    "Server",
    "ServerStatistics",
    "Tongue",
    "dial_call",
    "mint_secret",
    "serve",
    "serve_socket",
]
