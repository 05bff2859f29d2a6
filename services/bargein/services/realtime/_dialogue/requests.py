"""Which answer is due: requests for responses, and a small state machine of what has become of them.

The table `TABLE` is the machine: for each state and event, the next state and what to do. `docs/design.md` shows it.
The response that is being made (`Requests.active`) is not part of the state, because a provider may make one while
another one is due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from bargein.services.frames import Respond, Say
from bargein.services.realtime.profile import Profile

__all__ = ["TABLE", "AnswerAction", "AnswerEvent", "AnswerState", "Request", "Requests"]

MAX_SAYINGS: Final = 64
"""Maximum number of `Say` frames that wait. Of more, the oldest are dropped."""


class AnswerState(Enum):
    """The answer that the provider has to send."""

    NONE = auto()
    """No answer is due."""
    EXPECTED = auto()
    """The provider will answer without a request."""
    REQUESTED = auto()
    """A request was sent, and no response to it has begun."""
    REVOKED = auto()
    """A request was sent, and an interrupt came before its response: that will be cancelled when it begins."""


class AnswerEvent(Enum):
    """An event that changes which answer is due."""

    SENT = auto()
    """A request was sent."""
    EXPECT = auto()
    """The provider announces that it will answer without a request."""
    UNEXPECT = auto()
    """The provider will not answer without a request after all."""
    BEGAN = auto()
    """A response begins that answers the request, or does not say what it answers."""
    OTHER_BEGAN = auto()
    """A response begins that says that it does not answer the request."""
    FAILED = auto()
    """The response that was requested will not come."""
    BUSY = auto()
    """The request was refused because the provider is making a response, and none has begun here."""
    BUSY_ACTIVE = auto()
    """The request was refused because of the response that is being made."""
    INTERRUPTED = auto()
    """The epoch has advanced."""
    LOST = auto()
    """The connection is gone."""


class AnswerAction(Enum):
    """What the caller has to do after an event."""

    NOTHING = auto()
    """Nothing."""
    START = auto()
    """Send the response to the graph."""
    CANCEL = auto()
    """Cancel the response, and send nothing of it."""
    REPEAT = auto()
    """Send the request again as soon as possible."""
    RECOVER = auto()
    """Get the answer another way: it was not requested."""


TABLE: Final[Mapping[tuple[AnswerState, AnswerEvent], tuple[AnswerState, AnswerAction]]] = {
    (state, event): cell
    for event, row in {
        # event:              NONE                    EXPECTED                   REQUESTED                 REVOKED
        # `take` sends nothing in REQUESTED and REVOKED. These entries only make the table complete.
        AnswerEvent.SENT: ("REQUESTED NOTHING", "REQUESTED NOTHING", "REQUESTED NOTHING", "REQUESTED NOTHING"),
        AnswerEvent.EXPECT: ("EXPECTED NOTHING", "EXPECTED NOTHING", "REQUESTED NOTHING", "REVOKED NOTHING"),
        AnswerEvent.UNEXPECT: ("NONE NOTHING", "NONE NOTHING", "REQUESTED NOTHING", "REVOKED NOTHING"),
        AnswerEvent.BEGAN: ("NONE START", "NONE START", "NONE START", "NONE CANCEL"),
        # A response that is not ours is sent to the graph, too: the provider may answer speech while our request waits.
        AnswerEvent.OTHER_BEGAN: ("NONE START", "NONE START", "REQUESTED START", "REVOKED START"),
        # The answer that was announced has nothing to do with the request, so it is still expected.
        AnswerEvent.FAILED: ("NONE NOTHING", "EXPECTED NOTHING", "NONE NOTHING", "NONE NOTHING"),
        AnswerEvent.BUSY: ("EXPECTED REPEAT", "EXPECTED REPEAT", "EXPECTED REPEAT", "EXPECTED NOTHING"),
        AnswerEvent.BUSY_ACTIVE: ("NONE REPEAT", "NONE REPEAT", "NONE REPEAT", "NONE NOTHING"),
        # An announced answer is not revoked: it is the answer to the words that interrupt. If the provider takes it
        # back, UNEXPECT says so.
        AnswerEvent.INTERRUPTED: ("NONE NOTHING", "EXPECTED NOTHING", "REVOKED NOTHING", "REVOKED NOTHING"),
        AnswerEvent.LOST: ("NONE NOTHING", "NONE RECOVER", "NONE REPEAT", "NONE REPEAT"),
    }.items()
    for state, names in zip(AnswerState, row, strict=True)
    for cell in [(AnswerState[names.split()[0]], AnswerAction[names.split()[1]])]
}
"""The next state and the action, by state and event.

