"""`History`: a conversation with its words, pictures and tool calls. Of the agent's words it keeps those that were
heard."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Self, TypedDict, Unpack

import anyio
import msgspec

from bargein.pipeline.lowlevel import check_options
from bargein.services.sockets.text import clean

from .entries import EntryList
from .entry import Entry, Picture
from .json import decode_entries, encode_entries
from .messages import from_messages, to_messages

__all__ = ["History", "HistoryOptions", "HistoryStatistics", "Summarise"]

log = logging.getLogger("bargein.history")

SUMMARY_SECONDS = 30.0
"""Maximum time for a summary, in seconds."""
ENTRIES_BETWEEN_SUMMARIES = 10
"""Number of entries that must be added before the next attempt at a summary."""

Summarise = Callable[[Sequence[Entry]], Awaitable[str]]
"""An async function that turns the oldest entries into a text that replaces them. `cascade.summarise_with(llm)` makes
one from a language model."""


class HistoryOptions(TypedDict, total=False):
    """The options of a `History`."""

    max_entries: int
    max_characters: int | None
    max_pictures: int
    summarise: Summarise | None


class HistoryStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of a `History`: what it holds now, and what it has dropped."""

    entries: dict[str, int]
    """The number of entries, by role."""
    characters: int
    """Characters that a model has to read in them."""
    forgotten: int
    """Entries that were dropped because there was no room."""
    summarised: int
    """Entries that were replaced by a summary."""
    failed: int
    """Summaries that failed."""
    pictures: int
    """Pictures that are kept."""
    picture_bytes: int
    """Bytes of those pictures."""


