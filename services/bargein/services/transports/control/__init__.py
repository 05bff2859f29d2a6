"""The messages between an agent and a peer that can read: JSON objects, distinguished by their `type`. No I/O.

A peer sends `start` (once, first), `text`, `image`, `interrupt`, `commit` and `end`. The agent sends `ready` (once,
first), then what a page or program shows (`speech`, `transcript`, `response`, `text`, `tool`, `latency`, `reaction`,
`usage`), what a player must do (`flush`, `hold`, `resume`), `error`, and at last `end`. Sound is not among them: each
transport carries it in its own way.

`flush` has the epoch that begins: a player drops all sound that was sent for an older epoch.
"""

from .agent_messages import (
    Ready,
    SinkEvent,
    SourceEvent,
    decode_agent_message,
    encode_agent_message,
    encode_end,
    encode_error,
    encode_ready,
)
from .user_messages import ControlError, Finish, Start, decode_user_message, encode_start, encode_user_message

__all__ = [
    "ControlError",
    "Finish",
    "Ready",
    "SinkEvent",
    "SourceEvent",
    "Start",
    "decode_agent_message",
    "decode_user_message",
    "encode_agent_message",
    "encode_end",
    "encode_error",
    "encode_ready",
    "encode_start",
    "encode_user_message",
]
