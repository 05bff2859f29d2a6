"""Turns of the agent and of the user, recognised from blocks. No I/O.

The service numbers blocks and not turns, so ids of turns are made here.
"""

from __future__ import annotations

from typing import Final, Literal

from bargein.services.realtime import (
    AudioCommitted,
    AudioPiece,
    Event,
    Interrupted,
    ItemCorrected,
    ItemOver,
    ResponseBegan,
    ResponseOver,
    TextPiece,
    ToolCallReceived,
    Transcribed,
    UsageReported,
)

from . import wire

__all__ = ["NovaTurns"]

MAX_BLOCKS: Final = 64
"""Blocks that are remembered, for events about them that come late."""


class _Turn:
    """A turn of the agent: one response with one item, both with this id."""

    def __init__(self, turn_id: str) -> None:
        self.id = turn_id
        self.announced: list[str] = []
        """Text that is about to be spoken, by block."""
        self.spoken: list[str] = []
        """Text that was spoken, by block."""
        self.interrupted = False

    @property
    def unconfirmed(self) -> bool:
        """Whether some of the announced text is not yet confirmed as spoken."""
        return not self.interrupted and len(self.spoken) < len(self.announced)


class _Block:
    """A block, from its beginning until it is forgotten."""

    def __init__(self, start: wire.ContentStart, turn: _Turn | None) -> None:
        self.is_audio = start.type == "AUDIO"
        self.final = start.final
        self.turn = turn
        """The agent's turn it belongs to; None for words of the user."""
        self.has_text = False
        """Whether some of its text has come."""