class History:
    """A conversation: its messages and tool calls, in the order in which they began.

    Of the agent's words it keeps those that the user heard. It is bounded: when there is no room, the oldest entries
    are dropped. With `summarise`, the brain replaces the older half by a summary before that happens, in a task beside
    the conversation. If a summary fails, or takes more than 30 seconds, the entries stay as they are.

    Args:
        max_entries: Maximum number of entries. `system` entries and calls without a result are dropped last.
        max_characters: Maximum number of characters in all entries; None for no limit.
        max_pictures: Number of the newest pictures that keep their data.
        summarise: An async function that turns entries into a text. It is called when three quarters of the room are
            used. None: the oldest entries are dropped without a summary.

    Raises:
        ValueError: A limit is not positive.
    """

    @check_options
    def __init__(
        self,
        max_entries: int = 500,
        *,
        max_characters: int | None = None,
        max_pictures: int = 8,
        summarise: Summarise | None = None,
    ) -> None:
        self.entries = EntryList(max_entries, max_characters, max_pictures)
        """The stored entries. Read them by iterating over the history; change them with the methods below."""
        self._summarise = summarise
        self._failed = self._next_summary_at = 0
        self._condensing = False

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<History of {len(self)} entries>"

    @property
    def has_begun(self) -> bool:
        """Whether the user or the agent has said anything: there is an entry of another role than `system`."""
        return any(entry.role != "system" for entry in self.entries)

    @property
    def last(self) -> Entry | None:
        """The newest entry; None if there is no entry."""
        return next(reversed(self.entries), None)

    @property
    def remembered(self) -> list[Entry]:
        """The entries that tell a model something: words (of the agent the heard ones), pictures, and calls with a
        result."""
        return [entry for entry in self.entries if entry.worth]

    def for_model(self, *, images: bool) -> list[Entry]:
        """Return the entries that tell a model something.

        Args:
            images: Whether the model can look at pictures. If not, entries that hold only pictures are left out.
        """
        return [entry for entry in self.entries if entry.worth_to(images=images)]

    def statistics(self) -> HistoryStatistics:
        """Return the counters: what the conversation holds now, and what it has dropped."""
        roles = [entry.role for entry in self.entries]
        kept = [picture for entry in self.entries for picture in entry.available_pictures]
        return HistoryStatistics(
            entries={role: roles.count(role) for role in dict.fromkeys(roles)},
            characters=self.entries.characters,
            forgotten=self.entries.forgotten,
            summarised=sum(entry.summarises for entry in self.entries),
            failed=self._failed,
            pictures=len(kept),
            picture_bytes=sum(len(picture.data) for picture in kept),
        )

    # Writing it down ----------------------------------------------------------------------------------------------

    def system(self, text: str, item_id: str = "") -> Entry:
        """Add information for the model that neither the user nor the agent has said.

        Args:
            text: What the model should know.
            item_id: Id of the item; empty for none.
        """
        return self.entries.add(Entry(role="system", item_id=item_id, text=clean(text)))

    def user(self, text: str, item_id: str = "") -> Entry:
        """Record what the user said or typed.

        Args:
            text: The words.
            item_id: Id of the item. If the item exists already, the text replaces its text.
        """
        entry = self.entries.find("user", item_id) if item_id else None
        if entry is None:
            return self.entries.add(Entry(role="user", item_id=item_id, text=clean(text)))
        entry.text = clean(text)
        return entry

    def begin(self, item_id: str) -> Entry:
        """Add an empty entry for an item of the user whose words are not known yet, to keep its place.

        Args:
            item_id: Id of the item.
        """
        known = self.entries.find("user", item_id) if item_id else None
        return known or self.entries.add(Entry(role="user", item_id=item_id))

    def show(self, picture: Picture, item_id: str = "") -> Entry:
        """Add a picture that the user showed.

        Args:
            picture: The picture.
            item_id: Id of the item to which the picture belongs.
        """
        entry = self.entries.add(Entry(role="user", item_id=item_id, pictures=(picture,)))
        self.entries.drop_old_pictures()
        return entry

    def assistant(self, text: str, item_id: str = "", response_id: str = "") -> Entry:
        """Append text to an item of the agent; the item begins with its first text.

        Args:
            text: The piece of text.
            item_id: Id of the item.
            response_id: Id of the response.
        """
        entry = self.entries.find("assistant", item_id, response_id)
        if entry is None:
            entry = self.entries.add(Entry(role="assistant", item_id=item_id, response_id=response_id))
        entry.text += clean(text)
        return entry

    def correct(self, text: str, item_id: str = "", response_id: str = "") -> None:
        """Replace the text of an item of the agent, because it was spoken in other words than announced.

        Args:
            text: The complete text.
            item_id: Id of the item.
            response_id: Id of the response.
        """
        entry = self.entries.find("assistant", item_id, response_id)
        if entry is not None:
            entry.text = clean(text)

    def set_heard(self, text: str, item_id: str = "", response_id: str = "") -> None:
        """Record which part of an item of the agent was heard.

        Args:
            text: The part of the text that was heard.
            item_id: Id of the item.
            response_id: Id of the response.
        """
        entry = self.entries.find("assistant", item_id, response_id)
        if entry is not None:
            entry.heard = clean(text)

    def call(self, call_id: str, name: str, arguments: str, response_id: str = "") -> Entry:
        """Record a tool call of the agent.

        If the id is known already, this is the same call and no entry is added. But if the known call belongs to
        another response and has a result, this is a new call, because some models reuse ids.

        Args:
            call_id: Id of the call.
            name: Name of the tool.
            arguments: The arguments, as JSON.
            response_id: Id of the response that contains the call.
        """
        known = self.find_call(call_id)
        if known is not None and (known.open or not response_id or known.response_id == response_id):
            return known
        entry = Entry(role="call", call_id=call_id, name=name, arguments=clean(arguments), response_id=response_id)
        return self.entries.add(entry)

    def find_call(self, call_id: str) -> Entry | None:
        """Return the newest call of an id, or None.

        Args:
            call_id: Id of the call.
        """
        return self.entries.find_call(call_id)

    def result(self, call_id: str, output: str) -> Entry | None:
        """Record the result of a call. Return its entry, or None if there is no such call.

        Args:
            call_id: Id of the call.
            output: The result of the tool, or the error, as text for the model.
        """
        entry = self.find_call(call_id)
        if entry is not None:
            entry.output = clean(output)
        return entry

    def remember(
        self,
        role: Literal["system", "user", "assistant", "call", "result"],
        text: str,
        item_id: str = "",
        *,
        call_id: str = "",
        name: str = "",
    ) -> Entry | None:
        """Add an entry that was not said in this session, such as one of an earlier conversation.

        Args:
            role: The speaker; `call` for a tool call, `result` for the result of one.
            text: The words, the arguments of the call, or its result.
            item_id: Id of the item of the words; empty for none.
            call_id: Id of the call.
            name: Name of the tool that was called.

        Returns:
            The entry; None for the result of a call that does not exist.
        """
        if role == "call":
            return self.call(call_id, name, text)
        if role == "result":
            return self.result(call_id, text)
        if role == "user":
            return self.user(text, item_id)
        if role == "system":
            return self.system(text, item_id)
        return self.assistant(text, item_id, f"remembered-{item_id}")

    def forget(self, item_id: str) -> None:
        """Remove an item.

        Args:
            item_id: Id of the item.
        """
        self.entries.remove_item(item_id)

    def discard(self, entry: Entry) -> None:
        """Remove an entry, such as a reply of which the user heard nothing. An entry that is not there is ignored.

        Args:
            entry: The entry object itself; an equal one is not removed.
        """
        self.entries.remove(entry)

    # Saving and loading -------------------------------------------------------------------------------------------

    def to_json(self) -> bytes:
        """Return the whole conversation as JSON, pictures in base64. `from_json` reads it."""
        return encode_entries(self.entries, self.entries.forgotten)

    @classmethod
    def from_json(cls, data: bytes | str, **options: Unpack[HistoryOptions]) -> Self:
        """Load a conversation that `to_json` saved.

        Args:
            data: The result of `to_json`.
            options: The options of the new `History`.

        Raises:
            ValueError: The data is something else; the message says what is wrong, and where.
        """
        history = cls(**options)
        history.entries.extend(*decode_entries(data))
        return history

    def to_messages(self) -> list[dict[str, Any]]:
        """Return the remembered entries as messages of OpenAI's chat completions."""
        return to_messages(self.remembered)

    @classmethod
    def from_messages(cls, messages: Iterable[dict[str, Any]], **options: Unpack[HistoryOptions]) -> Self:
        """Create a conversation from messages of OpenAI's chat completions.

        Args:
            messages: Dictionaries with `role` and `content`. Fields that are not known are ignored.
            options: The options of the new `History`.

        Raises:
            ValueError: A message cannot be read; the error says which one, counted from 0.
        """
        history = cls(**options)
        history.entries.extend(from_messages(messages), 0)
        return history

    # Summaries ----------------------------------------------------------------------------------------------------

    @property
    def crowded(self) -> bool:
        """Whether it is time to call `condense`."""
        if self._summarise is None or self._condensing or self.entries.added < self._next_summary_at:
            return False
        return self.entries.crowded

    async def condense(self) -> bool:
        """Replace the older half by a summary. The conversation may continue in the meantime.

        Returns:
            Whether it was replaced.
        """
        taken = self.entries.older_half()
        if self._summarise is None or self._condensing or not taken:
            return False
        self._condensing, text = True, ""
        try:
            with anyio.move_on_after(SUMMARY_SECONDS):
                text = (await self._summarise(tuple(taken))).strip()
        except Exception as error:  # the application's code or a provider failed, which must not end the call
            log.warning("a summary of the conversation failed: %s", type(error).__name__)
        finally:
            self._condensing = False
            self._next_summary_at = self.entries.added + ENTRIES_BETWEEN_SUMMARIES
        replaced = self.entries.replace(taken, text)
        self._failed += not replaced
        return replaced
