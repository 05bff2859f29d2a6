"""A realtime model as a processor: the driver that all providers share."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Any

import anyio
import msgspec

from bargein.pipeline import (
    Audio,
    AudioFormat,
    Failure,
    Frame,
    Image,
    Inbox,
    Interrupt,
    Outlet,
    Played,
    Processor,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    Usage,
    UserText,
    Video,
)
from bargein.processors import AgentActivity, Commit, Heard, SampleFps, Timing, Turn, TurnControl
from bargein.services.frames import (
    ClearAudio,
    Configure,
    Connected,
    Disconnected,
    OutOfBand,
    RateLimits,
    Remember,
    Respond,
    Say,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from bargein.services.history import History, HistoryStatistics, Picture
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError, dial
from bargein.services.tools import Tool, Toolbox, ToolRunner, complete_schema

from ._connection import Connection
from ._dialogue import Dialogue
from .conversation import Conversation
from .policy import ReconnectPolicy
from .profile import Profile
from .protocol import Protocol, Settings

__all__ = ["Realtime", "RealtimeError"]

log = logging.getLogger("bargein.realtime")

Taken = (
    Audio
    | Video
    | Image
    | UserText
    | SpeechStarted
    | SpeechStopped
    | Turn
    | TurnControl
    | Commit
    | Respond
    | Say
    | ClearAudio
    | Configure
    | Remember
    | ToolResult
    | Played
    | Heard
    | AgentActivity
    | Interrupt
)
Given = (
    ResponseStarted
    | Audio
    | Text
    | Timing
    | Transcript
    | SpeechStarted
    | SpeechStopped
    | ToolCall
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Usage
    | ResponseEnded
    | Interrupt
    | Failure
    | OutOfBand
    | RateLimits
    | Connected
    | Disconnected
)
PASSES = SpeechStarted | SpeechStopped
LINGER_S = 60.0
"""How long, after the end of the user's frames, an answer is waited for."""
ANSWER_S = 5.0
"""And how long it is waited for whether one begins, where the provider does not say that it has heard the user."""
PAUSE_S = 1.0
"""After so long without any sound of the user's, not even silence, the source counts as paused."""
STABLE_S = 5.0
"""A connection that lasted less counts as an attempt that failed."""
FAREWELL_S = 0.4
"""How long saying goodbye may take: a session that is cancelled waits for it."""
REFUSALS = {
    400: "this cannot be asked of it",
    401: "the key is not accepted",
    403: "the key may not do this",
    404: "there is no such model or address",
}


class RealtimeError(ConnectionError):
    """There is no session with the provider, and trying again has not helped or would not."""


def _refusal(error: SocketRefusedError) -> str:
    why = REFUSALS.get(error.status or 0)
    said = " ".join(error.body.split())[:200]
    return f"{error}{f': {why}' if why else ''}{f' ({said})' if said else ''}"


async def _farewell(socket: Socket, protocol: Protocol) -> None:
    """What a provider wants to be told at the end, if it can still be told."""
    with (
        anyio.CancelScope(shield=True),
        anyio.move_on_after(FAREWELL_S),
        suppress(SocketClosedError, SocketRefusedError),
    ):
        for message in protocol.close_session():
            await socket.send(message)


