"""What a language model is asked, and a call of a tool in it."""

from __future__ import annotations

from bargein.services.cascade.parts import Prompt
from bargein.services.history import Entry


def called(name: str, output: str | None = "sunny", response: str = "r", arguments: str = '{"city":"Rome"}') -> Entry:
    return Entry(role="call", call_id=f"id-{name}", name=name, arguments=arguments, output=output, response_id=response)


PROMPT = Prompt(entries=[Entry(role="user", text="Hello \ud800.")])
