"""Out-of-band responses: answers that a client asks for beside the conversation (`"conversation": "none"`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bargein.services.frames import OutOfBand, Respond

from .errors import RequestError
from .reply import ReplyWriter
from .state import SessionState

__all__ = ["OutOfBandResponses"]

MAX_PENDING = 16
"""Out-of-band responses at a time, at most: each may cost the brain a separate request."""


class OutOfBandResponses:
    """The out-of-band responses that the brain has not answered yet. They are text, beside any other response."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._pending: dict[str, ReplyWriter] = {}  # by the response's id, which is its name for the brain

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._pending

    def create(self, settings: dict[str, Any]) -> None:
        """Create a response and ask the brain for it. Raises `RequestError` where there are too many."""
        state = self._state
        if len(self._pending) >= MAX_PENDING:
            message = f"This server answers at most {MAX_PENDING} responses outside the conversation at a time."
            raise RequestError("too_many_responses", message, "response.conversation")
        settings = {**settings, "output_modalities": ["text"]}
        reply = ReplyWriter(state.new_id("resp"), settings, None, state.send, state.new_id)
        self._pending[reply.id] = reply
        instructions = settings["instructions"] or state.session["instructions"]
        parts = [instructions, *_texts_of(settings.get("input"), state)]
        state.frames.append(Respond(instructions="\n\n".join(filter(None, parts)), out_of_band=reply.id))

    def cancel(self, response_id: str) -> None:
        """Cancel a response. The brain's answer to it is ignored."""
        reply = self._pending.pop(response_id)
        reply.end("cancelled", {"type": "cancelled", "reason": "client_cancelled"})

    def on_answer(self, frame: OutOfBand) -> None:
        """Take the brain's answer."""
        if (reply := self._pending.pop(frame.name, None)) is None:
            return
        if frame.text:
            reply.text(frame.text, "")
        if frame.text or not frame.reason:
            reply.end("completed", None)
        else:
            error = {"type": "server_error", "code": None, "message": frame.reason}
            reply.end("failed", {"type": "failed", "error": error})


def _texts_of(items: Any, state: SessionState) -> list[str]:
    """Return the texts of a response's `input`: of its messages, and of items that it refers to."""
    texts: list[str] = []
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, Mapping):
            continue
        if item.get("type") == "item_reference":
            found = state.conversation.get(str(item.get("id")))
            texts.append(found.text if found is not None else "")
        else:
            content = item.get("content")
            parts = content if isinstance(content, list) else []
            texts += [str(part.get("text") or "") for part in parts if isinstance(part, Mapping)]
    return [text for text in texts if text]
