"""The conversation: what was said and shown, what was called, and of the agent's words those that were heard."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio
import msgspec

from bargein.services.cascade.summary import by_model, oldest
from bargein.services.sockets.text import clean

from . import _json as _history_json
from . import messages as _history_messages

if TYPE_CHECKING:
    from bargein.services.cascade.parts import LanguageModel

__all__ = ["Entry", "History", "HistoryStatistics", "Picture", "Summarise"]

log = logging.getLogger("bargein.history")

Role = Literal["system", "user", "assistant", "call"]
SUMMARY_S = 30.0
"""How long a summary may take."""
AGAIN = 10
"""How many entries after one that failed the next summary is tried."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """An encoded picture."""

    media: str
    """Its media type, such as `image/jpeg`."""
    data: bytes
    """The encoded picture; empty when it has been forgotten."""
    detail: str = ""
    """How closely a model should look, in its own words (`low`, `high`); empty for its default."""


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One message or tool call."""

    role: Role
    item_id: str = ""
    """Its id; transcripts and corrections find it by that."""
    text: str = ""
    """What was said: by the agent, as far as it was written."""
    heard: str | None = None
    """What of the agent's text was heard; None as long as nobody has said."""
    pictures: tuple[Picture, ...] = ()
    """What the user showed."""
    response_id: str = ""
    """Which response it belongs to."""
    call_id: str = ""
    """The id of a tool call."""
    name: str = ""
    """The tool."""
    arguments: str = "{}"
    """What it was called with."""
    output: str | None = None
    """What it answered; None until then."""
    summarises: int = 0
    """How many entries it stands for, if it is a summary."""

    @property
    def remembered(self) -> str:
        """What a model should remember of it."""
        return self.text if self.heard is None else self.heard

    @property
    def seen(self) -> tuple[Picture, ...]:
        """The pictures that have not been forgotten."""
        return tuple(each for each in self.pictures if each.data)

    @property
    def worth(self) -> bool:
        """There is something in it to remember: words, a picture, or a call with its answer."""
        return self.output is not None if self.role == "call" else bool(self.remembered.strip() or self.seen)

    def worth_to(self, *, images: bool) -> bool:
        """The same for a model that looks at pictures, or does not."""
        return self.worth and (images or self.role == "call" or bool(self.remembered.strip()))

    @property
    def open(self) -> bool:
        """It is a call that has not been answered."""
        return self.role == "call" and self.output is None

    @property
    def characters(self) -> int:
        """How much there is to read in it; about four are a token, in English."""
        return len(self.remembered) + (len(self.arguments) + len(self.output or "")) * (self.role == "call")


Summarise = Callable[[Sequence[Entry]], Awaitable[str]]
"""Makes of a conversation's oldest entries a text that stands for them."""


class HistoryStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation, so far."""

    entries: dict[str, int]
    """How many there are, by role."""
    characters: int
    """How much there is to read in them."""
    forgotten: int
    """Entries that there was no room for, the oldest."""
    summarised: int
    """Entries that a summary stands for."""
    failed: int
    """Summaries that did not come about."""
    pictures: int
    """Pictures that are kept."""
    picture_bytes: int
    """How many bytes they have."""


class History:
    """The entries in the order in which they began, each once.

    It is bounded: beyond `capacity` entries, or `most_characters` when the next one begins, the oldest are forgotten,
    `system` entries and calls without their answer last; and of all but the newest `pictures` pictures the bytes.

    With `summarise`, an async function of entries or a language model, nothing need be forgotten: whoever answers has
    the older half turned into one `system` entry, beside the dialogue, when three quarters of the room are taken
    (`crowded`, `condense`). If that fails or takes longer than half a minute, everything stays as it was.

    Raises `ValueError` for limits that are not positive.
    """

    def __init__(
        self,
        capacity: int = 500,
        *,
        most_characters: int | None = None,
        pictures: int = 8,
        summarise: Summarise | LanguageModel | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"History(capacity={capacity}): expected a positive number of entries")
        if most_characters is not None and most_characters < 1:
            raise ValueError(f"History(most_characters={most_characters}): expected a positive number, or None")
        if pictures < 0:
            raise ValueError(f"History(pictures={pictures}): expected a number of pictures, 0 or more")
        self.capacity = capacity
        self.most_characters = most_characters
        self.pictures = pictures
        model: Any = summarise
        self._summarise: Summarise | None = by_model(model) if hasattr(summarise, "answer") else model
        self._entries: list[Entry] = []
        self._forgotten = self._failed = self._added = self._again = 0
        self._condensing = False

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<History of {len(self)} entries>"

    @property
    def last(self) -> Entry | None:
        """The latest entry."""
        return self._entries[-1] if self._entries else None

    @property
    def remembered(self) -> list[Entry]:
        """What is worth to be given to a model: heard words, pictures, and calls that were answered."""
        return [entry for entry in self._entries if entry.worth]

    def for_model(self, *, images: bool) -> list[Entry]:
        """The same, without entries that are pictures alone where a model cannot look at them."""
        return [entry for entry in self._entries if entry.worth_to(images=images)]

    def statistics(self) -> HistoryStatistics:
        """What there is, and what is no more."""
        roles = [entry.role for entry in self._entries]
        kept = [picture for entry in self._entries for picture in entry.seen]
        return HistoryStatistics(
            entries={role: roles.count(role) for role in dict.fromkeys(roles)},
            characters=self._characters,
            forgotten=self._forgotten,
            summarised=sum(entry.summarises for entry in self._entries),
            failed=self._failed,
            pictures=len(kept),
            picture_bytes=sum(len(picture.data) for picture in kept),
        )

    # What is said -------------------------------------------------------------------------------------------------

    def system(self, text: str, item: str = "") -> Entry:
        """What the model should know, and nobody has said."""
        return self._add(Entry(role="system", item_id=item, text=clean(text)))

    def user(self, text: str, item: str = "") -> Entry:
        """The user said or wrote this; again with the same item, it replaces what was known."""
        entry = self._of("user", item) if item else None
        if entry is None:
            return self._add(Entry(role="user", item_id=item, text=clean(text)))
        entry.text = clean(text)
        return entry

    def begin(self, item: str) -> Entry:
        """The user has said something; what, may be known already."""
        return (self._of("user", item) if item else None) or self._add(Entry(role="user", item_id=item))

    def show(self, picture: Picture, item: str = "") -> Entry:
        """The user showed a picture."""
        entry = self._add(Entry(role="user", item_id=item, pictures=(picture,)))
        self._look_away()
        return entry

    def assistant(self, text: str, item: str = "", response: str = "") -> Entry:
        """The agent goes on with an item."""
        entry = self._of("assistant", item, response)
        if entry is None:
            entry = self._add(Entry(role="assistant", item_id=item, response_id=response))
        entry.text += clean(text)
        return entry

    def corrected(self, text: str, item: str = "", response: str = "") -> None:
        """An item of the agent's was spoken in these words, and not in those that were announced."""
        entry = self._of("assistant", item, response)
        if entry is not None:
            entry.text = text

    def heard(self, text: str, item: str = "", response: str = "") -> None:
        """Of an item of the agent's, this was heard."""
        entry = self._of("assistant", item, response)
        if entry is not None:
            entry.heard = clean(text)

    def call(self, call: str, name: str, arguments: str, response: str = "") -> Entry:
        """The agent called a tool. An id that another response gave before, and that was answered, is a new call."""
        known = self.called(call)
        if known is not None and (known.open or not response or known.response_id == response):
            return known
        return self._add(Entry(role="call", call_id=call, name=name, arguments=clean(arguments), response_id=response))

    def called(self, call: str) -> Entry | None:
        """The call of an id; None when nobody made it."""
        return next(
            (entry for entry in reversed(self._entries) if entry.role == "call" and entry.call_id == call), None
        )

    def result(self, call: str, output: str) -> Entry | None:
        """A tool answered; None when nobody called it."""
        entry = self.called(call)
        if entry is not None:
            entry.output = clean(output)
        return entry

    def remember(
        self,
        role: Literal["system", "user", "assistant", "call", "result"],
        text: str,
        item: str = "",
        *,
        call: str = "",
        name: str = "",
    ) -> Entry | None:
        """What was not said here, but is part of the conversation: words, a call's arguments, or its result."""
        if role == "call":
            return self.call(call, name, text)
        if role == "result":
            return self.result(call, text)
        if role == "user":
            return self.user(text, item)
        if role == "system":
            return self.system(text, item)
        return self.assistant(text, item, f"remembered-{item}")

    def forget(self, item: str) -> None:
        """An item is no part of the conversation."""
        self._entries = [entry for entry in self._entries if not item or entry.item_id != item]

    # In and out ---------------------------------------------------------------------------------------------------

    def to_json(self) -> bytes:
        """All of it as JSON, pictures in base64; `from_json` makes the same of it."""
        return _history_json.saved(self._entries, self._forgotten)

    @classmethod
    def from_json(cls, data: bytes | str, **options: Any) -> Self:
        """The conversation that `to_json` has saved, with the options of a new one.

        Raises `ValueError` for what is none, with the place.
        """
        entries, forgotten = _history_json.loaded(data)
        return cls(**options)._with(entries, forgotten)

    def to_messages(self) -> list[dict[str, Any]]:
        """What is remembered as messages of OpenAI's chat completions: roles, `tool_calls`, pictures as data URIs."""
        return _history_messages.to_messages(self.remembered)

    @classmethod
    def from_messages(cls, messages: Iterable[dict[str, Any]], **options: Any) -> Self:
        """A conversation of such messages, with the options of a new one. Other fields of theirs are ignored.

        Raises `ValueError` for a message that is none, with its number.
        """
        return cls(**options)._with(_history_messages.from_messages(messages), 0)

    def _with(self, entries: Iterable[Entry], forgotten: int) -> Self:
        self._forgotten = forgotten
        for entry in entries:
            self._add(entry)
        self._look_away()
        return self

    # Bounds -------------------------------------------------------------------------------------------------------

    @property
    def crowded(self) -> bool:
        """It is time to `condense`: there is somebody who summarises, and three quarters of the room are taken."""
        if self._summarise is None or self._condensing or self._added < self._again:
            return False
        full = 4 * len(self._entries) > 3 * self.capacity
        return full or (self.most_characters is not None and 4 * self._characters > 3 * self.most_characters)

    async def condense(self) -> bool:
        """Turn the older half into a summary; returns whether that came about. The conversation may go on meanwhile.

        What is taken ends before a turn of the user's, and has no call without its answer. `crowded` says when.
        """
        taken = oldest(self._entries)
        if self._summarise is None or self._condensing or not taken:
            return False
        self._condensing, text = True, ""
        try:
            with anyio.move_on_after(SUMMARY_S):
                text = (await self._summarise(tuple(taken))).strip()
        except Exception as error:  # whatever it is: the conversation is more important
            log.warning("a summary of the conversation failed: %s", type(error).__name__)
        finally:
            self._condensing, self._again = False, self._added + AGAIN
        return self._replace(taken, text)

    def _replace(self, taken: list[Entry], text: str) -> bool:
        """Put a summary where the entries were that it stands for, if it is one: shorter than they are."""
        there = [at for at, entry in enumerate(self._entries) if any(entry is each for each in taken)]
        if not there or not 0 < len(text) < sum(entry.characters for entry in taken):
            self._failed += 1
            return False
        stands = sum(entry.summarises or 1 for entry in taken)
        self._entries[there[0]] = Entry(role="system", text=text, summarises=stands)
        for at in reversed(there[1:]):
            del self._entries[at]
        return True

    @property
    def _characters(self) -> int:
        return sum(entry.characters for entry in self._entries)

    def _of(self, role: Role, item: str, response: str = "") -> Entry | None:
        for entry in reversed(self._entries):
            if entry.role == role and entry.item_id == item and entry.response_id == response:
                return entry
        return None

    def _add(self, entry: Entry) -> Entry:
        self._entries.append(entry)
        self._added += 1
        while len(self._entries) > 1 and self._full:
            old = self._entries.pop(self._least())
            self._forgotten += old.summarises or 1
        return entry

    @property
    def _full(self) -> bool:
        if len(self._entries) > self.capacity:
            return True
        return self.most_characters is not None and self._characters > self.most_characters

    def _least(self) -> int:
        """The oldest entry but the newest, what somebody waits for last."""
        for spared in ({"system", "open"}, {"open"}, set[str]()):
            for at, entry in enumerate(self._entries[:-1]):
                if entry.role not in spared and not ("open" in spared and entry.open):
                    return at
        return 0

    def _look_away(self) -> None:
        """Forget the bytes of older pictures, and entries that are nothing else."""
        room = self.pictures
        for entry in reversed(self._entries):
            if entry.pictures:
                kept = [msgspec.structs.replace(each, data=b"") for each in entry.pictures]
                for at in reversed(range(len(kept))):
                    if entry.pictures[at].data and room:
                        kept[at], room = entry.pictures[at], room - 1
                entry.pictures = tuple(kept)
        empty = [each for each in self._entries if each.pictures and not each.seen and not each.remembered.strip()]
        self._forgotten += len(empty)
        self._entries = [entry for entry in self._entries if not any(entry is each for each in empty)]
