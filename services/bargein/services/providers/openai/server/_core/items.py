"""Items of a served conversation: which ones a client may create, their order, and their frames for the brain."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from bargein.pipeline import Image
from bargein.services.frames import Remember
from bargein.services.providers.openai import wire

from .errors import RequestError, missing, wrong_value

__all__ = ["ServerConversation", "ServerItem", "check_item"]

CONTENT = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text", "output_audio"),
}
MAX_ID_CHARACTERS = 32


class ServerItem:
    """An item as the client sees it, and what the server knows about it."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.item = item
        """The item as the client sees it."""
        self.text = ""
        """The text of a message, its parts joined by line breaks."""
        self.images: list[Image] = []
        """The user's pictures."""
        self.audio = b""
        """Sound that came with the item."""
        self.ms = 0.0
        """Length of the user's sound, or of the agent's as far as it was sent, in milliseconds."""
        self.final = False
        """Its transcript is complete."""
        self.brain_ids = ("", "")
        """The brain's ids of the response and the item, where the item is the agent's."""
        self.unreported = False
        """The item was sent to the client, and the brain does not know yet how much of it was heard."""

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.item["id"])

    def remembered(self) -> Iterator[Remember]:
        """Return the item as history for the brain; nothing where it has no words."""
        item = self.item
        if item["type"] == "function_call":
            yield Remember(
                role="call", text=item["arguments"], item_id=self.id, call_id=item["call_id"], name=item["name"]
            )
        elif item["type"] == "function_call_output":
            yield Remember(role="result", text=item["output"], item_id=self.id, call_id=item["call_id"])
        elif self.text:
            yield Remember(role=item["role"], text=self.text, item_id=self.id)


class ServerConversation:
    """The items of a conversation in their order."""

    def __init__(self) -> None:
        self._order: list[str] = []
        self._entries: dict[str, ServerItem] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._entries

    def __iter__(self) -> Iterator[ServerItem]:
        return (self._entries[id] for id in self._order)

    def get(self, id: str) -> ServerItem | None:
        """Return an item; None where there is none with this id."""
        return self._entries.get(id)

    def add(self, entry: ServerItem, after: str | None = None) -> str | None:
        """Add an item and return the id of the item before it.

        Args:
            entry: The new item.
            after: The id of the item to put it behind; `root` for the beginning, None for the end.

        Raises:
            RequestError: The id is taken, or `after` does not exist.
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
        """Return the id of the item before an item; None for the first."""
        at = self._order.index(id) if id in self._entries else 0
        return self._order[at - 1] if at else None

    def need(self, id: str, doing: str, verb: str) -> ServerItem:
        """Return an item that a client names. Raises `RequestError` where it does not exist.

        Args:
            id: The item's id.
            doing: What the client wants, for the message: `deleting`.
            verb: The same for the code: `delete`.
        """
        entry = self._entries.get(id)
        if entry is None:
            raise RequestError(
                f"item_{verb}_invalid_item_id",
                f"Error {doing} item: the item with id '{id}' does not exist.",
                "item_id",
            )
        return entry

    def remove(self, entry: ServerItem) -> None:
        """Remove an item."""
        self._order.remove(entry.id)
        del self._entries[entry.id]


def check_item(item: wire.WireItem, id: str, call_id: str) -> ServerItem:
    """Return an item that a client creates. Raises `RequestError` for one that the interface does not allow.

    Args:
        item: What the client sent.
        id: The id, where the client gave none.
        call_id: The id of a function call, where the client gave none.
    """
    if item.id is not None and not 0 < len(item.id) <= MAX_ID_CHARACTERS:
        raise RequestError(
            "string_above_max_length",
            f"Invalid 'item.id': string of length {len(item.id)}. Expected 1 to {MAX_ID_CHARACTERS} characters.",
            "item.id",
        )
    base: dict[str, Any] = {"id": item.id or id, "type": item.type}
    if item.type == "message":
        return _message(item, base)
    if item.type == "function_call":
        for name in ("name", "arguments"):
            if getattr(item, name) is None:
                raise missing(f"item.{name}")
        base |= {"status": "completed", "name": item.name, "call_id": item.call_id or call_id}
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
        entry_part: dict[str, Any] = {"type": part.type}
        if part.type.endswith("_text"):
            if part.text is None:
                raise missing(f"{path}.text")
            texts.append(part.text)
            entry_part["text"] = part.text
        elif part.type == "input_image":
            entry.images.append(_image(part, path))
            entry_part |= {"image_url": part.image_url, "detail": part.detail or "auto"}
        else:
            if part.type == "input_audio":
                if part.audio is None:
                    raise missing(f"{path}.audio")
                entry.audio += part.audio
            elif part.transcript:
                texts.append(part.transcript)
            entry_part["transcript"] = part.transcript
        content.append(entry_part)
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
