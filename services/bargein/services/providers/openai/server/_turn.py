"""What the brain has not been told yet, and how it is told when it is to answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bargein.pipeline import Frame, ToolResult, UserText
from bargein.services.frames import Commit, Configure, Respond

from ._audio import UserAudio
from ._items import ServerConversation, ServerItem

__all__ = ["Waiting", "configuration"]


class Waiting:
    """Items, results and calls that wait for the next turn."""

    def __init__(self) -> None:
        self._entries: list[ServerItem] = []
        self._results: list[ToolResult] = []
        self._calls: set[str] = set()  # of the brain's latest response, without a result
        self._late: set[str] = set()  # of earlier ones
        self._goes_on = False  # a result has come for the latest response
        self._restore: Configure | None = None

    def __bool__(self) -> bool:
        """Whether there is anything new."""
        return bool(self._entries or self._results)

    def add(self, entry: ServerItem) -> None:
        """An item that the brain has not seen, or a result for one of its calls."""
        call = entry.item.get("call_id")
        if entry.item["type"] == "function_call_output" and call in self._calls | self._late:
            self._goes_on = self._goes_on or call in self._calls
            self._calls.discard(call)
            self._late.discard(call)
            self._results.append(ToolResult(call_id=call, output=entry.item["output"]))
        else:
            self._entries.append(entry)

    def remove(self, entry: ServerItem) -> None:
        """An item that need not be told."""
        if entry in self._entries:
            self._entries.remove(entry)

    def called(self, call: str) -> None:
        """The brain has called a tool."""
        self._calls.add(call)

    def ended(self, *, whole: bool) -> Iterator[Frame]:
        """A response is over: the settings of the session hold again."""
        if not whole:
            self._calls.clear()  # the brain does not wait for them: results are history
        if self._restore is not None:
            yield self._restore
            self._restore = None

    def turn(
        self,
        settings: dict[str, Any] | None,
        session: dict[str, Any],
        conversation: ServerConversation,
        ears: UserAudio,
    ) -> Iterator[Frame]:
        """All that is new, for the brain to answer: results first, then history, then the user's turn.

        `settings` are those of a `response.create`; None when a spoken turn has ended by itself.
        """
        history, new = self._take(conversation)
        results, self._results = self._results, []
        spoken = settings is None or any(entry.sound or (entry.ms and not entry.text) for entry in new)
        texts = [entry for entry in new if entry.text]
        asks = not (spoken or texts or (self._goes_on and not self._calls))
        self._late |= self._calls
        self._calls, self._goes_on = set(), False
        instructions = (settings or {}).get("instructions") or ""
        if settings is not None:
            yield from self._configure(settings, session, "" if asks else instructions)
        yield from results
        for entry in history:
            yield from entry.told_apart()
        for entry in new:
            yield from entry.images
            yield from ears.apart(entry.sound)
        if spoken:
            for entry in texts:
                yield from entry.remembered()
            yield Commit()
        elif texts:
            yield UserText(text="\n".join(entry.text for entry in texts), item_id=texts[-1].id)
        elif asks:
            yield Respond(instructions=instructions)

    def _take(self, conversation: ServerConversation) -> tuple[list[ServerItem], list[ServerItem]]:
        """What is new, in the conversation's order: history, and what the user says now."""
        waiting = {entry.id for entry in self._entries}
        self._entries = []
        entries = [entry for entry in conversation if entry.id in waiting]
        split = max((at + 1 for at, entry in enumerate(entries) if not _of_turn(entry)), default=0)
        system = [entry for entry in entries[split:] if entry.item["role"] == "system"]
        return entries[:split] + system, [entry for entry in entries[split:] if entry not in system]

    def _configure(self, settings: dict[str, Any], session: dict[str, Any], instructions: str) -> Iterator[Frame]:
        """Set what holds for one response, and remember to set it back."""
        override = {
            "instructions": instructions or session["instructions"],
            "tools": session["tools"] if settings["tools"] is None else settings["tools"],
            "voice": settings["audio"]["output"]["voice"],
        }
        usual = {name: session[name] for name in ("instructions", "tools")}
        usual["voice"] = session["audio"]["output"]["voice"]
        if (now := configuration(usual, override)) is not None:
            yield now
            self._restore = configuration(override, usual)


def configuration(before: dict[str, Any], after: dict[str, Any]) -> Configure | None:
    """What of instructions, tools and voice has changed, for the brain; None when nothing has."""
    changed = {name: after[name] for name in ("instructions", "tools", "voice") if after[name] != before[name]}
    if "tools" in changed:
        changed["schemas"] = tuple(changed.pop("tools"))
    if isinstance(changed.get("voice"), dict):
        changed["voice"] = changed["voice"].get("id") or changed["voice"].get("name")
    return Configure(**changed) if changed else None


def _of_turn(entry: ServerItem) -> bool:
    """Whether it can be part of what the user says now."""
    return bool(entry.item["type"] == "message" and entry.item["role"] != "assistant")
