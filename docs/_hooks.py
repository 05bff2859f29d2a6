"""Build steps of the site: one source folder for the reference, the lists of public names, and the table of frames.

MkDocs calls the functions whose names begin with `on_`. A page asks for generated parts with two comments:
`<!-- api bargein.processors -->` becomes the reference of every public name of that module, and `<!-- frames -->`
becomes one section for each frame class.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
import textwrap
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from bargein.pipeline import Delivery, Frame, Processor
from bargein.pipeline.lowlevel import Contract

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "build" / "docs-sources"
API = re.compile(r"<!-- api (\S+) -->")
FRAME_MODULES = {
    "bargein.pipeline": "The engine's frames",
    "bargein.processors": "Frames of the processors",
    "bargein.services.frames": "Frames of brains",
    "bargein.services.transports": "Frames of transports",
}
PROCESSOR_MODULES = (
    "bargein.processors",
    "bargein.services.cascade",
    "bargein.services.failover",
    "bargein.services.realtime",
    "bargein.services.tools",
)
BRAINS = {"Answer", "Realtime"}
"""The processors of which every brain is made. Both together are shown as "brains"."""
COMMON_FIELDS = {"pts", "epoch"}
"""Fields that every frame has; the page explains them once."""


def on_startup(**_: Any) -> None:
    """Link the three source roots into one package, because the reference is read from files and not from imports."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    package = SOURCES / "bargein"
    package.mkdir(parents=True)
    (package / "__init__.py").symlink_to(ROOT / "services" / "bargein" / "__init__.py")
    for root in ("pipeline", "processors", "services"):
        (package / root).symlink_to(ROOT / root / "bargein" / root)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the two comments by what they ask for."""
    markdown = API.sub(lambda match: "\n".join(api_directives(match[1])), markdown)
    return markdown.replace("<!-- frames -->", frame_sections()) if "<!-- frames -->" in markdown else markdown


ROOMS = {
    "listening": "Listening: speech, barge-in, turns",
    "speaking": "Speaking: sentences, pacing, what was heard",
    "audio": "Audio",
    "video": "Video",
    "observe": "Measuring",
    "": "Frames and constants",
}
"""The folders of `bargein.processors`, in the order of the page, with their headings."""


def api_directives(module_name: str) -> Iterator[str]:
    """Yield one mkdocstrings directive for each public name of a module, except for its frames."""
    module = importlib.import_module(module_name)
    names = sorted(module.__all__, key=str.lower)
    frames = [name for name in names if getattr(module, name) in public_frames()]
    others = [name for name in names if name not in frames]
    if module_name == "bargein.processors":
        for folder, heading in ROOMS.items():
            yield f"## {heading}\n"
            yield from (f"::: {module_name}.{name}\n" for name in others if room(module, name) == folder)
    else:
        yield from (f"::: {module_name}.{name}\n" for name in others)
    if frames:
        yield f"Frames: {', '.join(f'[{name}](frames.md#{name.lower()})' for name in frames)}.\n"


def room(module: types.ModuleType, name: str) -> str:
    """Return the folder in which a name of `bargein.processors` is defined; empty if it is in none."""
    parts = getattr(getattr(module, name), "__module__", "").split(".")
    return parts[2] if len(parts) > 3 and parts[2] in ROOMS else ""


@cache
def public_frames() -> list[type[Frame]]:
    """Return the frame classes that the page of frames describes."""
    modules = [importlib.import_module(name) for name in FRAME_MODULES]
    values = [getattr(module, name) for module in modules for name in module.__all__]
    return [value for value in values if is_frame(value)]


def is_frame(value: object) -> bool:
    """Return whether a value is a frame class other than the base class."""
    return inspect.isclass(value) and issubclass(value, Frame) and value is not Frame


def frame_sections() -> str:
    """Return a section for every public frame class, grouped by the module that exports it."""
    shown: set[object] = set()
    parts = []
    for module_name, title in FRAME_MODULES.items():
        module = importlib.import_module(module_name)
        found = {getattr(module, name) for name in module.__all__ if is_frame(getattr(module, name))} - shown
        shown |= found
        parts += [f"## {title}\n", f"Import them from `{module_name}`.\n"]
        parts += [describe(frame) for frame in sorted(found, key=lambda each: each.__name__)]
    return "\n".join(parts)


def describe(frame: type[Frame]) -> str:
    """Return the Markdown section of one frame class."""
    text = (inspect.getdoc(frame) or "").partition("\n\nArgs:")[0]
    # Processors for all frames (`Frame`), such as a tap, would stand in every list and say nothing.
    gives = [name for name, own in processor_contracts() if Frame not in own.gives and own.promises(frame)]
    takes = [name for name, own in processor_contracts() if Frame not in own.takes and own.accepts(frame)]
    lines = [f"### {frame.__name__}", "", f"```python\n{signature(frame)}\n```", "", text, ""]
    fields = [field for field in msgspec.structs.fields(frame) if field.name not in COMMON_FIELDS]
    if fields:
        documents = field_documents(frame)
        lines += ["| Field | Type | Meaning |", "|---|---|---|"]
        for field in fields:
            annotation, text = documents.get(field.name, ("", ""))
            kind = annotation.replace("|", "\\|")
            lines.append(f"| `{field.name}` | `{kind}` | {' '.join(text.split())} |")
        lines.append("")
    lines += [f"* **Delivery**: `{frame.delivery.name}`", f"* **Sent by**: {in_words(gives)}"]
    lines += [f"* **Taken by**: {in_words(takes)}", ""]
    return "\n".join(lines)


def signature(frame: type[Frame]) -> str:
    """Return how a frame is written: `Text(text, final=False, *, response_id='', ...)`."""
    defaults = {field.name: field for field in msgspec.structs.fields(frame)}
    positional: tuple[str, ...] = getattr(frame, "__match_args__", ())

    def shown(name: str) -> str:
        field = defaults[name]
        # A required payload field has a marker as its default, so that its error can name the class.
        if field.default is msgspec.NODEFAULT or repr(field.default) == "missing":
            has_factory = field.default_factory is not msgspec.NODEFAULT
            return f"{name}={{}}" if has_factory else name
        return f"{name}={field.default!r}"

    by_name = [name for name in defaults if name not in positional and name not in COMMON_FIELDS]
    parts = [shown(name) for name in positional if name not in COMMON_FIELDS]
    parts += ["*", *(shown(name) for name in by_name)] if by_name else []
    return textwrap.fill(f"{frame.__name__}({', '.join(parts)})", 88, subsequent_indent="    ")


@cache
def field_documents(frame: type[Frame]) -> dict[str, tuple[str, str]]:
    """Return annotation and docstring of each field, those of base classes included."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(frame.__mro__):
        if not (inspect.isclass(base) and issubclass(base, Frame)):
            continue
        (body,) = (each for each in ast.parse(textwrap.dedent(inspect.getsource(base))).body)
        assert isinstance(body, ast.ClassDef)
        for line, following in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                text = str(following.value.value) if is_text else ""  # type: ignore[union-attr]
                found[line.target.id] = (ast.unparse(line.annotation), text)
    return found


