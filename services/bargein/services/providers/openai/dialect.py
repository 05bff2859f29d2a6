"""Dialects of the OpenAI Realtime protocol, as data.

OpenAI's GA interface is what is spoken here. A `Dialect` says where another one differs: under which names things
stand, and what it has not. A client writes by that table, and a server of the dialect reads by the same, from right to
left. What a provider takes *in* these places (a kind of voice, of turn detection) is its own matter, and passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from .wire import BETA_NAMES

__all__ = ["BETA", "GA", "Dialect", "Move"]

Fields = dict[str, Any]


class Move(NamedTuple):
    """A field that stands elsewhere: dotted paths in GA and in the dialect, and values that are spelled differently.

    Of values that mean the same, the first pair that fits counts, in either direction.
    """

    ga: str
    here: str
    values: tuple[tuple[Any, Any], ...] = ()


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Where a protocol of the family differs from the GA interface of OpenAI's."""

    path: str = "/v1/realtime"
    """Where it is served."""
    model: str = "model"
    """The parameter of the address that names the model."""
    key_header: str = ""
    """The header that carries a key as it is; empty for `Authorization`, where it follows `Bearer`."""
    session: tuple[Move, ...] = ()
    """Fields of a session that stand elsewhere."""
    response: tuple[Move, ...] = ()
    """Fields of a response, asked for or told of, that stand elsewhere."""
    lacks: frozenset[str] = frozenset()
    """Fields of sessions and responses that it has not."""
    events: Mapping[str, str] = {}
    """Names of the server's events; empty for those that it has not."""
    parts: Mapping[str, str] = {}
    """Kinds of the agent's content."""
    begins: Mapping[str, Any] = {}
    """What a session begins with, beyond OpenAI's defaults, in GA words."""
    nested_tools: bool = False
    """A function stands under `function`, as in the chat interface, not beside its type."""
    images: str = ""
    """The event that shows a picture, as base64 under `image`; empty where a picture is an item."""
    metadata: bool = True
    """A response may be asked for with metadata, which come back with it."""
    names_cancelled: bool = True
    """A response is cancelled by its id; where not, it is the one in progress."""
    event_ids: bool = False
    """Each event of the client's must have an id."""

    def authorization(self, key: str) -> dict[str, str]:
        """The headers that carry a key."""
        return {self.key_header: key} if self.key_header else {"Authorization": f"Bearer {key}"}

    # Sessions and responses ---------------------------------------------------------------------------------------

    def write_session(self, session: Mapping[str, Any]) -> Fields:
        """A session's fields in this dialect."""
        written = self._without(_moved(session, self.session))
        if self.nested_tools and "tools" in written:
            written["tools"] = [_nested(tool) for tool in written["tools"]]
        return written

    def read_session(self, session: Mapping[str, Any]) -> Fields:
        """A session's fields in GA words; what GA has not stays what it is."""
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

    # As a server's tongue ----------------------------------------------------------------------------------------

    def begin(self) -> Dialect:
        """It keeps nothing of a connection."""
        return self

    def read(self, data: str | bytes) -> Iterable[str | bytes]:
        """A client's message, in GA words."""
        return (self.read_command(data),)

    def write(self, event: Fields) -> Iterable[Fields]:
        """A server's event, in this dialect; nothing where it has none such."""
        told = self.write_event(event)
        return () if told is None else (told,)

    # Messages -----------------------------------------------------------------------------------------------------

    def write_command(self, event: Fields) -> Fields:
        """A client's event, but for `session.update`, in this dialect."""
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
        """A client's message in GA words. What cannot be read is left for whoever complains of it."""
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
        """A server's event in this dialect; None for one that it has not."""
        kind = self.events.get(event["type"], event["type"])
        if not kind:
            return None
        told = {**event, "type": kind}
        if "session" in told:
            told["session"] = self.write_session(told["session"])
        if isinstance(told.get("response"), Mapping):
            told["response"] = self._write_response(told["response"])
        if "item" in told:
            told["item"] = self._item(told["item"], self.parts)
        return told


def _id(event: Fields) -> Fields:
    return {"event_id": event["event_id"]} if event.get("event_id") else {}


def _turned(values: tuple[tuple[Any, Any], ...]) -> tuple[tuple[Any, Any], ...]:
    return tuple((here, ga) for ga, here in values)


def _moved(fields: Mapping[str, Any], moves: Iterable[Move]) -> Fields:
    """The fields with each that moves in its other place; the given ones are left alone."""
    result = _copied(fields)
    found = [(each, value) for each in moves if (value := _take(result, each.ga.split("."))) is not _MISSING]
    for each, value in found:
        *way, last = each.here.split(".")
        place = result
        for name in way:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
        place[last] = next((there for here, there in each.values if here == value), value)
    return result


def _copied(fields: Mapping[str, Any]) -> Fields:
    return {name: _copied(value) if isinstance(value, Mapping) else value for name, value in fields.items()}


_MISSING: Final = object()


def _take(fields: Fields, path: list[str]) -> Any:
    """What stands there, taken out, and with it what has nothing left in it."""
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


# The two of OpenAI's own ----------------------------------------------------------------------------------------------

GA: Final = Dialect()
"""What OpenAI speaks today."""

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
    # Metadata came to the beta when it was half over: a service of its first days may refuse them. Where requests
    # cannot be told apart by them, responses are matched by their order.
    metadata=False,
    # So did the id of the response that is to be cancelled.
    names_cancelled=False,
)
"""What OpenAI spoke before, and others still do."""