Three entries are choices. A request that waits for its response hides an expectation (EXPECT): the next response
settles both. A lost connection repeats a revoked request, too (LOST): the audio of its turn must be committed again. A
provider that is busy with a response that has not begun here is expected to begin it (BUSY).
"""


class Request(NamedTuple):
    """A request for a response."""

    frame: Respond | Say
    """What is requested."""
    by_commit: bool = False
    """Whether it belongs to a commit, which some providers answer without a request."""


class Requests:
    """The requests of one conversation, over all its connections.

    Several `Respond` become one. Each `Say` is sent on its own, before that. One request is sent at a time: the next
    one follows when the response to it is over.
    """

    def __init__(self) -> None:
        self.state = AnswerState.NONE
        """The answer that the provider has to send."""
        self.active: str | None = None
        """Id of the response that is being made; None if there is none."""
        self._wanted: Request | None = None
        self._sayings: deque[Say] = deque(maxlen=MAX_SAYINGS)
        self._sent: Request | None = None  # belongs to the states REQUESTED and REVOKED
        self._sent_id: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether the provider should send something: a response is being made, requested or expected."""
        return self.active is not None or self.state is not AnswerState.NONE

    @property
    def is_busy(self) -> bool:
        """Whether something is due, or waits to be requested."""
        return self.is_due or self._wanted is not None or bool(self._sayings)

    @property
    def is_waiting(self) -> bool:
        """Whether a response waits to be requested."""
        return self._wanted is not None or bool(self._sayings)

    @property
    def wants_response(self) -> bool:
        """Whether a `Respond` waits to be sent."""
        return self._wanted is not None

    # Requests of the application ----------------------------------------------------------------------------------

    def want(self, request: Request) -> None:
        """Request a response as soon as possible, in place of one that waits already."""
        self._wanted = request

    def say(self, frame: Say) -> None:
        """Request these words, after those that wait already."""
        self._sayings.append(frame)

    def repeat(self, request: Request | None) -> None:
        """Request again what did not come, unless another response is wanted by now."""
        # In front: the words that wait were requested later.
        if request is not None and isinstance(request.frame, Say):
            self._sayings.appendleft(request.frame)
        else:
            self._wanted = self._wanted or request

    # Sending ------------------------------------------------------------------------------------------------------

    def expect_instead(self, profile: Profile, *, calls_open: bool) -> bool:
        """Turn the response that waits into an expectation, for a provider of which none can be requested.

        Args:
            profile: What the provider can do.
            calls_open: Tool calls wait for their results, so that the provider will not answer yet.

        Returns:
            Whether a response was waiting and the provider takes no requests.
        """
        if profile.supports_response_requests or self._sayings or self._wanted is None:
            return False
        self._wanted = None
        self._step(AnswerEvent.UNEXPECT if self.active is not None or calls_open else AnswerEvent.EXPECT)
        return True

    def take(self, profile: Profile, *, calls_open: bool, active_is_stale: bool) -> Request | None:
        """Return the request to send now, and count it as sent; None if none can be sent yet.

        Args:
            profile: What the provider can do.
            calls_open: Tool calls wait for their results. The next response must know them.
            active_is_stale: Discard the rest of the response that is being made. If it cannot be cancelled,
                the next one is not kept waiting for it.
        """
        request = Request(self._sayings[0]) if self._sayings else self._wanted
        # One request at a time. A second one would be refused as busy, and a response that does not name its request
        # could not be assigned to one of them.
        if request is None or calls_open or self.state in (AnswerState.REQUESTED, AnswerState.REVOKED):
            return None
        # A request by commit needs no message, because the provider answers the commit. So it need not wait for the
        # response that is being made.
        answers_commit = request.by_commit and profile.responds_to_commit
        if self.active is not None and not answers_commit and (profile.supports_cancel or not active_is_stale):
            return None
        if self._sayings:
            self._sayings.popleft()
        else:
            self._wanted = None
        self.send(request)
        return request

    def send(self, request: Request) -> None:
        """Count a request as sent that does not wait for others."""
        self._sent, self._sent_id = request, None
        self._step(AnswerEvent.SENT)

    def name(self, request_id: str | None) -> None:
        """Note the id of the request that was sent; None if responses do not name it."""
        self._sent_id = request_id

    # What has become of them --------------------------------------------------------------------------------------

    def expect(self) -> None:
        """Note that the provider will answer without a request."""
        self._step(AnswerEvent.EXPECT)

    def unexpect(self) -> None:
        """Note that the provider will not answer without a request after all."""
        self._step(AnswerEvent.UNEXPECT)

    def begin(self, response_id: str, request_id: str | None) -> tuple[AnswerAction, bool]:
        """Note that a response begins.

        Args:
            response_id: The response.
            request_id: The request that it answers; None if that is unknown.

        Returns:
            START or CANCEL, and whether the request said that speech must not interrupt it.
        """
        # Most providers do not say which request a response answers. Then it is taken for the answer to ours.
        answers = self._sent is not None and request_id in (None, self._sent_id)
        protected = answers and self._sent is not None and self._sent.frame.protected
        action = self._step(AnswerEvent.BEGAN if answers or self._sent is None else AnswerEvent.OTHER_BEGAN)
        self.active = response_id
        return action, protected

    def end(self, response_id: str) -> None:
        """Note that a response is over."""
        if self.active == response_id:
            self.active = None

    def fail(self) -> None:
        """Note that the requested response will not come."""
        self._step(AnswerEvent.FAILED)

    def on_busy(self) -> None:
        """Note that the request was refused because another response is being made: it is sent again after that."""
        # Read before the step, which forgets it.
        sent = self._sent
        if self._step(AnswerEvent.BUSY if self.active is None else AnswerEvent.BUSY_ACTIVE) is AnswerAction.REPEAT:
            self.repeat(sent or Request(Respond()))

    def interrupt(self) -> None:
        """Drop what waits to be requested, and have the response to what was requested cancelled."""
        self._wanted = None
        self._sayings.clear()
        self._step(AnswerEvent.INTERRUPTED)

    def lose(self) -> tuple[AnswerAction, Request | None]:
        """Note that the connection is gone.

        Returns:
            REPEAT with the request to repeat, RECOVER if an expected answer is lost, or NOTHING.
        """
        # As above: read before the step.
        sent = self._sent
        return self._step(AnswerEvent.LOST), sent

    def _step(self, event: AnswerEvent) -> AnswerAction:
        self.state, action = TABLE[self.state, event]
        if self.state not in (AnswerState.REQUESTED, AnswerState.REVOKED):
            self._sent = None
        return action
