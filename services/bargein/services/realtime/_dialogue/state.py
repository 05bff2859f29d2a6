"""The parts of a dialogue, and what all of them share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio

from bargein.pipeline import Frame, Outlet
from bargein.pipeline.lowlevel import Wakeup
from bargein.services.brain import DeadAir
from bargein.services.history import History
from bargein.services.realtime.profile import Profile
from bargein.services.realtime.protocol import Protocol
from bargein.services.realtime.settings import Settings

from .output_queue import OutputQueue
from .playback import PlaybackTracker
from .requests import Requests
from .responses import Responses
from .send_queue import SendQueue
from .tool_calls import PendingToolCalls
from .user_input import UserInput

__all__ = ["DialogueState"]


class DialogueState:
    """The state of one conversation, over all its connections.

    Args:
        out: The model's outlet. Frames that do not belong to a response go there.
        history: The conversation.
        has_tool: Returns whether a tool of this name runs here.
        gap_seconds: How much of the user's audio is kept without a connection, in seconds.
        buffer_seconds: How much audio of a reply may wait for room in the graph, in seconds.
        speaks: The model has a voice. If not, it only writes.
        estimate_played: Returns how much of an item was played by now, see `PlaybackTracker`.
        settings: What the first session is configured with.
        dead_air_seconds: Maximum silence while the user waits for an answer, in seconds.
    """

    def __init__(
        self,
        *,
        out: Outlet[Any],
        history: History,
        has_tool: Callable[[str], bool],
        gap_seconds: float,
        buffer_seconds: float,
        speaks: bool,
        estimate_played: Callable[[str, str], float | None],
        settings: Settings,
        dead_air_seconds: float,
    ) -> None:
        self.out = out
        self.history = history
        self.buffer_seconds = buffer_seconds
        self.speaks = speaks
        # In the order of their needs: each gets those that it changes, and none of them knows the dialogue.
        self.send_queue = SendQueue(gap_seconds)
        self.output = OutputQueue()
        self.input = UserInput(history, self.send_queue)
        self.requests = Requests()
        self.responses = Responses(self.output, history)
        self.playback = PlaybackTracker(
            history, self.send_queue, self.responses, speaks=speaks, estimate=estimate_played
        )
        self.tool_calls = PendingToolCalls(history, self.responses.by_id, has_tool)
        self.settings = settings
        """What the session should be configured with."""
        self.dead_air = DeadAir(dead_air_seconds)
        """Whether the user waits in silence."""
        self.deadlines_changed = self.dead_air.changed
        """Set when the next deadline may be another one."""
        self.progress = Wakeup()
        """Set whenever something has come to an end that a closing session waits for."""
        self.profile: Profile | None = None
        """What the provider of the latest connection can do; None before the first."""
        self.hide_secrets: Callable[[str], str] = str
        """Removes from a text of the provider what was secret in the request of the latest connection."""
        self.received_at = anyio.current_time()
        """When the provider last sent anything, or an answer began to be due."""
        self.retry_at = math.inf
        """When a response that has failed is requested again; infinite for never."""
        self.audio_ends_at = 0.0
        """When all audio is played that the provider has sent."""

    @property
    def protocol(self) -> Protocol | None:
        """The protocol of the present connection; None without one."""
        return self.send_queue.protocol

    @property
    def ready_protocol(self) -> Protocol | None:
        """The protocol of the present connection if its session can be used, else None."""
        return self.send_queue.protocol if self.send_queue.open else None

    @property
    def busy(self) -> bool:
        """Whether an answer is being made, requested or expected, or is to be retried, or a tool runs."""
        return self.requests.is_busy or self.retry_at < math.inf or bool(self.tool_calls.running)

    @property
    def silent_seconds(self) -> float:
        """For how many seconds the provider has sent nothing that is due, beyond the time that its audio takes."""
        # While a tool runs it is not the provider that everybody waits for.
        if not self.requests.is_due or self.tool_calls.unanswered:
            return 0.0
        # Some providers send the audio in one burst and are silent while it is heard.
        return anyio.current_time() - max(self.received_at, self.audio_ends_at)

    @property
    def paused(self) -> bool:
        """Whether nobody speaks and nothing is under way."""
        # What waits below and what is being heard count, too. The next connection could not correct what the provider
        # remembers of it, see `PlaybackTracker`.
        return not (self.busy or self.input.speaking or self.output or self.playback.playing)

    def emit(self, frame: Frame) -> None:
        """Send a frame to the graph, in order."""
        # Queued and never sent directly: all frames keep one order, and the reader of the socket does not wait for
        # room.
        self.output.add(frame, self.out)

    def wake(self) -> None:
        """Wake all tasks that wait for something to change."""
        # A `Wakeup` has one waiter each, so there are four.
        for wakeup in (self.send_queue.wakeup, self.output.wakeup, self.deadlines_changed, self.progress):
            wakeup.set()
