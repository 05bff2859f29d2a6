"""A server of the OpenAI Realtime protocol in front of any brain."""

from .serve import (
    Ending,
    Event,
    Faults,
    Limits,
    MakeBrain,
    MakeVad,
    Remember,
    ServedSessionOptions,
    Server,
    ServerSession,
    ServerStatistics,
    serve,
    serve_socket,
    server_vad,
)

__all__ = [
    "Ending",
    "Event",
    "Faults",
    "Limits",
    "MakeBrain",
    "MakeVad",
    "Remember",
    "ServedSessionOptions",
    "Server",
    "ServerSession",
    "ServerStatistics",
    "serve",
    "serve_socket",
    "server_vad",
]