class Realtime(Processor):
    """A speech-to-speech model. Stands where a brain stands; `connect()` uses it without a graph.

    What is particular to a provider is its `Protocol` and its `Profile`; a subclass gives both and a constructor that
    its users will like. Epochs, interruption, what was heard, tools, and connections are the same for all:

    * a response is stamped when it begins; what comes late of one that was interrupted is dropped by its id;
    * an interrupt cancels the response and cuts the provider's memory to what the sink reports as played;
    * a lost connection is restored by the `ReconnectPolicy`, with the conversation as it was heard and the sound that
      the user made meanwhile; a session is replaced before its time runs out, in a pause;
    * `tools` run beside the conversation, and their results reach the model before its next response.

    Raises `UnsupportedError` for what the profile says cannot be, before anything is sent; `RealtimeError`, in the
    session, when the provider cannot be reached.
    """

    capacity = 256

    def __init__(
        self,
        *,
        profile: Profile,
        protocol: Callable[[], Protocol],
        settings: Settings,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] | Toolbox = (),
        fps: float = 1.0,
        reconnect: ReconnectPolicy | None = None,
        history: History | None = None,
        buffer_seconds: float = 300.0,
        connect: Callable[[Endpoint], AbstractAsyncContextManager[Socket]] = dial,
        resume: str = "",
    ) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"{type(self).__name__}(fps={fps}): expected pictures a second, such as 1")
        if settings.output not in ("audio", "text"):
            raise ValueError(f"{type(self).__name__}(output={settings.output!r}): expected 'audio' or 'text'")
        if settings.output == "text":
            profile.require("supports_text_output", "output='text'")
        kind = settings.turn_detection.get("type") if settings.turn_detection is not None else None
        if settings.turn_detection is not None and kind not in profile.turn_detection:
            raise ValueError(
                f"{type(self).__name__}(turn_detection={kind or settings.turn_detection!r}): {profile.provider} has "
                f"{', '.join(profile.turn_detection) or 'none'}; or None for push to talk, with Commit or Turns above"
            )
        if resume:
            profile.require("supports_resumption", "resume=...")
        self.profile = profile
        """What the provider can do."""
        self.fps = fps
        """How many pictures of a video are sent a second, at most."""
        self.settings = settings
        """What the provider is told. Change it with `Configure`."""
        self.reconnect = reconnect or ReconnectPolicy()
        self.history = History() if history is None else history
        """The conversation, as it was heard. Give the same to another brain to go on with it."""
        self.runner = ToolRunner(tools)
        """What runs the tools. Calls of tools that are not there are left to the application."""
        self.audio_in = AudioFormat(profile.input_rate, 1)
        self.audio_out = AudioFormat(profile.output_rate, 1)
        self._protocol = protocol
        self._connect = connect
        self._buffer_seconds = buffer_seconds
        self._resume = resume
        self._dialogue: Dialogue | None = None
        self._random = Random()
        self._sampled = SampleFps(fps)
        self._group: anyio.abc.TaskGroup | None = None
        self.settings = msgspec.structs.replace(settings, tools=tuple(self.runner.toolbox.schemas))
        self._made_with = settings.instructions
        self._turn_detection = settings.turn_detection
        self._theirs: dict[str, dict[str, Any]] = {}  # schemas of the application's tools

    # What can be asked --------------------------------------------------------------------------------------------

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.profile.provider

    @property
    def connected(self) -> bool:
        """There is a session that can be used."""
        return self._dialogue is not None and self._dialogue.ready

    @property
    def ready(self) -> bool:
        """Whether the provider has a session that takes the user's input now."""
        return self.connected

    @property
    def toolbox(self) -> Toolbox:
        """The tools that run here; the application's own are not among them."""
        return self.runner.toolbox

    @property
    def session_id(self) -> str:
        """The session's id at the provider; empty before the first."""
        return self._dialogue.session if self._dialogue is not None else ""

    @property
    def resumption(self) -> str:
        """What takes up the session on another connection, as the provider said last; empty where that cannot be."""
        return self._dialogue.resumption if self._dialogue is not None else self._resume

    @property
    def epoch(self) -> int:
        """How often the agent has been interrupted in this session."""
        return self._dialogue.epoch if self._dialogue is not None else 0

    @property
    def dropped_ms(self) -> float:
        """How much of the user's sound was lost because the connection was."""
        return self._dialogue.outbox.dropped_ms if self._dialogue is not None else 0.0

    def statistics(self) -> HistoryStatistics:
        """The conversation's."""
        return self.history.statistics()

    def played(self, frame: Played) -> None:
        """Take the report of a sink at once, without a graph to carry it."""
        if self._dialogue is not None:
            self._dialogue.memory.played(frame)

    # The loop -----------------------------------------------------------------------------------------------------

    async def run(self, inbox: Inbox[Taken], out: Outlet[Given]) -> None:
        """Talk until the user's frames end and the last answer has been given."""
        self._sampled = SampleFps(self.fps)
        dialogue = self._dialogue = Dialogue(
            out=out,
            history=self.history,
            has_tool=self._has_tool,
            run_tool=self._run_tool,
            cancel_tool=self.runner.cancel,
            gap_seconds=self.reconnect.gap_seconds,
            buffer_seconds=self._buffer_seconds,
            speaks=self.settings.output == "audio",
            resumption=self._resume,
        )
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._keep_connected, dialogue)
                group.start_soon(self._give, dialogue)
                group.start_soon(self._mind, dialogue)
                await self._listen(inbox, dialogue)
                await self._finish(dialogue)
                group.cancel_scope.cancel()
        finally:
            dialogue.outbox.disconnect()

    async def _listen(self, inbox: Inbox[Taken], dialogue: Dialogue) -> None:
        async for frame in inbox:
            if isinstance(frame, Audio):
                self._hear(frame, dialogue)
            elif isinstance(frame, Interrupt):
                dialogue.interrupted()
                for call in self.runner.interrupt():
                    dialogue.tool_over(call)
            elif isinstance(frame, Played):
                dialogue.memory.played(frame)
            elif isinstance(frame, Heard):
                dialogue.memory.heard(frame)
            elif isinstance(frame, AgentActivity):
                dialogue.memory.told = True
            elif isinstance(frame, ToolResult):
                dialogue.result(frame)
            elif isinstance(frame, PASSES):
                dialogue.emit(frame)
                dialogue.detected = isinstance(frame, SpeechStarted)
                if isinstance(frame, SpeechStarted) and self.settings.turn_detection is None and dialogue.ready:
                    dialogue.outbox.command(lambda protocol: protocol.speech_started(), behind_sound=True)
            else:
                self._do(frame, dialogue)

    def _hear(self, frame: Audio, dialogue: Dialogue) -> None:
        if frame.response_id:
            return  # the agent's own
        if frame.rate != self.profile.input_rate or frame.channels != 1:
            raise ValueError(
                f"{type(self).__name__} got {frame.rate} Hz with {frame.channels} channel(s), and {self.provider} "
                f"hears {self.profile.input_rate} Hz mono; insert Resample({self.profile.input_rate}, channels=1) "
                "before it"
            )
        dialogue.sounds()
        rate = frame.rate
        for at in range(0, len(frame.samples), rate):  # no message is longer than a second
            piece = frame.samples[at : at + rate]
            pts = frame.pts + at * 1_000_000_000 // rate
            dialogue.outbox.sound(piece.astype("<i2", copy=False).tobytes(), 1000 * len(piece) / rate, pts)

    def _do(self, frame: Frame, dialogue: Dialogue) -> None:
        if isinstance(frame, UserText):
            self.profile.require("supports_text_input", f"UserText({frame.text!r})")
            dialogue.text(frame.text, frame.item_id)
        elif isinstance(frame, Commit) or (isinstance(frame, Turn) and frame.reason not in ("typed", "commit")):
            if self.settings.turn_detection is None and not (isinstance(frame, Turn) and frame.revision):
                dialogue.commit()
        elif isinstance(frame, Respond):
            if frame.out_of_band:
                self.profile.require("supports_out_of_band", "Respond(apart=...)")
                dialogue.aside(frame.out_of_band, frame.instructions)
            else:
                self.profile.require("supports_response_requests", "Respond()")
                dialogue.ask(frame)
        elif isinstance(frame, Say):
            self.profile.require("supports_verbatim_speech", f"Say({frame.text!r})")
            dialogue.say(frame)
        elif isinstance(frame, ClearAudio):
            dialogue.outbox.command(lambda protocol: protocol.clear_audio())
        elif isinstance(frame, Configure):
            self._configure(frame, dialogue)
        elif isinstance(frame, TurnControl):
            self._leave_turns(frame, dialogue)
        elif isinstance(frame, Remember):
            dialogue.remember(frame)
        elif isinstance(frame, Image | Video):
            self._show(frame, dialogue)

    def _leave_turns(self, frame: TurnControl, dialogue: Dialogue) -> None:
        """Somebody above says when it is the model's turn, if it can be told so; or it finds out by itself, as ever."""
        taken = None if frame.external else self._turn_detection
        if self.profile.supports_commit and taken != self.settings.turn_detection:
            self.settings = msgspec.structs.replace(self.settings, turn_detection=taken)
            if dialogue.ready and self.profile.reconnects_to_update:
                dialogue.renew("the turns are taken by another", self.reconnect.renew_seconds)
            elif (
                self.profile.supports_updates and not self.profile.reconnects_to_update
            ):  # the opening may be on its way
                dialogue.outbox.command(lambda protocol: protocol.update(self.settings))

    def _show(self, frame: Image | Video, dialogue: Dialogue) -> None:
        self.profile.require("supports_images", type(frame).__name__)
        picture = Picture.from_frame(frame, type(self).__name__)
        most, forms = self.profile.max_image_bytes, self.profile.image_formats
        form = picture.media.removeprefix("image/")
        if forms and form not in forms:
            said = f"a picture in {form}, where {self.provider} takes {' or '.join(forms)}, was not shown"
            dialogue.emit(Failure(message=f"{said}; insert EncodeJpeg()", processor=self.provider))
        elif most is not None and len(picture.data) > most:
            said = f"a picture of {len(picture.data)} bytes, where {self.provider} takes {most}, was not shown"
            dialogue.emit(Failure(message=f"{said}; insert Scale() or EncodeJpeg()", processor=self.provider))
        elif isinstance(frame, Image) or any(self._sampled.process(frame)):
            dialogue.show(picture)

    def _configure(self, frame: Configure, dialogue: Dialogue) -> None:
        self.profile.require("supports_updates", "changing a session")
        if frame.tools is not None:
            self.runner.toolbox = Toolbox(frame.tools)
        if frame.schemas is not None:
            self._theirs = {each["name"]: complete_schema(each) for each in frame.schemas}
        settings = self.settings
        ours = [each for each in self.runner.toolbox.schemas if each["name"] not in self._theirs]
        told = settings.instructions if frame.instructions is None else frame.instructions or self._made_with
        self.settings = msgspec.structs.replace(
            settings,
            instructions=told,
            voice=settings.voice if frame.voice is None else frame.voice,
            tools=(*ours, *self._theirs.values()),
        )
        if not dialogue.ready:
            return  # a session to come is told by its opening
        if self.profile.reconnects_to_update:
            dialogue.renew("the settings have changed", self.reconnect.renew_seconds)
        else:
            dialogue.outbox.command(lambda protocol: protocol.update(self.settings))

    async def _finish(self, dialogue: Dialogue) -> None:
        """Nothing more comes from the user: what is under way is answered, and given."""
        if dialogue.user_speaking and self.profile.supports_commit:
            dialogue.commit()
        dialogue.quiet()
        if (
            dialogue.may_answer and not self.profile.emits_speech_events
        ):  # it does not say whether it has heard anything
            with anyio.move_on_after(ANSWER_S):
                while dialogue.may_answer:
                    await dialogue.resting.wait()
        with anyio.move_on_after(LINGER_S):
            while dialogue.busy or dialogue.give or dialogue.outbox:
                await dialogue.resting.wait()

    async def _give(self, dialogue: Dialogue) -> None:
        """Frames into the graph, in order, waiting for room."""
        while True:
            while dialogue.give:
                frame = await dialogue.give.next()
                if isinstance(frame, ResponseEnded) and self.history.crowded and self._group is not None:
                    self._group.start_soon(self.history.condense)
                if not dialogue.give:
                    dialogue.resting.set()
            await dialogue.give.bell.wait()

    async def _mind(self, dialogue: Dialogue) -> None:
        """What is due when nothing comes."""
        while True:
            due = min(dialogue.memory.next_deadline(), dialogue.sound_at + PAUSE_S)
            if due == math.inf:
                await dialogue.minding.wait()
                continue
            with anyio.move_on_after(max(0.0, due - anyio.current_time())):
                await dialogue.minding.wait()
            dialogue.memory.due()
            if anyio.current_time() >= dialogue.sound_at + PAUSE_S:
                dialogue.quiet()

    # Tools --------------------------------------------------------------------------------------------------------

    def _has_tool(self, name: str) -> bool:
        """Whether a call is ours to answer: not those of the application's tools, and none if there are no others."""
        return bool(len(self.runner.toolbox)) and name not in self._theirs

    def _run_tool(self, call: ToolCall) -> None:
        """Run a tool of ours beside the conversation."""
        dialogue = self._dialogue
        if self._group is None or dialogue is None:
            return

        async def emit(frame: Frame) -> None:
            dialogue.emit(frame)

        run = partial(self.runner.run, call, emit)
        if not self.runner.knows(call):  # begun at once: it may be called off before its task starts
            run = partial(self.runner.finish, self.runner.begin(call, emit))
        self._group.start_soon(self._tool, call, run, dialogue)

    async def _tool(self, call: ToolCall, run: Callable[[], Awaitable[ToolResult | None]], dialogue: Dialogue) -> None:
        result = await run()
        if result is None:
            dialogue.tool_over(call.call_id)
        else:
            dialogue.result(result)

    # Connections --------------------------------------------------------------------------------------------------

    async def _keep_connected(self, dialogue: Dialogue) -> None:
        """Connect, and again, until it is given up."""
        failures, policy = 0, self.reconnect
        while True:
            protocol, handle = self._protocol(), dialogue.resumption
            fatal, clean, began = False, False, anyio.current_time()
            if handle:
                protocol.resume(handle)
            try:
                async with self._connect(await self._endpoint(protocol)) as socket:
                    dialogue.connecting(protocol)
                    try:
                        over = await Connection(socket, protocol, dialogue, self.reconnect, self.profile).talk(
                            self.settings
                        )
                    finally:
                        await _farewell(socket, protocol)
                if isinstance(over, SocketRefusedError):
                    raise over
                reason, clean = over
                if handle and not dialogue.ready:
                    dialogue.resumption, dialogue.fatal = "", None  # that session is no more; a new one may be had
                fatal, reason = dialogue.fatal is not None, dialogue.fatal or reason
            except SocketRefusedError as error:
                fatal = (error.final or error.status in REFUSALS) and not handle
                if error.status is not None:
                    dialogue.resumption = ""
                reason = _refusal(error)
            stable = dialogue.ready and anyio.current_time() > began + STABLE_S
            failures = 0 if stable or clean else failures + 1
            dialogue.disconnected(reason)
            final = fatal or failures > policy.max_attempts or not policy.max_attempts
            dialogue.emit(Disconnected(provider=self.provider, reason=reason, clean=clean, final=final))
            if final:
                raise RealtimeError(
                    f"{self.provider}: {reason}" + (f"; given up after {failures} attempts" if failures > 1 else "")
                )
            log.info("%s: %s; connecting again", self.provider, reason)
            await anyio.sleep(policy.wait(failures, self._random))

    async def _endpoint(self, protocol: Protocol) -> Endpoint:
        """Where to connect to, which may take time to find out."""
        endpoint = protocol.endpoint()
        if not inspect.isawaitable(endpoint):
            return endpoint
        seconds = self.reconnect.ready_seconds
        with anyio.move_on_after(seconds):
            return await endpoint
        raise SocketRefusedError(f"no address or token within {seconds:g} s")

    # Without a graph ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncIterator[Any]:
        """A `Conversation` with the model, without a graph of one's own::

            async with model.connect() as conversation:
                await conversation.send_text("Hello!")
                async for event in conversation:
                    ...

        It is connected when the block begins, and closed when it ends. The options are those of `Graph.session`.
        Raises `RealtimeError` when no connection comes about.
        """
        async with Conversation(self, **options) as conversation:
            yield conversation
