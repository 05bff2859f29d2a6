"""Whose block is whose: the service's blocks have ids, its turns have none. Here they are counted. No I/O."""

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

KEPT: Final = 64
"""How many blocks are remembered, for what comes late of them."""


class _Turn:
    """A turn of the agent's: one response with one item, both of this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.previewed: list[str] = []
        """Text that was announced, block by block."""
        self.spoken: list[str] = []
        """Text that was spoken, block by block."""
        self.interrupted = False

    @property
    def untold(self) -> bool:
        """Of some of what was announced it was not told that it was spoken."""
        return not self.interrupted and len(self.spoken) < len(self.previewed)


class _Block:
    """A block, from its beginning until it is forgotten."""

    def __init__(self, start: wire.ContentStart, turn: _Turn | None) -> None:
        self.sounds = start.type == "AUDIO"
        self.final = start.final
        self.turn = turn
        """The agent's turn it belongs to; None for what the user said."""
        self.begun = False
        """Some of its text has come."""


class NovaTurns:
    """The events of one connection: blocks come in, responses and transcripts come out.

    A turn begins with text that is about to be spoken, with sound, or with a call, where none is open. It ends with the
    `END_TURN` of a block that sounds or tells what was spoken, with a call, with an interruption, with the completion;
    and, where all that is missing, when the agent begins anew after the user has said something.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._blocks: dict[str, _Block] = {}
        self._open: _Turn | None = None
        self._last: _Turn | None = None  # that began, open or not
        self._before: _Turn | None = None
        self._said: list[str] = []  # by the user, since the agent's last turn began
        self._out: list[Event] = []

    def take(self, event: wire.Output) -> list[Event]:
        """What an event means."""
        self._out = []
        match event:
            case wire.ContentStart():
                self._started(event)
            case wire.TextOutput():
                self._text(event)
            case wire.AudioOutput():
                self._sound(event)
            case wire.ToolUse():
                self._call(event)
            case wire.ContentEnd():
                self._ended(event)
            case wire.UsageEvent():
                self._used(event)
            case wire.CompletionStart() | wire.CompletionEnd():
                self._close()
        return self._out

    # Blocks -------------------------------------------------------------------------------------------------------

    def _started(self, start: wire.ContentStart) -> None:
        turn = None if start.role == "USER" else self._whose(start)
        self._blocks[start.content_id] = _Block(start, turn)
        for old in list(self._blocks)[:-KEPT]:
            del self._blocks[old]

    def _whose(self, start: wire.ContentStart) -> _Turn | None:
        """The turn that a block of the agent's belongs to, which may begin with it."""
        if start.type == "TEXT" and start.final:
            # It tells of what was spoken, and may come when the turn is over, and the next has begun.
            return self._before if self._before is not None and self._before.untold else self._last
        if start.type == "AUDIO" and self._open is None and self._last is not None and self._last.interrupted:
            return self._last  # sound without its text is the rest of what was interrupted
        if start.type != "AUDIO" and self._said:
            self._close()  # its end was not told
        return self._open or self._begin()

    def _text(self, event: wire.TextOutput) -> None:
        block = self._blocks.get(event.content_id)
        if event.interrupted:
            self._interrupted(block)
        elif block is None or not event.content.strip():
            pass
        elif block.turn is None:
            self._user(event.content)
        else:
            self._said_by_agent(block, block.turn, event.content)

    def _said_by_agent(self, block: _Block, turn: _Turn, text: str) -> None:
        texts = turn.spoken if block.final else turn.previewed
        if block.begun:
            texts[-1] += text
        else:
            text = text.lstrip()
            texts.append(text)
            if len(texts) > 1:
                text = f" {text}"
        block.begun = True
        if not block.final:
            self._out.append(TextPiece(response_id=turn.name, item_id=turn.name, text=text))

    def _user(self, text: str) -> None:
        """The user's words come in pieces, of which nobody says that it is the last."""
        self._said.append(text.strip())
        item = f"{self._name}-u{self._count}"
        self._out.append(Transcribed(item_id=item, text=" ".join(self._said)))
        if self._open is None:
            self._out.append(AudioCommitted(item_id=item, answered=True))

    def _sound(self, event: wire.AudioOutput) -> None:
        block = self._blocks.get(event.content_id)
        if block is not None and block.turn is not None:
            name = block.turn.name
            self._out.append(AudioPiece(response_id=name, item_id=name, pcm=event.content))

    def _call(self, event: wire.ToolUse) -> None:
        block = self._blocks.get(event.content_id)
        turn = (block.turn if block is not None else None) or self._open or self._begin()
        self._out.append(
            ToolCallReceived(
                response_id=turn.name, call_id=event.tool_use_id, name=event.tool_name, arguments=event.arguments
            )
        )

    def _ended(self, end: wire.ContentEnd) -> None:
        block = self._blocks.get(end.content_id)
        turn = block.turn if block is not None else None
        if end.stop_reason == "INTERRUPTED":
            self._interrupted(block)
        elif end.stop_reason == "TOOL_USE":
            self._close()  # the answer to its result is a turn of its own
        if block is None or turn is None:
            return
        announced = not block.sounds and not block.final  # which ends nothing: its sound is still to come
        if end.stop_reason == "END_TURN" and turn is self._open and not announced:
            self._close()
        if block.final:
            self._corrected(turn)

    # NovaTurns --------------------------------------------------------------------------------------------------------

    def _begin(self) -> _Turn:
        if self._said:
            item = f"{self._name}-u{self._count}"
            self._out.append(Transcribed(item_id=item, text=" ".join(self._said), final=True))
            self._said = []
        self._count += 1
        self._before = self._last
        turn = self._open = self._last = _Turn(f"{self._name}-{self._count}")
        self._out.append(ResponseBegan(response_id=turn.name))
        return turn

    def _close(self, outcome: Literal["completed", "interrupted"] = "completed") -> None:
        turn, self._open = self._open, None
        if turn is None:
            return
        if outcome == "completed":
            said = None if turn.previewed else " ".join(turn.spoken).strip()
            self._out.append(ItemOver(response_id=turn.name, item_id=turn.name, text=said))
        self._out.append(ResponseOver(response_id=turn.name, outcome=outcome))

    def _interrupted(self, block: _Block | None) -> None:
        """Said up to three times of one interruption, and also of a turn whose sound has come to its end."""
        turn = block.turn if block is not None and not block.final else self._last
        if turn is None or turn.interrupted:
            return
        turn.interrupted = True
        self._out.append(Interrupted(response_id=turn.name))
        if turn is self._open:
            self._close("interrupted")

    def _corrected(self, turn: _Turn) -> None:
        """All that was announced has been spoken; perhaps in other words."""
        if turn.interrupted or turn.untold or not turn.previewed:
            return
        said, announced = (" ".join(text.strip() for text in texts) for texts in (turn.spoken, turn.previewed))
        if said != announced:
            self._out.append(ItemCorrected(response_id=turn.name, item_id=turn.name, text=said))

    def _used(self, event: wire.UsageEvent) -> None:
        turn = self._last
        if usage := event.usage:
            self._out.append(UsageReported(usage=usage, response_id=turn.name if turn is not None else ""))
