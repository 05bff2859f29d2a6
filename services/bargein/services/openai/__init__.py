"""OpenAI's realtime interface, from both sides: `OpenAIRealtime` is a client, `serve` puts any brain behind it."""

from .call import dial_call
from .dialect import BETA, GA, Dialect
from .protocol import PROFILE, OpenAIProtocol
from .realtime import OpenAIRealtime
from .serve import Faults, Limits, Remember, ScriptedBrain, Server, ServerStatistics, serve, serve_socket

__all__ = [
    "BETA",
    "GA",
    "PROFILE",
    "Dialect",
    "Faults",
    "Limits",
    "OpenAIProtocol",
    "OpenAIRealtime",
    "Remember",
    "ScriptedBrain",
    "Server",
    "ServerStatistics",
    "dial_call",
    "serve",
    "serve_socket",
]
