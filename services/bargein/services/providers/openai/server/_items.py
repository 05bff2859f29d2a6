"""The items of a conversation: what a client may create, in which order they stand, what the brain is told of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from bargein.pipeline import Frame, Image
from bargein.services.frames import Remember
from bargein.services.providers.openai import wire

from ._errors import RequestError, missing, wrong_value

__all__ = ["ServerConversation", "ServerItem", "checked"]

CONTENT = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text", "output_audio"),
}
LONGEST_ID = 32


class ServerItem:
    """An item, and what the server knows beside it."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.item = item
        """As the client sees it."""
        self.text = ""
        """The user's words, if it is a message with text."""
        self.images: list[Image] = []
        """The user's pictures."""
        self.sound = b""
        """The user's sound, if it came with the item."""
        self.ms = 0.0
        """How long its sound is: the user's, or as much of the agent's as was sent."""
        self.told = ""
        """How much of its transcript the client has."""
        self.final = False
        """Its transcript will not change any more."""
        self.brain = ("", "")
        """The brain's own names for the response and the item, if it is the agent's."""
        self.open = False
        """It is the agent's and was sent, and nobody has said yet how much of it was heard."""

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.item["id"])

    def remembered(self) -> Iterator[Remember]:
        """It as history, if it has words."""
        item = self.item
        if item["type"] == "function_call":
            yield Remember(
                role="call", text=item["arguments"], item_id=self.id, call_id=item["call_id"], name=item["name"]
            )
        elif item["type"] == "function_call_output":
            yield Remember(role="result", text=item["output"], item_id=self.id, call_id=item["call_id"])
        elif self.text:
            yield Remember(role=item["role"], text=self.text, item_id=self.id)

    def told_apart(self) -> Iterator[Frame]:
        """It as history, with its pictures."""
        yield from self.images
        yield from self.remembered()


class ServerConversation:
    """Items in their order."""

    def __init__(self) -> None:
        self._order: list[str] = []
        self._entries: dict[str, ServerItem] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._entries

    def __iter__(self) -> Iterator[ServerItem]:
        return (self._entries[id] for id in self._order)

    @property
    def last(self) -> str | None:
        """The id of the last item."""
        return self._order[-1] if self._order else None

    def get(self, id: str) -> ServerItem | None:
        """An item."""
        return self._entries.get(id)

    def add(self, entry: ServerItem, after: str | None = None) -> str | None:
        """Put an item at the end, behind another one, or first (`root`); returns the id of the one before it.

        Raises `RequestError` for an id that is taken, and for one that is not there.
        """
        if entry.id in self._entries:
            raise RequestError(
                "item_create_duplicate_item_id",
                f"Error adding item: the item with id '{entry.id}' already exists.",
                "item.id",
            )
        if after == "root":
            at = 0
        elif after is None:
            at = len(self._order)
        elif after in self._entries:
            at = self._order.index(after) + 1
        else:
            raise RequestError(
                "item_create_invalid_previous_item_id",
                f"Error adding item: the previous item with id '{after}' does not exist.",
                "previous_item_id",
            )
        self._order.insert(at, entry.id)
        self._entries[entry.id] = entry
        return self._order[at - 1] if at else None

    def before(self, id: str) -> str | None:
        """The id of the item before an item."""
        at = self._order.index(id) if id in self._entries else 0
        return self._order[at - 1] if at else None

    def need(self, id: str, doing: str, verb: str) -> ServerItem:
        """An item that a client names. Raises `RequestError` when it is not there."""
        entry = self._entries.get(id)
        if entry is None:
            raise RequestError(
                f"item_{verb}_invalid_item_id",
                f"Error {doing} item: the item with id '{id}' does not exist.",
                "item_id",
            )
        return entry

    def remove(self, entry: ServerItem) -> None:
        """Take an item out."""
        self._order.remove(entry.id)
        del self._entries[entry.id]


def checked(item: wire.WireItem, id: str, call: str) -> ServerItem:
    """An item that a client creates; `id` and `call` are for what it leaves out. Raises `RequestError`."""
    if item.id is not None and not 0 < len(item.id) <= LONGEST_ID:
        raise RequestError(
            "string_above_max_length",
            f"Invalid 'item.id': string of length {len(item.id)}. Expected 1 to {LONGEST_ID} characters.",
            "item.id",
        )
    base: dict[str, Any] = {"id": item.id or id, "type": item.type}
    if item.type == "message":
        return _message(item, base)
    if item.type == "function_call":
        for name in ("name", "arguments"):
            if getattr(item, name) is None:
                raise missing(f"item.{name}")
        base |= {"status": "completed", "name": item.name, "call_id": item.call_id or call}
        return ServerItem({**base, "arguments": item.arguments})
    if item.type == "function_call_output":
        for name in ("call_id", "output"):
            if getattr(item, name) is None:
                raise missing(f"item.{name}")
        return ServerItem({**base, "call_id": item.call_id, "output": item.output})
    raise wrong_value(
        "item.type", item.type, "Supported values are: 'message', 'function_call', and 'function_call_output'."
    )


def _message(item: wire.WireItem, base: dict[str, Any]) -> ServerItem:
    if item.role is None:
        raise missing("item.role")
    if item.role not in CONTENT:
        raise wrong_value("item.role", item.role, "Supported values are: 'system', 'assistant', and 'user'.")
    if item.content is None:
        raise missing("item.content")
    content: list[dict[str, Any]] = []
    entry = ServerItem({**base, "status": "completed", "role": item.role, "content": content})
    texts: list[str] = []
    for at, part in enumerate(item.content):
        path = f"item.content[{at}]"
        if part.type not in CONTENT[item.role]:
            supported = " and ".join(f"'{each}'" for each in CONTENT[item.role])
            raise wrong_value(f"{path}.type", part.type, f"Supported values are: {supported}.")
        kept: dict[str, Any] = {"type": part.type}
        if part.type.endswith("_text"):
            if part.text is None:
                raise missing(f"{path}.text")
            texts.append(part.text)
            kept["text"] = part.text
        elif part.type == "input_image":
            entry.images.append(_image(part, path))
            kept |= {"image_url": part.image_url, "detail": part.detail or "auto"}
        else:
            if part.type == "input_audio":
                if part.audio is None:
                    raise missing(f"{path}.audio")
                entry.sound += part.audio
            elif part.transcript:
                texts.append(part.transcript)
            kept["transcript"] = part.transcript
        content.append(kept)
    entry.text = "\n".join(texts)
    return entry


def _image(part: wire.WirePart, path: str) -> Image:
    if part.image_url is None:
        raise missing(f"{path}.image_url")
    head, _, data = part.image_url.partition(",")
    form = head.removeprefix("data:image/").removesuffix(";base64")
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        raw = b""
    if form not in ("jpeg", "jpg", "png", "webp") or not raw:
        raise RequestError(
            "invalid_value",
            f"Invalid '{path}.image_url'. Expected a data URI of a jpeg, png or webp in base64.",
            f"{path}.image_url",
        )
    detail = part.detail if part.detail in ("low", "high") else ""
    return Image(data=raw, format="jpeg" if form == "jpg" else form, detail=detail or "")
