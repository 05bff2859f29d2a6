"""What each provider takes as the schema of a tool, by its published rules, and what is sent to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # types-jsonschema is a package more
import msgspec

from bargein.services.cascade import Prompt
from bargein.services.providers.anthropic._protocol import build_request as anthropic_body
from bargein.services.providers.chat.protocol import build_request as chat_body
from bargein.services.providers.gemini._schema import function_declaration
from bargein.services.providers.nova.protocol import NovaProtocol
from bargein.services.providers.openai.client.protocol import OpenAIProtocol
from bargein.services.providers.ultravox.protocol import PROFILE, call_request
from bargein.services.realtime import Settings
from tests.services.providers.nova.peer import event_of, parsed

__all__ = ["GRAMMARS", "Grammar", "faults"]

ANY = re.compile(r".*", re.S)
ASCII = re.compile(r"[A-Za-z0-9_.-]{1,64}")
COMBINED = frozenset({"anyOf", "oneOf", "allOf", "not", "enum", "$ref"})


class Grammar(msgspec.Struct, frozen=True):
    """The rules of one provider."""

    source: str
    sent: Callable[[dict[str, Any]], Iterator[dict[str, Any]]]
    """Yields the schemas that are sent for a tool."""
    keywords: frozenset[str] | None = None
    """The keywords of any schema; None for all of JSON schema, which is then checked by its meta-schema."""
    top: frozenset[str] | None = None
    """The keywords of the outermost schema; None for the same."""
    not_at_the_top: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    names: re.Pattern[str] = ANY
    """The names of properties."""
    references: bool = True
    formats: frozenset[str] | None = None
    """The formats; None for any."""
    typed: bool = False
    """Every schema has a type or a choice, every object properties, every enumeration strings."""
    items: bool = True
    """Every array has a schema of its items."""


def openai(tool: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the realtime interface and the chat interface get."""
    protocol = OpenAIProtocol(url="wss://example.invalid", headers={})
    (opening,) = protocol.open_session(Settings(model="m", tools=(tool,)))
    yield json.loads(opening)["session"]["tools"][0]["parameters"]
    body = chat_body(Prompt(entries=[], tools=(tool,)), "m")
    yield body["tools"][0]["function"]["parameters"]


