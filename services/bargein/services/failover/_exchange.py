"""`FailoverExchange`: passes frames between the user, the active brain and the graph below."""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio

from bargein.pipeline import (
    Audio,
    Delivery,
    Failure,
    Frame,
    Hold,
    Image,
    Interrupt,
    Outlet,
    Played,
    ResponseEnded,
    ResponseStarted,
    Resume,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolResult,
    Transcript,
    UserText,
)
from bargein.pipeline.lowlevel import Wakeup
from bargein.processors import AgentActivity, Heard, TurnControl
from bargein.services.frames import Configure, Disconnected, Respond, Say
from bargein.services.history import History
from bargein.services.tools import CANCELLED_OUTPUT, ToolRunner

from ._backlog import Backlog
from ._brain_session import BrainSession
from ._history_view import HistoryView
from ._ids import MAX_EXTERNAL_IDS, item_id_of
from ._playback import PlaybackLedger
from ._tool_runner import SharedToolRunner
from ._turn_state import REQUESTS, TurnState

__all__ = ["FailoverExchange"]

MAX_RUNNERS = 16
"""Number of tool runners of former brains that are kept, because their tools may still run."""


class FailoverExchange:
    """Passes frames between the outer graph and the active brain, and tracks which input is unanswered.

    Args:
        out: The failover's outlet.
        group: The task group of the session.
        history: The conversation that all brains share.
        changed: Set when there is something to decide.
        backlog: The user's input that has not been answered.
    """

    def __init__(
        self, out: Outlet[Any], group: anyio.abc.TaskGroup, history: History, changed: Wakeup, backlog: Backlog
    ) -> None:
        self.changed = changed
        self.turn = TurnState()
        self.backlog = backlog
        self.ledger = PlaybackLedger()
        self.active: BrainSession | None = None
        """The run that has the conversation; None during a move to another brain."""
        self.external_ids: deque[str] = deque(maxlen=MAX_EXTERNAL_IDS)
        """Ids that came from above the failover."""
        self.served = False
        """Whether the active run has completed a response."""
        self.ended = False
        """Whether the user's input has ended."""
        self._out = out
        self._group = group
        self._history = history
        self._words: dict[str, str] = {}  # the user's words since the latest response began, by item
        self._configuration = Configure()
        self._turn_control: TurnControl | None = None
        self._activity: AgentActivity | None = None
        self._orphans: set[str] = set()  # open calls of former brains
        self._answer_waits = False  # whether an answer waits for the results of the orphaned calls
        self._runners: deque[SharedToolRunner] = deque(maxlen=MAX_RUNNERS)

    @property
    def is_pause(self) -> bool:
        """Whether neither side speaks, no answer is due, and no sound is being played."""
        return self.turn.is_pause and not (self.ledger.playing or self._answer_waits)

    # From the graph -----------------------------------------------------------------------------------------------

    def take(self, frame: Frame) -> None:
        """Take a frame from above or from below."""
        if isinstance(frame, Interrupt):
            self.turn.on_interrupt(by_brain=False)
            self.backlog.on_answered(self.turn.mark)
            self.ledger.on_interrupt(frame.epoch)
            self._answer_waits = False
            self._interrupt_tools()
            if self.active is not None:
                self.active.interrupt(frame.reason)
        elif frame.delivery is Delivery.UPSTREAM:
            self._take_report(frame)
        elif not (isinstance(frame, Audio) and frame.response_id):
            self._take_input(frame)

    def _take_input(self, frame: Frame) -> None:
        """Take a frame of the user."""
        backlog, run = self.backlog, self.active
        # After a lost connection, the brain receives sound again once it is ready and has taken all waiting frames.
        if backlog.disconnected and run is not None and run.ready and not run.waiting:
            backlog.disconnected = False
        backlog.add(frame)
        if not isinstance(frame, Audio):
            if item_id := item_id_of(frame):
                self.external_ids.append(item_id)
            self.turn.on_user_frame(frame)
            self._follow_speech(frame)
            if isinstance(frame, Configure):
                self._configuration = _merge(self._configuration, frame)
            elif isinstance(frame, TurnControl):
                self._turn_control = frame
            self.changed.set()
        if run is not None:
            run.put(frame)

    def _take_report(self, frame: Frame) -> None:
        """Take a frame from below, and pass it to the brain that it concerns."""
        run = self.active
        if isinstance(frame, Played):
            self.ledger.on_played(frame)
        elif isinstance(frame, Heard):
            self.ledger.on_spoken_below()
            self.ledger.on_heard(frame)
        elif isinstance(frame, AgentActivity):
            self.ledger.on_spoken_below()
            self._activity = frame
        elif isinstance(frame, ToolResult):
            self.turn.on_tool_result(frame.call_id)
            # The brain that made the call has been left. The present brain does not know the call.
            if frame.call_id in self._orphans:
                self._on_orphan_result(frame.call_id, frame)
                return
        if run is not None:
            run.report(frame)
        self.changed.set()

    # From a run ---------------------------------------------------------------------------------------------------

    def on_frame(self, run: BrainSession, frame: Frame) -> None:
        """Note a frame of a brain."""
        if run is self.active:
            self.turn.on_brain_frame(frame, self.backlog.count, lambda: run.reconnecting)
            # Audio is by far the most frequent frame, and needs none of the steps below.
            if isinstance(frame, Audio):
                return
            self._follow_speech(frame)
            if isinstance(frame, ResponseEnded):
                # After a failure, the response may be an apology that was sent before the transcript of the user's
                # speech. Then the next brain still needs the sound of that speech.
                if not (self.turn.failed_since_speech and self.backlog.speech):
                    self.backlog.on_answered(self.turn.mark)
            elif isinstance(frame, ResponseStarted):
                self._words.clear()
            elif isinstance(frame, Disconnected):
                self.backlog.disconnected = True
        self.changed.set()

    def _follow_speech(self, frame: Frame) -> None:
        if isinstance(frame, SpeechStarted):
            self.backlog.on_speech_started(frame.item_id, frame.pts)
        elif isinstance(frame, SpeechStopped):
            self.backlog.on_speech_stopped(frame.item_id)
        elif isinstance(frame, Transcript) and frame.speaker == "user" and frame.final and not self.turn.fault:
            self._words[frame.item_id] = frame.text
            self.backlog.on_transcribed(frame.item_id)

    def on_interrupt(self, run: BrainSession, frame: Interrupt | Hold | Resume) -> None:
        """Pass on an interrupt, a hold or a resume of a brain."""
        # A run that was left may still send frames until it is cancelled.
        if run is not self.active:
            return
        if isinstance(frame, Interrupt):
            self.turn.on_interrupt(by_brain=True)
            self.backlog.on_answered(self.turn.mark)
            self._answer_waits = False
            self._interrupt_tools()
            self.interrupt_below(frame.reason)
        else:
            self._out.offer(frame)

    def on_part_failed(self, run: BrainSession, frame: Failure) -> None:
        """Note that a part of a brain has failed."""
        if run is self.active:
            self.turn.on_part_failed()
            if frame.fatal:
                self.turn.fault = self.turn.fault or frame.message
                self.changed.set()
            else:
                self._out.offer(frame)

    def on_user_entry(self, run: BrainSession) -> None:
        """Note that a brain has recorded new words of the user."""
        if run is self.active:
            self.turn.on_user_entry()

    def begin_reply(self) -> Outlet[Any]:
        """Begin a response in the outer graph, and return its outlet."""
        return self._out.reply()

    async def forward(self, run: BrainSession, frame: Frame, outlet: Outlet[Any] | None) -> None:
        """Send a frame of a brain into the graph."""
        # A former brain may be cancelled late. Its frames must not be mixed with those of the next brain.
        if run is not self.active:
            return
        self.ledger.on_frame(frame)
        if isinstance(frame, ResponseEnded) and frame.outcome == "completed":
            self.served = True
        await (outlet or self._out).send(frame)

    def interrupt_below(self, reason: str) -> None:
        """Interrupt the sound that is being played."""
        # If the engine has already been interrupted for the same cause, the epoch does not change.
        before = self._out.epoch
        self._out.offer(Interrupt(reason=reason))
        if self._out.epoch != before:
            self.ledger.on_interrupt(self._out.epoch)

    # From one run to the next -------------------------------------------------------------------------------------

    def end(self) -> None:
        """Note that the user's input has ended."""
        self.ended = True
        if self.active is not None:
            self.active.end()

    def leave(self, run: BrainSession) -> None:
        """Take the conversation from a run. Its further frames are ignored."""
        self.active = None
        running = {run.ids.outward(call_id) for runner in run.runners for call_id in runner.running}
        # Tools continue to run, and the application may still answer its calls. The next brain needs their results
        # before it answers.
        self._orphans |= running | (self.turn.calls.keys() & run.application_calls)
        run.leave()

    def begin(self, run: BrainSession) -> None:
        """Make a run the active one."""
        self.active = run
        self.turn.speaks = run.speaks
        if self._turn_control is not None:
            run.put(self._turn_control)
        if self._configuration != Configure():
            run.put(self._configuration)
        if self._activity is not None:
            run.report(self._activity)

    def hand_over(self, old: BrainSession, new: BrainSession) -> None:
        """Send the new run all input that the old one has not handled, and make it answer."""
        # First complete the history with what the old brain knew, then replay what it had not handled. So the new brain
        # reads the conversation in order.
        self._complete_history(old)
        turn, waiting = self.turn, old.waiting
        speech_ended = bool(self.backlog.speech) and not turn.speaking
        turn.on_move()
        replay = self.backlog.replay(lambda frame: _is_known(frame, old.history, waiting))
        self.begin(new)
        for frame in replay:
            new.put(frame)
        # One of three things makes the new brain answer: a request among the frames, the end of speech, or a request
        # from here. Two of them would make it answer twice.
        if any(isinstance(frame, REQUESTS) for frame in replay):
            turn.expect_answer(by_speech=False)
        elif speech_ended:
            turn.expect_answer(by_speech=True)
        elif turn.owes_answer:
            # An answer without the results of running tools would be wrong, so it is requested when the last result has
            # come.
            self._answer_waits = bool(self._orphans)
            if not self._answer_waits:
                self._request_answer(new)
        if self.ended:
            new.end()

    def _complete_history(self, old: BrainSession) -> None:
        """Record words that are known but not in the history; remove items that will be transcribed again."""
        for item_id in self.backlog.speech:
            # The next brain gets the sound of these items and transcribes it itself.
            self._history.forget(item_id)
            self._words.pop(item_id, None)
        for item_id, text in self._words.items():
            if text.strip() and not old.history.has_user_text(text):
                self._history.user(text, item_id)
                self.turn.add_request()
        self._words.clear()

    def _request_answer(self, run: BrainSession) -> None:
        """Make a brain answer the conversation as it is."""
        frame: Frame = Respond()
        if not run.answers_requests:  # such a brain answers only input, so the user's last words are sent to it again
            entries = list(self._history)
            last = next((entry for entry in reversed(entries) if entry.role == "user" and entry.text), None)
            if last is None:
                return
            # The brain records the words again, so they are removed here. Pictures stay.
            frame, last.text = UserText(text=last.text), ""
            if not last.worth:
                self._history.discard(last)
        self.turn.add_request()
        self.turn.expect_answer(by_speech=False)
        run.put(frame)

    # Tools --------------------------------------------------------------------------------------------------------

    def share_runner(self, run: BrainSession, runner: ToolRunner) -> SharedToolRunner:
        """Return the runner that a brain uses instead of its own."""

        async def emit_late(frame: Frame) -> None:
            await self._out.send(run.ids.frame_outward(frame))

        async def on_orphan(call: ToolCall, result: ToolResult | None) -> None:
            self._on_orphan_result(run.ids.outward(call.call_id), result)

        self._runners.append(shared := SharedToolRunner(runner, self._group, emit_late, on_orphan))
        return shared

    def _interrupt_tools(self) -> None:
        """Cancel tools that are `cancellable`, also those of brains that have been left."""
        for runner in self._runners:
            runner.interrupt()

    def _on_orphan_result(self, call_id: str, result: ToolResult | None) -> None:
        """Send the result of a former brain's call to the present brain. It answers when all results have come."""
        self._orphans.discard(call_id)
        run = self.active
        if result is None:
            self._history.result(call_id, CANCELLED_OUTPUT)
        else:
            self._history.result(call_id, result.output)
            if run is not None:
                run.report(ToolResult(call_id=call_id, output=result.output, error=result.error))
        if not self._orphans and self._answer_waits and run is not None:
            self._answer_waits = False
            self._request_answer(run)


def _merge(before: Configure, frame: Configure) -> Configure:
    """Return a `Configure` with the latest value of each setting."""
    return Configure(
        instructions=before.instructions if frame.instructions is None else frame.instructions,
        tools=before.tools if frame.tools is None else frame.tools,
        schemas=before.schemas if frame.schemas is None else frame.schemas,
        voice=before.voice if frame.voice is None else frame.voice,
    )


def _is_known(frame: Frame, history: HistoryView, waiting: tuple[Frame, ...]) -> bool:
    """Return whether the next brain needs no replay of a frame, because the conversation has its content."""
    if isinstance(frame, Configure):
        return True
    if any(frame is each for each in waiting):
        return False
    if isinstance(frame, UserText):
        return history.has_user_text(frame.text)
    if isinstance(frame, Image):
        return history.has_picture(frame.data)
    if isinstance(frame, Say):
        return any(entry.role == "assistant" and frame.text in entry.text for entry in history.own)
    return True
