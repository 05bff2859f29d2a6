"""Dialects of the OpenAI Realtime protocol, as data.

The code around speaks OpenAI's GA interface. A `Dialect` is a table of where another protocol of the family differs:
fields that have other names or places, and fields and events that it does not have. A client writes by the table from
left to right, and a server of the dialect reads by it from right to left. Values are not checked: which voices or kinds
of turn detection a provider has is its own matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from bargein.pipeline.lowlevel import CheckedFields

from .wire import BETA_NAMES

__all__ = ["BETA", "GA", "Dialect", "Move"]

Fields = dict[str, Any]


class Move(NamedTuple):
    """A field that has another place: dotted paths in GA and in the dialect, and values that are spelled differently.

    Where several pairs of values fit, the first one counts, in either direction.
    """

    ga: str
    here: str
    values: tuple[tuple[object, object], ...] = ()


class Dialect(msgspec.Struct, metaclass=CheckedFields, frozen=True, kw_only=True):
    """Where a protocol of the family differs from OpenAI's GA interface."""

    path: str = "/v1/realtime"
    """The path at which it is served."""
    model: str = "model"
    """The parameter of the address that names the model."""
    key_header: str = ""
    """The header that carries a key by itself; empty where the key follows `Bearer` in `Authorization`."""
    session: tuple[Move, ...] = ()
    """Fields of a session that have another place."""
    response: tuple[Move, ...] = ()
    """Fields of a response, in requests and in events, that have another place."""
    lacks: frozenset[str] = frozenset()
    """Fields of sessions and responses that it does not have."""
    events: Mapping[str, str] = {}
    """The dialect's names of server events, by their GA names; empty for events that it does not have."""
    parts: Mapping[str, str] = {}
    """The dialect's types of the agent's content, by their GA types."""
    session_defaults: Mapping[str, Any] = {}
    """Fields of the session object, in GA words, that differ from OpenAI's defaults."""
    nested_tools: bool = False
    """A tool's function is nested under `function`, as in the chat interface."""
    images: str = ""
    """The event that sends a picture, as base64 under `image`; empty where a picture is a conversation item."""
    metadata: bool = True
    """A request for a response may have metadata, which the response repeats."""
    names_cancelled: bool = True
    """A response is cancelled by its id; False where only the one in progress can be cancelled."""
    event_ids: bool = False
    """Each event of the client must have an id."""

    def authorization(self, key: str) -> dict[str, str]:
        """Return the headers that carry a key.

        Args:
            key: The key.
        """
        return {self.key_header: key} if self.key_header else {"Authorization": f"Bearer {key}"}

    # Sessions and responses ---------------------------------------------------------------------------------------

    def write_session(self, session: Mapping[str, Any]) -> Fields:
        """Return a session's fields in this dialect.

        Args:
            session: Fields of a session in GA words.
        """
        written = self._without(_moved(session, self.session))
        if self.nested_tools and "tools" in written:
            written["tools"] = [_nested(tool) for tool in written["tools"]]
        return written

    def read_session(self, session: Mapping[str, Any]) -> Fields:
        """Return a session's fields in GA words. Fields that GA does not have stay as they are.

        Args:
            session: Fields of a session in this dialect.
        """
        read = _moved(session, (Move(each.here, each.ga, _turned(each.values)) for each in self.session))
        if self.nested_tools and isinstance(read.get("tools"), list):
            read["tools"] = [_flat(tool) for tool in read["tools"]]
        return {"type": "realtime", **read} if "type" in self.lacks else read

    def _write_response(self, response: Mapping[str, Any]) -> Fields:
        written = self._without(_moved(response, self.response))
        if not self.metadata:
            written.pop("metadata", None)
        if "output" in written:
            written["output"] = [self._item(item, self.parts) for item in written["output"]]
        return written

    def _without(self, fields: Fields) -> Fields:
        return {name: value for name, value in fields.items() if name not in self.lacks}

    def _item(self, item: Mapping[str, Any], parts: Mapping[str, str]) -> Fields:
        if not item.get("content"):
            return dict(item)
        content = [{**part, "type": parts.get(part["type"], part["type"])} for part in item["content"]]
        return {**item, "content": content}

    # As a language of a server ----------------------------------------------------------------------------------------

    def for_connection(self) -> Dialect:
        """Return the dialect itself: it keeps no state."""
        return self

    def read(self, data: str | bytes) -> Iterable[str | bytes]:
        """Return a client's message in GA words.

        Args:
            data: JSON, as the client wrote it.
        """
        return (self.read_command(data),)

    def write(self, event: Fields) -> Iterable[Fields]:
        """Return a server's event in this dialect; nothing where the dialect does not have it.

        Args:
            event: A server's event in GA words.
        """
        written = self.write_event(event)
        return () if written is None else (written,)

    # Messages -----------------------------------------------------------------------------------------------------

    def write_command(self, event: Fields) -> Fields:
        """Return a client's event in this dialect; `session.update` is written by `write_session`.

        Args:
            event: A client's event in GA words.
        """
        if event["type"] == "response.create" and "response" in event:
            response = self._write_response(event["response"])
            return {**event, "response": response} if response else {"type": event["type"], **_id(event)}
        if event["type"] == "response.cancel" and not self.names_cancelled:
            return {"type": event["type"], **_id(event)}
        if event["type"] == "conversation.item.create":
            item = event["item"]
            part = (item.get("content") or [{}])[0]
            if self.images and part.get("type") == "input_image":
                return {"type": self.images, "image": part["image_url"].partition(",")[2], **_id(event)}
            return {**event, "item": self._item(item, self.parts)}
        return event

    def read_command(self, data: str | bytes) -> str | bytes:
        """Return a client's message in GA words; one that cannot be read is returned unchanged, to be refused.

        Args:
            data: JSON, as the client wrote it.
        """
        try:
            event = msgspec.json.decode(data)
            kind = event["type"]
            if kind == "session.update":
                event["session"] = self.read_session(event["session"])
            elif kind == "response.create" and event.get("response"):
                turned = (Move(each.here, each.ga, _turned(each.values)) for each in self.response)
                event["response"] = _moved(event["response"], turned)
            elif kind == "conversation.item.create":
                event["item"] = self._item(event["item"], {here: ga for ga, here in self.parts.items()})
            elif self.images and kind == self.images:
                event = {"type": "conversation.item.create", "item": _picture(event["image"]), **_id(event)}
            else:
                return data
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError, AttributeError):
            return data
        return msgspec.json.encode(event)

    def write_event(self, event: Fields) -> Fields | None:
        """Return a server's event in this dialect; None for one that the dialect does not have.

        Args:
            event: A server's event in GA words.
        """
        kind = self.events.get(event["type"], event["type"])
        if not kind:
            return None
        written = {**event, "type": kind}
        if "session" in written:
            written["session"] = self.write_session(written["session"])
        if isinstance(written.get("response"), Mapping):
            written["response"] = self._write_response(written["response"])
        if "item" in written:
            written["item"] = self._item(written["item"], self.parts)
        return written


