"""What each field of a session and of a response may be, and how an update of fields is merged."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from .errors import RequestError, missing, wrong_type, wrong_value

__all__ = ["LENIENT_RESPONSE", "LENIENT_SESSION", "PCM", "RESPONSE", "SESSION", "merge_fields", "turn_defaults"]

Rule = Callable[[Any, Any, str], Any]
"""Takes a new value, the present one and the field's path; returns what the field becomes. Raises `RequestError`."""
Schema = Mapping[str, "Rule | Schema"]

OTHERS = "*"
"""The key of a schema for fields that it does not name. Without it, such fields are refused."""
EAGERNESS = ("low", "medium", "high", "auto")
PCM = {"type": "audio/pcm", "rate": 24_000}


def merge_fields(
    old: Mapping[str, Any], new: Any, path: str, schema: Schema, problems: list[RequestError] | None = None
) -> Any:
    """Return an object after an update of some of its fields.

    Args:
        old: The object as it is, which is not changed.
        new: The fields of the update. Objects within it are merged in the same way.
        path: The path of the object, for errors.
        schema: What each field may be.
        problems: Takes the error of each field that is not allowed, and the other fields are updated; with None the
            first such error is raised.

    Raises:
        RequestError: `new` is not an object, or a field is not allowed and `problems` is None.
    """
    if not isinstance(new, Mapping):
        raise wrong_type(path, new, "an object")
    result = copy.deepcopy(dict(old))
    for name, value in new.items():
        rule, where = schema.get(name) or schema.get(OTHERS), f"{path}.{name}"
        try:
            if rule is None:
                raise RequestError("unknown_parameter", f"Unknown parameter: '{where}'.", where)
            if not isinstance(rule, Mapping):
                result[name] = rule(value, result.get(name), where)
            elif value is not None:
                result[name] = merge_fields(result.get(name) or {}, value, where, rule, problems)
        except RequestError as error:
            if problems is None:
                raise
            problems.append(error)
    return result


# Rules ----------------------------------------------------------------------------------------------------------------


