"""A conversation as messages of OpenAI's chat completions, and back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from .entry import Entry, Picture

__all__ = ["arguments_of", "data_uri", "from_messages", "to_messages"]

TEXTS = ("text", "input_text", "output_text", "refusal")
PICTURES = ("image_url", "input_image")


# Entries to messages --------------------------------------------------------------------------------------------------


def to_messages(entries: Iterable[Entry], *, images: bool = True) -> list[dict[str, Any]]:
    """Return entries as messages.

    Neighbours of one role become one message, because some models refuse two messages of one role in a row. Calls
    without a result are left out, because every provider refuses them.

    Args:
        entries: The entries, oldest first.
        images: Whether pictures are included, as data URIs.
    """
    messages: list[dict[str, Any]] = []
    response: str | None = None  # calls of this response go into one message
    for entry in entries:
        if entry.role == "call":
            if entry.output is not None:
                _add_call(messages, entry, response)
                response = entry.response_id
            continue
        pictures = entry.available_pictures if images else ()
        if entry.remembered.strip() or pictures:
            response = None
            _add(messages, entry.role, _content(entry.remembered, pictures))
    return messages


def data_uri(picture: Picture) -> str:
    """Return a picture as a `data:` URI.

    Args:
        picture: The picture with its data.
    """
    return f"data:{picture.media};base64,{base64.b64encode(picture.data).decode()}"


def _content(text: str, pictures: Sequence[Picture]) -> str | list[dict[str, Any]]:
    """Return the content of a message: a string, or a list of parts if there are pictures."""
    if not pictures:
        return text
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text.strip() else []
    for picture in pictures:
        detail = {"detail": picture.detail} if picture.detail else {}
        parts.append({"type": "image_url", "image_url": {"url": data_uri(picture), **detail}})
    return parts


def _add(messages: list[dict[str, Any]], role: str, content: str | list[dict[str, Any]]) -> None:
    last = messages[-1] if messages else {}
    old = last.get("content")
    if last.get("role") != role or role == "system" or not old:
        messages.append({"role": role, "content": content})
    elif isinstance(old, str) and isinstance(content, str):
        last["content"] = f"{old}\n{content}"
    else:
        last["content"] = [*_parts(old), *_parts(content)]


def _parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _add_call(messages: list[dict[str, Any]], entry: Entry, response: str | None) -> None:
    """Add a call to the message with the other calls of its response, and its result after their results."""
    place = len(messages)
    while place and messages[place - 1]["role"] == "tool":
        place -= 1
    siblings = place < len(messages) and entry.response_id == response
    if not siblings:
        place = len(messages)
    if not siblings and (not messages or messages[-1]["role"] != "assistant" or "tool_calls" in messages[-1]):
        messages.append({"role": "assistant", "content": None})
        place += 1
    function = {"name": entry.name, "arguments": msgspec.json.encode(arguments_of(entry.arguments)).decode()}
    call = {"id": entry.call_id, "type": "function", "function": function}
    messages[place - 1].setdefault("tool_calls", []).append(call)
    messages.append({"role": "tool", "tool_call_id": entry.call_id, "content": entry.output})


def arguments_of(text: str) -> dict[str, Any]:
    """Return the arguments of a call; empty if they are not a JSON object, which providers refuse.

    Args:
        text: The arguments of a call, as the model wrote them.
    """
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return {}
    return found if isinstance(found, dict) else {}


# Messages to entries --------------------------------------------------------------------------------------------------


def from_messages(messages: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Return the entries of messages.

    Args:
        messages: Messages of OpenAI's chat completions, the oldest first.

    Raises:
        ValueError: A message cannot be read; the error says which one, counted from 0.
    """
    entries: list[Entry] = []
    for number, message in enumerate(messages):
        try:
            _read(message, number, entries)
        except (ValueError, TypeError) as error:
            raise ValueError(f"History.from_messages: message {number}: {error}") from None
    return entries


def _read(message: Any, number: int, entries: list[Entry]) -> None:
    if not isinstance(message, Mapping):
        raise ValueError(f"{type(message).__name__} {message!r:.40}; expected a dictionary with role and content")
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        call = message.get("tool_call_id")
        entry = next((each for each in reversed(entries) if each.role == "call" and each.call_id == call), None)
        if entry is None:
            raise ValueError(f"tool_call_id {call!r:.40}: no message before it makes that call")
        entry.output = _split_content(content)[0]
    elif role in ("system", "developer"):
        entries.append(Entry(role="system", text=_split_content(content)[0]))
    elif role == "user":
        text, pictures = _split_content(content)
        entries.append(Entry(role="user", text=text, pictures=pictures))
    elif role == "assistant":
        response, text = f"message-{number}", _split_content(content)[0]
        if text:
            entries.append(Entry(role="assistant", text=text, response_id=response))
        entries += [_call(each, response) for each in message.get("tool_calls") or ()]
    else:
        raise ValueError(f"role {role!r:.40}; expected 'system', 'developer', 'user', 'assistant' or 'tool'")


def _split_content(content: Any) -> tuple[str, tuple[Picture, ...]]:
    """Return the text and the pictures of a message's content. A picture that is given as a URL becomes that URL, as
    text."""
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, Sequence):
        raise ValueError(f"content {content!r:.40}; expected a string or a list of parts")
    texts: list[str] = []
    pictures: list[Picture] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in TEXTS:
            texts.append(_string(part.get("refusal" if kind == "refusal" else "text"), "text"))
        elif kind in PICTURES:
            shown = part.get("image_url")
            address, detail = (shown.get("url"), shown.get("detail")) if isinstance(shown, Mapping) else (shown, None)
            address = _string(address, "image_url")
            if address.startswith("data:"):
                pictures.append(_picture(address, str(detail or part.get("detail") or "")))
            else:
                texts.append(f"(a picture: {address})")
        else:
            raise ValueError(f"a part of type {kind!r:.40}; expected text or image_url")
    return "\n".join(texts), tuple(pictures)


def _picture(address: str, detail: str) -> Picture:
    head, _, data = address.partition(",")
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        raw = b""
    if not raw or not head.endswith(";base64") or "/" not in head:
        raise ValueError(f"image_url {address!r:.40}; expected an encoded picture in base64")
    return Picture(media=head.removeprefix("data:").removesuffix(";base64"), data=raw, detail=detail)


def _call(call: Any, response: str) -> Entry:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise ValueError(f"tool_calls holds {call!r:.40}; expected an id and a function")
    call_id, name = _string(call.get("id"), "a call's id"), _string(function.get("name"), "a function's name")
    arguments = _string(function.get("arguments") or "{}", "arguments")
    return Entry(role="call", call_id=call_id, name=name, arguments=arguments, response_id=response)


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is {value!r:.40}; expected a string")
    return value
