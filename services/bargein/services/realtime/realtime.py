"""A realtime model as a processor: what all providers share."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random
from typing import Final, Unpack

import anyio
import anyio.abc

from bargein.pipeline import (
    AudioFormat,
    Frame,
    Inbox,
    Outlet,
    Pipeline,
    Played,
    Processor,
    ResponseEnded,
    ToolCall,
    ToolResult,
)
from bargein.pipeline.graph import SessionOptions
from bargein.pipeline.lowlevel import catch_up, check_instance, check_options, check_positive
from bargein.services.brain import DEAD_AIR_SECONDS, WAIT_REPLY, Greeting, greeting_frame
from bargein.services.history import History, HistoryStatistics
from bargein.services.sockets import Endpoint, Socket, dial
from bargein.services.tools import Toolbox, ToolLike, ToolRunner

from ._adapters import input_adapters
from ._configuration import Configuration
from ._dialogue import Dialogue
from ._input_frames import InputFrames
from ._reconnect import RealtimeError, keep_connected
from .contract import RealtimeInput, RealtimeOutput
from .conversation import Conversation
from .policy import ReconnectPolicy
from .profile import Profile
from .protocol import Protocol
from .settings import Settings

__all__ = ["Realtime", "RealtimeError"]

LINGER_SECONDS: Final = 60.0
"""How long an answer is awaited after the end of the user's frames, in seconds."""

ANSWER_SECONDS: Final = 5.0
"""How long the beginning of an answer is awaited after the end of the user's frames, in seconds, if the provider does
not report whether it has heard the user."""

PAUSE_SECONDS: Final = 1.0
"""The user's source counts as paused after this time without any audio, not even silence, in seconds."""


