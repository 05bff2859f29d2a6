"""The session object of a served session: its defaults, and what an update may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import RequestError, missing, wrong_value
from .fields import LENIENT_RESPONSE, LENIENT_SESSION, PCM, RESPONSE, SESSION, merge_fields, turn_defaults

__all__ = ["new_session", "response_settings", "update_session"]


def new_session(
    id: str, model: str, expires_at: int, changes: Mapping[str, Any] | None = None, *, lenient: bool = False
) -> dict[str, Any]:
    """Return the object of a session that begins, with the fields that the service sends.

    Args:
        id: The session's id.
        model: The model's name.
        expires_at: When the session ends, in seconds since 1970.
        changes: Fields that differ from the defaults, as in a `session.update`.
        lenient: Keep fields that the GA interface does not know.

    Raises:
        RequestError: `changes` has fields or values that are not allowed.
    """
    session: dict[str, Any] = {
        "type": "realtime",
        "object": "realtime.session",
        "id": id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {
            "input": {
                "format": dict(PCM),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": turn_defaults("server_vad"),
            },
            "output": {"format": dict(PCM), "voice": "alloy", "speed": 1.0},
        },
        "include": None,
    }
    return update_session(session, {"type": "realtime", **changes}, lenient=lenient) if changes else session


def update_session(
    session: dict[str, Any],
    changes: Mapping[str, Any],
    *,
    spoken: bool = False,
    lenient: bool = False,
    problems: list[RequestError] | None = None,
) -> dict[str, Any]:
    """Return the session object after an update. Fields that are left out stay; null clears a field.

    Args:
        session: The object as it is, which is not changed.
        changes: The fields of the update.
        spoken: The agent has been heard, so its voice cannot change.
        lenient: Keep fields that the GA interface does not know, as dialects have them.
        problems: Takes the error of each field that is not allowed, and the other fields are updated; with None the
            first such field is raised.

    Raises:
        RequestError: `type` is missing or wrong, or a field or a value is not allowed and `problems` is None.
    """
    kind = changes.get("type")
    if kind is None:
        raise missing("session.type")
    if kind != "realtime":
        raise wrong_value("session.type", kind, "Value must be 'realtime'.")
    schema = LENIENT_SESSION if lenient else SESSION
    result: dict[str, Any] = merge_fields(session, changes, "session", schema, problems)
    output, voice = result["audio"]["output"], session["audio"]["output"]["voice"]
    if spoken and output["voice"] != voice:
        error = RequestError(
            "cannot_update_voice", "Cannot update a conversation's voice if assistant audio is present."
        )
        if problems is None:
            raise error
        problems.append(error)
        output["voice"] = voice
    return result


def response_settings(
    session: dict[str, Any], changes: Mapping[str, Any] | None, *, lenient: bool = False
) -> dict[str, Any]:
    """Return what holds for one response: the settings of the session, and over them those of `response.create`.

    Raises:
        RequestError: A field or a value is not allowed.
    """
    base = {
        "output_modalities": session["output_modalities"],
        "instructions": None,
        "audio": {"output": {name: session["audio"]["output"][name] for name in ("format", "voice")}},
        "tools": None,
        "tool_choice": session["tool_choice"],
        "max_output_tokens": session["max_output_tokens"],
        "metadata": None,
    }
    result: dict[str, Any] = merge_fields(base, changes or {}, "response", LENIENT_RESPONSE if lenient else RESPONSE)
    if result.get("input") and result.get("conversation") != "none":
        message = "This server takes an input only for a response outside the conversation (conversation: 'none')."
        raise RequestError("unsupported_value", message, "response.input")
    return result
