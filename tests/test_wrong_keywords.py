"""Every public class reports a wrong keyword with its own name, the keyword, and the nearest keyword that exists."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any, is_typeddict

import msgspec
import pytest

from bargein.pipeline import Processor

from .test_architecture import sources

DECODED = ("wire", "agent_messages", "user_messages", "statistics")
"""Modules of structs that are decoded from messages, encoded to them, or counted: the library alone builds them."""

BUILT_BY_THE_LIBRARY = {
    "Audio": "built for each 20 ms of sound, where the check would cost more than the frame",
    "Video": "as `Audio`",
    "Finding": "a result of `bargein doctor`",
    "Licence": "a line of `bargein licences`",
    "Secret": "what the provider answers",
    "SdpAnswer": "what the signalling server answers",
    "Inbox": "built by the engine, for each stage of each session",
    "Outlet": "built by the engine, for each stage of each session",
    "Wakeup": "built by the engine many times a second; takes one argument",
    "run_cancellable": "built for each frame of an async processor; takes its arguments by position",
    "VirtualLoop": "asyncio's event loops have a constructor of their own",
    "Rule": "built by the embedded brain from its table",
    "CheckedFields": "a metaclass",
}
"""Classes that no application builds by hand, each with the reason why its constructor need not be checked."""


def public_classes() -> Iterator[type]:
    """The classes that public modules offer and that can be built with a keyword."""
    found: dict[type, None] = {}
    for name in sources():
        if name == "bargein" or "._" in name or "__main__" in name:
            continue
        module = importlib.import_module(name)
        offered = (getattr(module, each) for each in module.__all__)
        found.update({each: None for each in offered if inspect.isclass(each)})
    for each in found:
        rooms = each.__module__.split(".")
        if each.__name__ in BUILT_BY_THE_LIBRARY or each.__name__.endswith("Statistics"):
            continue
        if any(room in DECODED for room in rooms) and not issubclass(each, Processor):
            continue
        is_type_only = is_typeddict(each) or getattr(each, "_is_protocol", False)
        if not is_type_only and not issubclass(each, BaseException | tuple | enum.Enum) and keywords(each):
            yield each


def keywords(kind: type) -> list[str]:
    """The keywords that a class takes; none where it takes no argument by keyword, or any keyword."""
    if issubclass(kind, msgspec.Struct):
        return list(kind.__struct_fields__)
    if kind.__init__ is object.__init__:
        return []
    parameters = list(inspect.signature(kind).parameters.values())
    if any(each.kind is each.VAR_KEYWORD and "Unpack" not in str(each.annotation) for each in parameters):
        return []
    return [each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)]


CLASSES = sorted(public_classes(), key=lambda kind: (kind.__module__, kind.__name__))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_wrong_keyword_is_reported_with_the_class_and_the_nearest_keyword(kind: Any) -> None:
    """Use the metaclass `CheckedFields` for a new struct, and decorate a new constructor with `check_options`."""
    field = max(keywords(kind), key=len)
    expected = rf"^{kind.__name__}\({field}x=.*\): there is no such (field|option); did you mean {field}=\?$"
    with pytest.raises(TypeError, match=expected):
        kind(**{f"{field}x": 1})


def test_the_walk_finds_the_classes_of_everyday_use() -> None:
    names = {kind.__name__ for kind in CLASSES}
    assert {"Text", "SessionLimits", "ReconnectPolicy", "Vad", "Cascade", "OpenAIRealtime", "Tool"} <= names
    assert len(CLASSES) > 150


def test_the_list_of_exceptions_names_classes_that_exist() -> None:
    text = "\n".join(path.read_text() for path in sources().values())
    assert not [name for name in BUILT_BY_THE_LIBRARY if not re.search(rf"^class {name}\b", text, re.MULTILINE)]