def _id(event: Fields) -> Fields:
    return {"event_id": event["event_id"]} if event.get("event_id") else {}


def _turned(values: tuple[tuple[Any, Any], ...]) -> tuple[tuple[Any, Any], ...]:
    return tuple((here, ga) for ga, here in values)


def _moved(fields: Mapping[str, Any], moves: Iterable[Move]) -> Fields:
    """Return the fields with each moved one in its other place. The original is not changed."""
    result = _copied(fields)
    found = [(each, value) for each in moves if (value := _take(result, each.ga.split("."))) is not _MISSING]
    for each, value in found:
        *path, last = each.here.split(".")
        place = result
        for name in path:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
        place[last] = next((there for here, there in each.values if here == value), value)
    return result


def _copied(fields: Mapping[str, Any]) -> Fields:
    return {name: _copied(value) if isinstance(value, Mapping) else value for name, value in fields.items()}


_MISSING: Final = object()


def _take(fields: Fields, path: list[str]) -> Any:
    """Take a field out, and with it dictionaries that are empty then; return its value."""
    inner = fields.get(path[0], _MISSING)
    if len(path) == 1:
        fields.pop(path[0], None)
        return inner
    if not isinstance(inner, dict):
        return _MISSING
    value = _take(inner, path[1:])
    if not inner:
        del fields[path[0]]
    return value


def _nested(tool: Mapping[str, Any]) -> Fields:
    if tool.get("type") != "function" or "function" in tool:
        return dict(tool)
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _flat(tool: Any) -> Any:
    nested = isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping)
    return {"type": "function", **tool["function"]} if nested else tool


def _picture(data: str) -> Fields:
    part = {"type": "input_image", "image_url": f"data:image/jpeg;base64,{data}"}
    return {"type": "message", "role": "user", "content": [part]}


# OpenAI's own protocols ----------------------------------------------------------------------------------------------

GA: Final = Dialect()
"""OpenAI's protocol of today."""

_FORMATS: Final = (("audio/pcm", "pcm16"), ("audio/pcmu", "g711_ulaw"), ("audio/pcma", "g711_alaw"))
_MODALITIES: Final = (
    (["audio"], ["text", "audio"]),
    (["audio"], ["audio", "text"]),
    (["audio"], ["audio"]),
    (["text"], ["text"]),
)

BETA: Final = Dialect(
    session=(
        Move("output_modalities", "modalities", _MODALITIES),
        Move("audio.output.voice", "voice"),
        Move("audio.input.format.type", "input_audio_format", _FORMATS),
        Move("audio.output.format.type", "output_audio_format", _FORMATS),
        Move("audio.input.transcription", "input_audio_transcription"),
        Move("audio.input.noise_reduction", "input_audio_noise_reduction"),
        Move("audio.input.turn_detection", "turn_detection"),
        Move("max_output_tokens", "max_response_output_tokens"),
    ),
    response=(
        Move("output_modalities", "modalities", _MODALITIES),
        Move("audio.output.voice", "voice"),
        Move("audio.output.format.type", "output_audio_format", _FORMATS),
    ),
    lacks=frozenset({"type", "audio", "include", "prompt", "tracing", "truncation"}),
    events={"conversation.item.done": "", **{ga: beta for beta, ga in BETA_NAMES.items()}},
    parts={"output_text": "text", "output_audio": "audio"},
    # Metadata came late to the beta, and a service of its first days may refuse them. Without them, responses are
    # matched with requests by their order.
    metadata=False,
    # The id in `response.cancel` came late, too.
    names_cancelled=False,
)
"""OpenAI's protocol before its GA interface, which other providers still speak."""