class NovaTurns:
    """Turns the events of one connection into events of the driver.

    A turn begins with announced text, audio or a tool call, if no turn is open. It ends with

    * the `END_TURN` of a block with audio or spoken text,
    * a tool call, an interruption, or the end of the completion,
    * announced text after words of the user, if all of these are missing.

    Args:
        prefix: Beginning of every id.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0
        self._blocks: dict[str, _Block] = {}
        self._open: _Turn | None = None
        self._last: _Turn | None = None  # the turn that began last, open or not
        self._previous: _Turn | None = None  # the turn before it
        self._user_words: list[str] = []  # since the agent's last turn began
        self._events: list[Event] = []

    def take(self, event: wire.Output) -> list[Event]:
        """Return the events that a wire event causes."""
        self._events = []
        match event:
            case wire.ContentStart():
                self._on_start(event)
            case wire.TextOutput():
                self._on_text(event)
            case wire.AudioOutput():
                self._on_audio(event)
            case wire.ToolUse():
                self._on_tool_use(event)
            case wire.ContentEnd():
                self._on_end(event)
            case wire.UsageEvent():
                self._on_usage(event)
            case wire.CompletionStart() | wire.CompletionEnd():
                self._end_turn()
        return self._events

    # Blocks -------------------------------------------------------------------------------------------------------

    def _on_start(self, start: wire.ContentStart) -> None:
        turn = None if start.role == "USER" else self._turn_of(start)
        self._blocks[start.content_id] = _Block(start, turn)
        for oldest in list(self._blocks)[:-MAX_BLOCKS]:
            del self._blocks[oldest]

    def _turn_of(self, start: wire.ContentStart) -> _Turn | None:
        """Return the turn that a block of the agent belongs to, which may begin with it."""
        if start.type == "TEXT" and start.final:
            # Spoken text can come after its turn has ended and the next has begun.
            return self._previous if self._previous is not None and self._previous.unconfirmed else self._last
        if start.type == "AUDIO" and self._open is None and self._last is not None and self._last.interrupted:
            return self._last  # audio without announced text is the rest of an interrupted turn
        if start.type != "AUDIO" and self._user_words:
            self._end_turn()  # its end was not sent
        return self._open or self._begin_turn()

    def _on_text(self, event: wire.TextOutput) -> None:
        block = self._blocks.get(event.content_id)
        if event.interrupted:
            self._interrupt(block)
        elif block is None or not event.content.strip():
            pass
        elif block.turn is None:
            self._on_user_text(event.content)
        else:
            self._on_agent_text(block, block.turn, event.content)

    def _on_agent_text(self, block: _Block, turn: _Turn, text: str) -> None:
        texts = turn.spoken if block.final else turn.announced
        if block.has_text:
            texts[-1] += text
        else:
            text = text.lstrip()
            texts.append(text)
            if len(texts) > 1:
                text = f" {text}"
        block.has_text = True
        if not block.final:
            self._events.append(TextPiece(response_id=turn.id, item_id=turn.id, text=text))

    def _on_user_text(self, text: str) -> None:
        """Add words of the user. They come in pieces, and none is marked as the last."""
        self._user_words.append(text.strip())
        item = f"{self._prefix}-u{self._count}"
        self._events.append(Transcribed(item_id=item, text=" ".join(self._user_words)))
        if self._open is None:
            self._events.append(AudioCommitted(item_id=item, answered=True))

    def _on_audio(self, event: wire.AudioOutput) -> None:
        block = self._blocks.get(event.content_id)
        if block is not None and block.turn is not None:
            turn_id = block.turn.id
            self._events.append(AudioPiece(response_id=turn_id, item_id=turn_id, pcm=event.content))

    def _on_tool_use(self, event: wire.ToolUse) -> None:
        block = self._blocks.get(event.content_id)
        turn = (block.turn if block is not None else None) or self._open or self._begin_turn()
        self._events.append(
            ToolCallReceived(
                response_id=turn.id, call_id=event.tool_use_id, name=event.tool_name, arguments=event.arguments
            )
        )

    def _on_end(self, end: wire.ContentEnd) -> None:
        block = self._blocks.get(end.content_id)
        turn = block.turn if block is not None else None
        if end.stop_reason == "INTERRUPTED":
            self._interrupt(block)
        elif end.stop_reason == "TOOL_USE":
            self._end_turn()  # the answer to the tool's result is a separate turn
        if block is None or turn is None:
            return
        announced = not block.is_audio and not block.final  # the end of announced text ends nothing: its audio follows
        if end.stop_reason == "END_TURN" and turn is self._open and not announced:
            self._end_turn()
        if block.final:
            self._correct(turn)

    # Turns --------------------------------------------------------------------------------------------------------

    def _begin_turn(self) -> _Turn:
        if self._user_words:
            item = f"{self._prefix}-u{self._count}"
            self._events.append(Transcribed(item_id=item, text=" ".join(self._user_words), final=True))
            self._user_words = []
        self._count += 1
        self._previous = self._last
        turn = self._open = self._last = _Turn(f"{self._prefix}-{self._count}")
        self._events.append(ResponseBegan(response_id=turn.id))
        return turn

    def _end_turn(self, outcome: Literal["completed", "interrupted"] = "completed") -> None:
        turn, self._open = self._open, None
        if turn is None:
            return
        if outcome == "completed":
            text = None if turn.announced else " ".join(turn.spoken).strip()
            self._events.append(ItemOver(response_id=turn.id, item_id=turn.id, text=text))
        self._events.append(ResponseOver(response_id=turn.id, outcome=outcome))

    def _interrupt(self, block: _Block | None) -> None:
        """Interrupt a turn. The service says so up to three times, also for a turn whose audio has ended."""
        turn = block.turn if block is not None and not block.final else self._last
        if turn is None or turn.interrupted:
            return
        turn.interrupted = True
        self._events.append(Interrupted(response_id=turn.id))
        if turn is self._open:
            self._end_turn("interrupted")

    def _correct(self, turn: _Turn) -> None:
        """Report the text of a turn that was spoken in other words than announced, once all of it is confirmed."""
        if turn.interrupted or turn.unconfirmed or not turn.announced:
            return
        spoken, announced = (" ".join(text.strip() for text in texts) for texts in (turn.spoken, turn.announced))
        if spoken != announced:
            self._events.append(ItemCorrected(response_id=turn.id, item_id=turn.id, text=spoken))

    def _on_usage(self, event: wire.UsageEvent) -> None:
        turn = self._last
        if usage := event.usage:
            self._events.append(UsageReported(usage=usage, response_id=turn.id if turn is not None else ""))