def _text(value: Any, old: Any, path: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong_type(path, value, "a string")
    return value


def _read_only(value: Any, old: Any, path: str) -> Any:
    # Ignored and not refused, as by the service: the Agents SDKs send their model's name in each update.
    return old


def _any(value: Any, old: Any, path: str) -> Any:
    return value


def _one_of(*known: Any) -> Rule:
    def rule(value: Any, old: Any, path: str) -> Any:
        if value not in known:
            raise wrong_value(path, value, f"Supported values are: {', '.join(map(repr, known))}.")
        return value

    return rule


def _number(minimum: float, maximum: float, *, whole: bool = False, null: bool = False) -> Rule:
    def rule(value: Any, old: Any, path: str) -> Any:
        if value is None and null:
            return None
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise wrong_type(path, value, "an integer" if whole else "a number")
        if not minimum <= value <= maximum:
            code = "integer_out_of_range" if whole else "decimal_out_of_range"
            raise RequestError(code, f"Invalid '{path}': {value}. Expected {minimum:g} to {maximum:g}.", path)
        return value

    return rule


def _flag(value: Any, old: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(path, value, "a boolean")
    return value


def _modalities(value: Any, old: Any, path: str) -> list[str]:
    if value is None:
        return ["audio"]
    if value not in (["audio"], ["text"]):
        raise RequestError(
            "invalid_value",
            f"Invalid modalities: {value!r:.80}. Supported combinations are: ['text'] and ['audio'].",
            path,
        )
    return list(value)


def _tokens(value: Any, old: Any, path: str) -> Any:
    return "inf" if value in (None, "inf") else _number(1, 4096, whole=True)(value, old, path)


def _format(value: Any, old: Any, path: str) -> dict[str, Any]:
    if value is None:
        return dict(PCM)
    if not isinstance(value, Mapping):
        raise wrong_type(path, value, "an object")
    kind = value.get("type")
    if kind is None:
        raise missing(f"{path}.type")
    if kind not in ("audio/pcm", "audio/pcmu", "audio/pcma"):
        raise wrong_value(f"{path}.type", kind, "Supported values are: 'audio/pcm', 'audio/pcmu', and 'audio/pcma'.")
    if kind != "audio/pcm":
        return {"type": kind}
    if (rate := value.get("rate", 24_000)) != 24_000:
        raise wrong_value(f"{path}.rate", rate, "Supported values are: 24000.")
    return dict(PCM)


def _any_format(value: Any, old: Any, path: str) -> dict[str, Any]:
    """Return a format with any rate. Fields that are left out stay."""
    if isinstance(value, Mapping):
        value = {**(old or {}), **value}
        rate = value.get("rate", 24_000)
        if value.get("type") == "audio/pcm" and isinstance(rate, int) and 8_000 <= rate <= 48_000:
            return {"type": "audio/pcm", "rate": rate}
    return _format(value, old, path)


def _transcription(value: Any, old: Any, path: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise wrong_type(path, value, "an object")
    return {"model": None, "language": None, "prompt": None, **(old or {}), **value}


def _noise(value: Any, old: Any, path: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise wrong_type(path, value, "an object")
    return {"type": _one_of("near_field", "far_field")(value.get("type"), None, f"{path}.type")}


def turn_defaults(kind: str) -> dict[str, Any]:
    """Return the settings of a kind of turn detection where an update does not name them."""
    if kind == "semantic_vad":
        return {"type": kind, "eagerness": "auto", "create_response": True, "interrupt_response": True}
    return {
        "type": kind,
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 200,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }


def _turns(value: Any, old: Any, path: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise wrong_type(path, value, "an object")
    kind = value.get("type")
    if kind is None:
        raise missing(f"{path}.type")
    if kind not in ("server_vad", "semantic_vad"):
        raise wrong_value(f"{path}.type", kind, "Supported values are: 'server_vad' and 'semantic_vad'.")
    base = old if old is not None and old["type"] == kind else turn_defaults(kind)
    result: dict[str, Any] = merge_fields(base, value, path, _SERVER_VAD if kind == "server_vad" else _SEMANTIC_VAD)
    return result


def _voice(value: Any, old: Any, path: str) -> Any:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, Mapping) and isinstance(value.get("id"), str):
        return {"id": value["id"]}
    raise wrong_type(path, value, "the name of a voice, or an object with its id")


def _tools(value: Any, old: Any, path: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(path, value, "an array of objects")
    for at, tool in enumerate(value):
        where = f"{path}[{at}]"
        if not isinstance(tool, Mapping):
            raise wrong_type(where, tool, "an object")
        if tool.get("type") != "function":
            raise wrong_value(f"{where}.type", tool.get("type"), "Value must be 'function'.")
        if not isinstance(tool.get("name"), str) or not tool["name"]:
            raise missing(f"{where}.name")
    return [dict(tool) for tool in value]


def _metadata(value: Any, old: Any, path: str) -> dict[str, str] | None:
    if value is None:
        return None
    pairs = isinstance(value, Mapping) and all(isinstance(each, str) for pair in value.items() for each in pair)
    if not pairs or len(value) > 16:
        raise wrong_type(path, value, "an object of at most 16 strings")
    return dict(value)


def _any_turns(value: Any, old: Any, path: str) -> dict[str, Any] | None:
    """Return turn detection of any kind. A kind that only one provider has is treated like `server_vad`."""
    if isinstance(value, Mapping):
        kind = value.get("type")
        if kind is None:
            return None
        base = old if old is not None and old["type"] == kind else turn_defaults(str(kind))
        return {**base, **value}
    return _turns(value, old, path)


_TURNS: Schema = {"type": _any, "create_response": _flag, "interrupt_response": _flag}
_SERVER_VAD: Schema = {
    **_TURNS,
    "threshold": _number(0, 1),
    "prefix_padding_ms": _number(0, 10_000, whole=True),
    "silence_duration_ms": _number(0, 10_000, whole=True),
    "idle_timeout_ms": _number(5_000, 30_000, whole=True, null=True),
}
_SEMANTIC_VAD: Schema = {**_TURNS, "eagerness": _one_of(*EAGERNESS)}

_SHARED: Schema = {
    "output_modalities": _modalities,
    "instructions": _text,
    "tools": _tools,
    "tool_choice": _any,
    "max_output_tokens": _tokens,
    "prompt": _any,
    "reasoning": _any,
    "parallel_tool_calls": _any,
}
SESSION: Schema = {
    **_SHARED,
    "type": _any,
    "id": _read_only,
    "object": _read_only,
    "model": _read_only,
    "expires_at": _read_only,
    "tracing": _any,
    "truncation": _any,
    "include": _any,
    "audio": {
        "input": {
            "format": _format,
            "transcription": _transcription,
            "noise_reduction": _noise,
            "turn_detection": _turns,
        },
        "output": {"format": _format, "voice": _voice, "speed": _number(0.25, 1.5)},
    },
}
"""The fields of a session."""
RESPONSE: Schema = {
    **_SHARED,
    "audio": {"output": {"format": _format, "voice": _voice}},
    "conversation": _one_of("auto", "none"),
    "input": _any,
    "metadata": _metadata,
}
"""The fields of `response.create`."""

LENIENT_SESSION: Schema = {
    **SESSION,
    OTHERS: _any,
    "audio": {
        OTHERS: _any,
        "input": {
            OTHERS: _any,
            "format": _any_format,
            "transcription": _transcription,
            "noise_reduction": _any,
            "turn_detection": _any_turns,
        },
        "output": {OTHERS: _any, "format": _any_format, "voice": _any},
    },
}
"""The fields of a session for dialects, which have others, too."""
LENIENT_RESPONSE: Schema = {**RESPONSE, OTHERS: _any, "audio": {"output": {"format": _any_format, "voice": _any}}}
"""The fields of `response.create` for dialects, which have others, too."""