@cache
def processor_contracts() -> list[tuple[str, Contract]]:
    """Return the public processors and the two ends of transports, each with its contract."""
    found: dict[str, Contract] = {}
    for module_name in PROCESSOR_MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, Processor) and value.contract_ is not None:
                found[name] = value.contract_
    ends = [(transport_end(contract), contract) for contract in transport_contracts()]
    return [*sorted(found.items()), *ends]


def transport_contracts() -> Iterator[Contract]:
    """Yield the contracts of the private processors that the sources and sinks of transports are made of."""
    package = importlib.import_module("bargein.services.transports")
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            own = inspect.isclass(value) and value.__module__ == info.name
            if own and issubclass(value, Processor) and value.contract_ is not None:
                yield value.contract_


def transport_end(contract: Contract) -> str:
    """Return `peer.source` or `peer.sink`. The parts of a source begin a stream or listen to frames from below."""
    below = all(kind.delivery is Delivery.UPSTREAM for kind in contract.takes)
    return "peer.source" if below or any(kind.__name__ == "PeerJoined" for kind in contract.gives) else "peer.sink"


def in_words(names: list[str]) -> str:
    """Return names as a list in words."""
    unique = dict.fromkeys(names)
    if set(unique) >= BRAINS:
        unique = {"brains": None, **{name: None for name in unique if name not in BRAINS}}
    shown = [name if name == "brains" else f"`{name}`" for name in unique]
    return ", ".join(shown) or "your application"