def anthropic(tool: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the Messages interface gets."""
    yield anthropic_body(Prompt(entries=[], tools=(tool,)), "m")["tools"][0]["input_schema"]


def gemini(tool: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schema in OpenAPI's words, if there is one."""
    if parameters := function_declaration(tool).get("parameters"):
        yield parameters


def gemini_json(tool: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the JSON schema, if there is one."""
    if parameters := function_declaration(tool).get("parametersJsonSchema"):
        yield parameters


def nova(tool: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what is sent as a string."""
    for message in NovaProtocol(url="x").open_session(Settings(model="m", tools=(tool,))):
        name, event = event_of(parsed(message))
        if name == "promptStart":
            (declared,) = event["toolConfiguration"]["tools"]
            yield json.loads(declared["toolSpec"]["inputSchema"]["json"])


def ultravox(tool: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schema of each parameter."""
    body = call_request(
        Settings(model="m", tools=(tool,)), profile=PROFILE, buffer_ms=0, first_speaker="user", max_call_seconds=1
    )
    for each in body["selectedTools"][0]["temporaryTool"]["dynamicParameters"]:
        yield each["schema"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split(" "))


GRAMMARS = {
    "openai": Grammar(
        "https://platform.openai.com/docs/guides/function-calling, not strict; an array without items is refused",
        openai,
        not_at_the_top=COMBINED,
    ),
    "xai": Grammar("https://docs.x.ai/docs/guides/function-calling", openai, forbidden=frozenset({"allOf", "not"})),
    "qwen": Grammar("https://help.aliyun.com/en/model-studio/qwen-function-calling", openai, not_at_the_top=COMBINED),
    "anthropic": Grammar(
        "https://docs.claude.com/en/docs/agents-and-tools/tool-use/implement-tool-use; JSON schema 2020-12",
        anthropic,
        not_at_the_top=COMBINED,
        names=ASCII,
    ),
    "gemini": Grammar(
        "https://ai.google.dev/api/caching#Schema",
        gemini,
        keywords=_words(
            "type format title description nullable enum maxItems minItems properties required "
            "minProperties maxProperties minLength maxLength pattern example anyOf "
            "propertyOrdering default items minimum maximum"
        ),
        names=ASCII,
        references=False,
        formats=frozenset({"enum", "date-time", "int32", "int64", "float", "double"}),
        typed=True,
    ),
    "gemini, as JSON schema": Grammar(
        "https://ai.google.dev/gemini-api/docs/structured-output",
        gemini_json,
        keywords=_words(
            "$id $defs $ref $anchor type format title description enum items prefixItems minItems "
            "maxItems minimum maximum anyOf oneOf properties additionalProperties required"
        ),
        not_at_the_top=COMBINED,
    ),
    "nova": Grammar(
        "https://docs.aws.amazon.com/nova/latest/userguide/prompting-tool-troubleshooting.html",
        nova,
        top=frozenset({"type", "properties", "required"}),
        references=False,
    ),
    "ultravox": Grammar("https://docs.ultravox.ai/tools/custom/parameters", ultravox, references=False),
}


def faults(grammar: Grammar, tool: dict[str, Any]) -> list[str]:
    """Return what a provider would refuse in a tool."""
    found: list[str] = []
    for schema in grammar.sent(tool):
        if grammar.keywords is None:
            try:
                jsonschema.Draft202012Validator.check_schema(schema)
            except jsonschema.SchemaError as error:
                found.append(f"{error.json_path}: {error.message}")
        top = schema.keys()
        if grammar.top is not None:
            found += [f"{key} at the top" for key in top - grammar.top]
        found += [f"{key} at the top" for key in top & grammar.not_at_the_top]
        if grammar.not_at_the_top and schema.get("type") != "object":
            found.append("the top is not an object")
        found += _faults(grammar, schema, schema, "$")
    return found


def _faults(grammar: Grammar, schema: Any, top: dict[str, Any], at: str) -> Iterator[str]:
    if not isinstance(schema, dict):
        yield f"{at}: {schema!r} is no schema"
        return
    allowed = schema.keys() if grammar.keywords is None else grammar.keywords
    for key in (schema.keys() - allowed) | (schema.keys() & grammar.forbidden):
        yield f"{at}: {key}"
    yield from _value_faults(grammar, schema, top, at)
    for name, each in (schema.get("properties") or {}).items():
        if not grammar.names.fullmatch(name):
            yield f"{at}: a property named {name!r}"
        yield from _faults(grammar, each, top, f"{at}.{name}")
    for name, each in schema.get("$defs", {}).items():
        yield from _faults(grammar, each, top, f"{at}/{name}")
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("prefixItems", ())):
        yield from _faults(grammar, each, top, f"{at}|")
    if "items" in schema:
        yield from _faults(grammar, schema["items"], top, f"{at}[]")


def _value_faults(grammar: Grammar, schema: dict[str, Any], top: dict[str, Any], at: str) -> Iterator[str]:
    kind = str(schema.get("type", "")).lower()
    if kind == "array" and grammar.items and "items" not in schema:
        yield f"{at}: an array without items"
    if grammar.formats is not None and "format" in schema and schema["format"] not in grammar.formats:
        yield f"{at}: format {schema['format']}"
    if "$ref" in schema and not (
        grammar.references and schema["$ref"].removeprefix("#/$defs/") in top.get("$defs", {})
    ):
        yield f"{at}: {schema['$ref']}"
    if "enum" in schema and not schema["enum"]:
        yield f"{at}: an enumeration of nothing"
    if grammar.typed:
        if not kind and "anyOf" not in schema:
            yield f"{at}: no type"
        if kind == "object" and not schema.get("properties"):
            yield f"{at}: an object without properties"
        if not all(isinstance(value, str) for value in schema.get("enum", ())):
            yield f"{at}: an enumeration of something else than strings"
