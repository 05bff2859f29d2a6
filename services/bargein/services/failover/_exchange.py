"""What goes on between the user, the brain that has the conversation, and the graph below."""

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
from bargein.services.tools import CANCELLED_OUTPUT

from ._backlog import Backlog
from ._brain_session import BrainSession
from ._ids import ABOVE, HistoryView
from ._playback import PlaybackLedger
from ._tools import SharedToolRunner
from ._turn_state import ASKS, TurnState

__all__ = ["FailoverExchange"]


class FailoverExchange:
    """The conversation as it passes through a failover: one brain has it, and what it owes the next one is known."""

    def __init__(self, out: Outlet[Any], group: anyio.abc.TaskGroup, history: Any, bell: Wakeup, kept: Backlog) -> None:
        self.bell = bell
        """Rings when there is something to decide."""
        self.talk = TurnState()
        self.kept = kept
        self.ledger = PlaybackLedger()
        self.active: BrainSession | None = None
        """The run that has the conversation; None while it passes from one to another."""
        self.above: deque[str] = deque(maxlen=ABOVE)
        """Ids that came from above."""
        self.served = False
        """A response has been given to its end."""
        self.ended = False
        """Nothing more comes from the user."""
        self._out = out
        self._group = group
        self._history = history
        self._words: dict[str, str] = {}  # what the user said since the latest response began, by item
        self._configured = Configure()
        self._turns: TurnControl | None = None
        self._activity: AgentActivity | None = None
        self._pending: set[str] = set()  # calls of brains that have been left
        self._deferred = False  # an answer waits for their results
        self._runners: deque[SharedToolRunner] = deque(maxlen=16)  # those that may have tools under way

    @property
    def pause(self) -> bool:
        """Nobody speaks or is about to, and nothing is heard."""
        return self.talk.pause and not (self.ledger.playing or self._deferred)

    # From the graph -----------------------------------------------------------------------------------------------

    def take(self, frame: Frame) -> None:
        """Something came, from above or from below."""
        if isinstance(frame, Interrupt):
            self.talk.interrupted(by_brain=False)
            self.kept.answered(self.talk.mark)
            self.ledger.interrupted(frame.epoch)
            self._deferred = False
            self._call_off()
            if self.active is not None:
                self.active.interrupt(frame.reason)
        elif frame.delivery is Delivery.UPSTREAM:
            self._news(frame)
        elif not (isinstance(frame, Audio) and frame.response_id):
            self._user(frame)

    def _user(self, frame: Frame) -> None:
        """The user sent something."""
        kept, run = self.kept, self.active
        if kept.deaf and run is not None and run.ready and not run.waiting:
            kept.deaf = False
        kept.add(frame)
        if not isinstance(frame, Audio):
            if item := getattr(frame, "item_id", ""):
                self.above.append(item)
            self.talk.above(frame)
            self._speech(frame)
            if isinstance(frame, Configure):
                self._configured = _merged(self._configured, frame)
            elif isinstance(frame, TurnControl):
                self._turns = frame
            self.bell.set()
        if run is not None:
            run.put(frame)

    def _news(self, frame: Frame) -> None:
        """Something came from below: to the brain that it is about."""
        run = self.active
        if isinstance(frame, Played):
            self.ledger.plays(frame)
        elif isinstance(frame, Heard):
            self.ledger.told()
            self.ledger.heard(frame)
        elif isinstance(frame, AgentActivity):
            self.ledger.told()
            self._activity = frame
        elif isinstance(frame, ToolResult):
            self.talk.answered(frame.call_id)
            if frame.call_id in self._pending:
                self._answered(frame.call_id, frame)
                return
        if run is not None:
            run.news(frame)
        self.bell.set()

    # What a run tells ---------------------------------------------------------------------------------------------

    def watch(self, run: BrainSession, frame: Frame) -> None:
        """A brain has made a frame."""
        if run is self.active:
            self.talk.below(frame, self.kept.count, lambda: run.mending)
            if isinstance(frame, Audio):
                return
            self._speech(frame)
            if isinstance(frame, ResponseEnded):
                self.kept.answered(self.talk.mark)
            elif isinstance(frame, ResponseStarted):
                self._words.clear()
            elif isinstance(frame, Disconnected):
                self.kept.deaf = True
        self.bell.set()

    def _speech(self, frame: Frame) -> None:
        if isinstance(frame, SpeechStarted):
            self.kept.began(frame.item_id, frame.pts)
        elif isinstance(frame, SpeechStopped):
            self.kept.stopped(frame.item_id)
        elif isinstance(frame, Transcript) and frame.speaker == "user" and frame.final and not self.talk.fault:
            self._words[frame.item_id] = frame.text
            self.kept.understood(frame.item_id)

    def interrupt(self, run: BrainSession, frame: Interrupt | Hold | Resume) -> None:
        """A brain interrupts, holds or resumes."""
        if run is not self.active:
            return
        if isinstance(frame, Interrupt):
            self.talk.interrupted(by_brain=True)
            self.kept.answered(self.talk.mark)
            self._deferred = False
            self._call_off()
            self.interrupt_below(frame.reason)
        else:
            self._out.offer(frame)

    def failing(self, run: BrainSession, frame: Failure) -> None:
        """A part of a brain has failed."""
        if run is self.active:
            self.talk.failing()
            if frame.fatal:
                self.talk.fault = self.talk.fault or frame.message
                self.bell.set()
            else:
                self._out.offer(frame)

    def asked(self, run: BrainSession) -> None:
        """A brain has written down something new of the user's."""
        if run is self.active:
            self.talk.words()

    def reply(self) -> Outlet[Any]:
        """Begin a response."""
        return self._out.reply()

    async def give(self, run: BrainSession, frame: Frame, outlet: Outlet[Any] | None) -> None:
        """Give what a brain has made to the graph."""
        if run is not self.active:
            return
        self.ledger.gives(frame)
        if isinstance(frame, ResponseEnded) and frame.outcome == "completed":
            self.served = True
        await (outlet or self._out).send(frame)

    def interrupt_below(self, reason: str) -> None:
        """Interrupt what is being heard."""
        before = self._out.epoch
        self._out.offer(Interrupt(reason=reason))
        if self._out.epoch != before:
            self.ledger.interrupted(self._out.epoch)

    # From one to the other ----------------------------------------------------------------------------------------

    def end(self) -> None:
        """Nothing more comes from the user."""
        self.ended = True
        if self.active is not None:
            self.active.end()

    def leave(self, run: BrainSession) -> None:
        """It has the conversation no more, and nothing that it still says counts."""
        self.active = None
        running = {run.ids.outward(call) for runner in run.runners for call in runner.running}
        self._pending |= running | (self.talk.calls.keys() & run.calls)
        run.leave()

    def begin(self, run: BrainSession) -> None:
        """A run has the conversation."""
        self.active = run
        self.talk.speaks = run.speaks
        if self._turns is not None:
            run.put(self._turns)
        if self._configured != Configure():
            run.put(self._configured)
        if self._activity is not None:
            run.news(self._activity)

    def _remember(self, old: BrainSession) -> None:
        """Write down what was understood and not written; forget what is going to be heard again."""
        for item in self.kept.speech:
            self._history.forget(item)
            self._words.pop(item, None)
        for item, text in self._words.items():
            if text.strip() and not old.part.said(text):
                self._history.user(text, item)
                self.talk.asks()
        self._words.clear()

    def hand_over(self, old: BrainSession, new: BrainSession) -> None:
        """Give the new one all that the old one has not dealt with, and have it answer."""
        self._remember(old)
        talk, waiting = self.talk, old.waiting
        heard = bool(self.kept.speech) and not talk.speaking
        talk.moved()
        replay = self.kept.replay(lambda frame: _known(frame, old.part, waiting))
        self.begin(new)
        for frame in replay:
            new.put(frame)
        if any(isinstance(frame, ASKS) for frame in replay):
            talk.expect(by_speech=False)
        elif heard:
            talk.expect(by_speech=True)
        elif talk.owed:
            self._deferred = bool(self._pending)
            if not self._deferred:
                self._ask(new)
        if self.ended:
            new.end()

    def _ask(self, run: BrainSession) -> None:
        """Have a brain answer what is in the conversation."""
        profiles = [profile for leaf in run.leaves if (profile := getattr(leaf, "profile", None)) is not None]
        if run.accepts(Respond) and all(
            profile.supports_response_requests and profile.supports_history_seeding for profile in profiles
        ):
            frame: Frame = Respond()
        else:  # it answers only what it is told: the user's last words, again
            last = next((entry for entry in reversed(list(self._history)) if entry.role == "user" and entry.text), None)
            if last is None:
                return
            frame, last.text = UserText(text=last.text), ""
        self.talk.asks()
        self.talk.expect(by_speech=False)
        run.put(frame)

    # Tools --------------------------------------------------------------------------------------------------------

    def keeping(self, run: BrainSession, runner: Any) -> SharedToolRunner:
        async def tell(frame: Frame) -> None:
            await self._out.send(run.ids.given(frame))

        async def orphaned(call: ToolCall, result: ToolResult | None) -> None:
            self._answered(run.ids.outward(call.call_id), result)

        self._runners.append(kept := SharedToolRunner(runner, self._group, tell, orphaned))
        return kept

    def _call_off(self) -> None:
        """The user has interrupted: tools that are `cancellable` end, also those of a brain that has been left."""
        for runner in self._runners:
            runner.interrupt()

    def _answered(self, call: str, result: ToolResult | None) -> None:
        """A call of a brain that has been left is over: the present one is told, and answers when all are."""
        self._pending.discard(call)
        run = self.active
        if result is None:
            self._history.result(call, CANCELLED_OUTPUT)
        else:
            self._history.result(call, result.output)
            if run is not None:
                run.news(ToolResult(call_id=call, output=result.output, error=result.error))
        if not self._pending and self._deferred and run is not None:
            self._deferred = False
            self._ask(run)


def _merged(before: Configure, frame: Configure) -> Configure:
    """All that has been configured, the latest of each."""
    changed = {name: getattr(frame, name) for name in ("instructions", "tools", "schemas", "voice")}
    known = {name: getattr(before, name) for name in changed}
    return Configure(**known | {name: value for name, value in changed.items() if value is not None})


def _known(frame: Frame, part: HistoryView, waiting: tuple[Frame, ...]) -> bool:
    """Whether a frame of the user's needs not be given to the next brain: the conversation has what it brought."""
    if isinstance(frame, Configure):
        return True
    if any(frame is each for each in waiting):
        return False
    if isinstance(frame, UserText):
        return part.said(frame.text)
    if isinstance(frame, Image):
        return part.shown(frame.data)
    if isinstance(frame, Say):
        return any(entry.role == "assistant" and frame.text in entry.text for entry in part.mine)
    return True
