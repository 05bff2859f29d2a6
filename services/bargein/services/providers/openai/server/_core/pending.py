"""Items that were not sent to the brain yet, and the frames that send them and make it answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bargein.pipeline import Frame, ToolResult, UserText
from bargein.services.frames import Commit, Configure, Respond

from .audio import UserAudio
from .items import ServerConversation, ServerItem

__all__ = ["PendingItems", "configuration"]


class PendingItems:
    """Items, tool results and tool calls that wait for the next turn."""

    def __init__(self) -> None:
        self._items: list[ServerItem] = []
        self._results: list[ToolResult] = []
        self._calls: set[str] = set()  # of the brain's latest response, without a result
        self._late_calls: set[str] = set()  # of earlier responses
        self._continues = False  # a result has come for a call of the latest response
        self._restore: Configure | None = None  # sets back what held for one response

    def __bool__(self) -> bool:
        """Whether there is anything new."""
        return bool(self._items or self._results)

    def add(self, item: ServerItem) -> None:
        """Add an item that the brain has not seen, or a result for one of its calls."""
        call_id = item.item.get("call_id")
        if item.item["type"] == "function_call_output" and call_id in self._calls | self._late_calls:
            self._continues = self._continues or call_id in self._calls
            self._calls.discard(call_id)
            self._late_calls.discard(call_id)
            self._results.append(ToolResult(call_id=call_id, output=item.item["output"]))
        else:
            self._items.append(item)

    def remove(self, item: ServerItem) -> None:
        """Forget an item, so that it is not sent to the brain."""
        if item in self._items:
            self._items.remove(item)

    def add_call(self, call_id: str) -> None:
        """Note that the brain has called a tool."""
        self._calls.add(call_id)

    def end_response(self, *, completed: bool) -> Iterator[Frame]:
        """Note that a response is over, and return what sets the session's settings back."""
        if not completed:
            self._calls.clear()  # the brain does not wait for their results, which are history now
        if self._restore is not None:
            yield self._restore
            self._restore = None

    def turn(
        self,
        settings: dict[str, Any] | None,
        session: dict[str, Any],
        conversation: ServerConversation,
        audio: UserAudio,
    ) -> Iterator[Frame]:
        """Return the frames that tell the brain all that is new, and make it answer.

        Tool results come first, then history, then the user's turn.

        Args:
            settings: What holds for a response that the client asked for; None where a spoken turn ended by itself.
            session: The session object.
            conversation: Holds the order of the items.
            audio: Decodes sound that came with an item.
        """
        history, new = self._take(conversation)
        results, self._results = self._results, []
        spoken = settings is None or any(item.audio or (item.ms and not item.text) for item in new)
        texts = [item for item in new if item.text]
        asks = not (spoken or texts or (self._continues and not self._calls))
        self._late_calls |= self._calls
        self._calls, self._continues = set(), False
        instructions = (settings or {}).get("instructions") or ""
        if settings is not None:
            yield from self._configure(settings, session, "" if asks else instructions)
        yield from results
        for item in history:
            yield from item.images
            yield from item.remembered()
        for item in new:
            yield from item.images
            yield from audio.decode_item(item.audio)
        if spoken:
            for item in texts:
                yield from item.remembered()
            yield Commit()
        elif texts:
            yield UserText(text="\n".join(item.text for item in texts), item_id=texts[-1].id)
        elif asks:
            yield Respond(instructions=instructions)

    def _take(self, conversation: ServerConversation) -> tuple[list[ServerItem], list[ServerItem]]:
        """Return what is new, in the conversation's order: history, and what the user says now."""
        waiting = {item.id for item in self._items}
        self._items = []
        items = [item for item in conversation if item.id in waiting]
        split = max((at + 1 for at, item in enumerate(items) if not _may_be_of_turn(item)), default=0)
        system = [item for item in items[split:] if item.item["role"] == "system"]
        return items[:split] + system, [item for item in items[split:] if item not in system]

    def _configure(self, settings: dict[str, Any], session: dict[str, Any], instructions: str) -> Iterator[Frame]:
        """Return what sets the settings of one response, and remember how to set them back."""
        override = {
            "instructions": instructions or session["instructions"],
            "tools": session["tools"] if settings["tools"] is None else settings["tools"],
            "voice": settings["audio"]["output"]["voice"],
        }
        usual = {name: session[name] for name in ("instructions", "tools")}
        usual["voice"] = session["audio"]["output"]["voice"]
        if (change := configuration(usual, override)) is not None:
            yield change
            self._restore = configuration(override, usual)


def configuration(before: dict[str, Any], after: dict[str, Any]) -> Configure | None:
    """Return what has changed of instructions, tools and voice, for the brain; None where nothing has."""
    changed = {name: after[name] for name in ("instructions", "tools", "voice") if after[name] != before[name]}
    if "tools" in changed:
        changed["schemas"] = tuple(changed.pop("tools"))
    if isinstance(changed.get("voice"), dict):
        changed["voice"] = changed["voice"].get("id") or changed["voice"].get("name")
    return Configure(**changed) if changed else None


def _may_be_of_turn(item: ServerItem) -> bool:
    """Return whether an item can be part of what the user says now."""
    return bool(item.item["type"] == "message" and item.item["role"] != "assistant")