class Realtime(Processor):
    """A speech-to-speech model: a brain in a graph. `connect()` uses it without a graph.

    What is special about a provider is its `Protocol` and its `Profile`. A subclass supplies both, and a constructor
    with the options of the provider. The rest is the same for all providers:

    * a response is stamped with the epoch in which it begins; late pieces of an interrupted one are dropped by its id;
    * an interrupt cancels the response, and cuts the provider's memory to what the sink reports as played;
    * a lost connection is restored by the `ReconnectPolicy`, with the conversation as it was heard and the audio that
      the user has sent meanwhile; a session is replaced before its time runs out, in a pause;
    * `tools` run in parallel to the conversation, and the model gets their results before its next response.

    Args:
        profile: What the provider can do.
        protocol: Returns a new protocol for each connection.
        settings: What a session is configured with.
        tools: Tools that run here: functions, `Tool`s, or a `Toolbox`. Without any, the application answers all calls.
        fps: Maximum number of pictures of a video that are sent a second.
        reconnect: When to connect again; None for the default policy.
        history: The conversation to go on with; None for a new one.
        greeting: The agent's first words: the words, `Say("...", protected=True)` for words that nothing interrupts,
            or `Respond(instructions=...)` to let the model choose them. It is left out if the history is not empty.
        buffer_seconds: How much audio of a reply may wait for room in the graph, in seconds.
        connect: Opens a socket.
        resume: Handle of a session of before, from `resumption`; empty for a new session.
        dead_air_seconds: Maximum silence while the user waits for an answer, in seconds. Before it is over, the answer
            is asked for again, `wait_reply` is said, or a `Failure` reports the silence. Infinite: no limit.
        wait_reply: What is said while a tool keeps the user waiting, if the provider can speak then. Empty: nothing.

    Raises:
        ValueError: An option is invalid.
        UnsupportedError: The profile rules an option out.
    """

    # About five seconds of audio in frames of 20 ms. The loop below never waits, so this only covers a busy event loop.
    capacity = 256

    @check_options
    def __init__(
        self,
        *,
        profile: Profile,
        protocol: Callable[[], Protocol],
        settings: Settings,
        tools: Iterable[ToolLike] | Toolbox = (),
        fps: float = 1.0,
        reconnect: ReconnectPolicy | None = None,
        history: History | None = None,
        greeting: Greeting | None = None,
        buffer_seconds: float = 300.0,
        connect: Callable[[Endpoint], AbstractAsyncContextManager[Socket]] = dial,
        resume: str = "",
        dead_air_seconds: float = DEAD_AIR_SECONDS,
        wait_reply: str = WAIT_REPLY,
    ) -> None:
        name = type(self).__name__
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"{name}(fps={fps}): expected a number of pictures a second, such as 1")
        check_positive(name, infinite=True, dead_air_seconds=dead_air_seconds)
        check_instance(name, ReconnectPolicy, reconnect=reconnect)
        check_instance(name, History, history=history)
        _check_settings(name, profile, settings)
        if resume:
            profile.require("supports_resumption", "resume=...")
        self.profile = profile
        """What the provider can do."""
        self.fps = fps
        """Maximum number of pictures of a video that are sent a second."""
        self.dead_air_seconds = dead_air_seconds
        """Maximum silence while the user waits for an answer, in seconds."""
        self.wait_reply = wait_reply
        """What is said while a tool keeps the user waiting."""
        self.reconnect = reconnect or ReconnectPolicy()
        self.history = History() if history is None else history
        """The conversation, as it was heard. Another brain that gets it continues the conversation."""
        self.greeting = greeting_frame(name, greeting)
        """The agent's first words, as a frame."""
        self.runner = ToolRunner(tools)
        """Runs the tools."""
        self.audio_in = AudioFormat(profile.input_rate, 1)
        self.audio_out = AudioFormat(profile.output_rate, 1)
        self._configuration = Configuration(profile, settings, self.runner.toolbox)
        self.estimate_played: Callable[[str, str], float | None] | None = None
        """Returns how much of an item, by its response's id and its own, was played, in milliseconds; None if unknown.
        It counts where no sink reports within a second after an interrupt. A `Conversation` sets it."""
        self._protocol = protocol
        self._connect = connect
        self._buffer_seconds = buffer_seconds
        self._resume = resume
        self._dialogue: Dialogue | None = None
        self._random = Random()
        self._group: anyio.abc.TaskGroup | None = None

    # State --------------------------------------------------------------------------------------------------------

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return self.profile.provider

    @property
    def connected(self) -> bool:
        """Whether there is a session with the provider that can be used."""
        return self._dialogue is not None and self._dialogue.ready

    @property
    def ready(self) -> bool:
        """Whether the model can act on the user's input now: it has a session with its provider."""
        return self.connected

    @property
    def toolbox(self) -> Toolbox:
        """The tools that run here. Those that the application answers are not among them."""
        return self.runner.toolbox

    @property
    def settings(self) -> Settings:
        """What a session is configured with. Change it with the frame `Configure`."""
        return self._configuration.settings

    @property
    def session_id(self) -> str:
        """The session's id at the provider; empty before the first."""
        return self._dialogue.session_id if self._dialogue is not None else ""

    @property
    def resumption(self) -> str:
        """The handle that takes up the session on another connection (`resume=`); empty if that is not possible."""
        return self._dialogue.resume_handle if self._dialogue is not None else self._resume

    @property
    def epoch(self) -> int:
        """How often the agent has been interrupted in this session."""
        return self._dialogue.out.epoch if self._dialogue is not None else 0

    @property
    def dropped_ms(self) -> float:
        """How much audio of the user was dropped because it could not be sent in time, in milliseconds."""
        return self._dialogue.send_queue.dropped_ms if self._dialogue is not None else 0.0

    def statistics(self) -> HistoryStatistics:
        """Return the statistics of the conversation."""
        return self.history.statistics()

    def played(self, frame: Played) -> None:
        """Take the report of a sink at once, where no graph carries it.

        Args:
            frame: The report of the sink.
        """
        if self._dialogue is not None:
            self._dialogue.on_played(frame)

    def adapters(self) -> tuple[Processor, ...]:
        """Return what converts audio of any rate and any picture for the provider."""
        return input_adapters(self.profile, self.fps)

    @asynccontextmanager
    async def connect(self, **options: Unpack[SessionOptions]) -> AsyncIterator[Conversation]:
        """Use the model without a graph. The block begins when it is connected, and its end closes the session.

            async with model.connect() as conversation:
                await conversation.send_text("Hello!")
                async for event in conversation:
                    ...

        Args:
            options: The options of `Graph.session`.

        Raises:
            RealtimeError: The connection fails.
        """
        async with Conversation(self, Pipeline(self, inputs=Frame).session(**options)) as conversation:
            yield conversation

    # Running ------------------------------------------------------------------------------------------------------

    async def run(self, inbox: Inbox[RealtimeInput], out: Outlet[RealtimeOutput]) -> None:
        """Talk until the user's frames end and the last answer is complete."""
        # All state is made here and not in the constructor: a model may run again, and then nothing of the last call is
        # left.
        dialogue = self._dialogue = Dialogue(
            out=out,
            history=self.history,
            settings=self.settings,
            renew_seconds=self.reconnect.renew_seconds,
            has_tool=self._has_tool,
            run_tool=self._start_tool,
            cancel_tool=self.runner.cancel,
            gap_seconds=self.reconnect.gap_seconds,
            buffer_seconds=self._buffer_seconds,
            speaks=self.settings.output == "audio",
            estimate_played=lambda *item: None if self.estimate_played is None else self.estimate_played(*item),
            resume_handle=self._resume,
            dead_air_seconds=self.dead_air_seconds,
            wait_reply=self.wait_reply,
        )
        frames = InputFrames(
            dialogue,
            profile=self.profile,
            configuration=self._configuration,
            runner=self.runner,
            name=type(self).__name__,
            fps=self.fps,
        )
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._keep_connected, dialogue)
                group.start_soon(self._send_output, dialogue)
                group.start_soon(self._check_deadlines, dialogue)
                # Through the same handler as frames from above, so a greeting waits for the session as they do.
                if self.greeting is not None and not self.history.has_begun:
                    frames.handle(self.greeting)
                async for frame in inbox:
                    frames.handle(frame)
                await self._finish(dialogue)
                group.cancel_scope.cancel()
        finally:
            # What comes after the end, such as the result of a tool, finds no connection and is not sent.
            dialogue.send_queue.disconnect()

    async def _keep_connected(self, dialogue: Dialogue) -> None:
        await keep_connected(
            dialogue,
            profile=self.profile,
            policy=self.reconnect,
            make_protocol=self._protocol,
            connect=self._connect,
            random=self._random,
        )

    async def _send_output(self, dialogue: Dialogue) -> None:
        """Send frames into the graph, in order, waiting for room."""
        output = dialogue.output
        while True:
            while output:
                frame = await output.send_next()
                if isinstance(frame, ResponseEnded) and self.history.crowded and self._group is not None:
                    # Beside the conversation: a summary takes seconds, and no frame may wait for it.
                    self._group.start_soon(self.history.condense)
                # Once, and not for each frame: only a session that closes waits for it.
                if not output:
                    dialogue.progress.set()
            await output.wakeup.wait()

    async def _check_deadlines(self, dialogue: Dialogue) -> None:
        """Act when it is time: on reports of playback and audio that do not come, and on responses that have failed."""
        while True:
            pause_at = dialogue.input.audio_at + PAUSE_SECONDS
            deadline = min(dialogue.playback.next_deadline(), pause_at, dialogue.retry_at, dialogue.silence.deadline)
            if deadline == math.inf:
                await dialogue.deadlines_changed.wait()
                continue
            with anyio.move_on_after(max(0.0, deadline - anyio.current_time())):
                await dialogue.deadlines_changed.wait()
            await catch_up(deadline, PAUSE_SECONDS)  # reports of the sink may wait
            dialogue.playback.check_deadlines()
            if anyio.current_time() >= dialogue.retry_at:
                dialogue.replies.retry()
            dialogue.silence.check()
            if anyio.current_time() >= dialogue.input.audio_at + PAUSE_SECONDS:
                dialogue.input.pause()

    async def _finish(self, dialogue: Dialogue) -> None:
        """Wait until pending requests are answered and their frames are sent. Nothing more comes from the user."""
        # The user was cut off in the middle of a sentence. Without a commit the provider would wait for its end.
        if dialogue.input.provider_hears_speech and self.profile.supports_commit:
            dialogue.commit()
        dialogue.input.pause()
        if dialogue.input.may_be_answered and not self.profile.emits_speech_events:
            # Without events of speech it is not known whether the last audio was a question. A bounded wait decides.
            with anyio.move_on_after(ANSWER_SECONDS):
                while dialogue.input.may_be_answered:
                    await dialogue.progress.wait()
        with anyio.move_on_after(LINGER_SECONDS):
            while dialogue.busy or dialogue.output or dialogue.send_queue:
                await dialogue.progress.wait()

    # Tools --------------------------------------------------------------------------------------------------------

    def _has_tool(self, name: str) -> bool:
        """Return whether a call is answered here.

        A name that is unknown is answered here, too (with an error that the model can read), unless there are no tools.
        """
        return bool(len(self.runner.toolbox)) and not self._configuration.is_answered_by_application(name)

    def _start_tool(self, call: ToolCall) -> None:
        """Run a tool in its own task."""
        dialogue = self._dialogue
        if self._group is None or dialogue is None:
            return

        async def emit(frame: Frame) -> None:
            dialogue.emit(frame)

        run = partial(self.runner.run, call, emit)
        if not self.runner.knows(call):  # begun at once, because an interrupt may come before its task starts
            run = partial(self.runner.finish, self.runner.begin(call, emit))
        self._group.start_soon(self._await_tool, call, run, dialogue)

    async def _await_tool(
        self, call: ToolCall, run: Callable[[], Awaitable[ToolResult | None]], dialogue: Dialogue
    ) -> None:
        result = await run()
        if result is None:
            dialogue.tools.on_cancelled(call.call_id)
        else:
            dialogue.tools.on_result(result)


def _check_settings(name: str, profile: Profile, settings: Settings) -> None:
    """Raise `ValueError` for settings that the provider does not have."""
    if settings.output not in ("audio", "text"):
        raise ValueError(f"{name}(output={settings.output!r}): expected 'audio' or 'text'")
    if settings.output == "text":
        profile.require("supports_text_output", "output='text'")
    kind = settings.turn_detection.get("type") if settings.turn_detection is not None else None
    if settings.turn_detection is not None and kind not in profile.turn_detection:
        raise ValueError(
            f"{name}(turn_detection={kind or settings.turn_detection!r}): {profile.provider} has "
            f"{', '.join(profile.turn_detection) or 'none'}; or None for push to talk, with Commit or Turns above"
        )
