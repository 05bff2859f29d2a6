"""What the site needs before it is built: one source folder for the reference, and the table of all frames."""

from __future__ import annotations

import importlib
import inspect
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "build" / "docs-sources"
FRAME_MODULES = ("bargein.pipeline", "bargein.processors", "bargein.services.frames", "bargein.services.transports")
PROCESSOR_MODULES = (
    "bargein.processors",
    "bargein.services.cascade",
    "bargein.services.realtime",
    "bargein.services.failover",
    "bargein.services.tools",
)


def on_startup(**_: Any) -> None:
    """Link the three source roots into one package, because the reference is read from files and not from imports."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    package = SOURCES / "bargein"
    package.mkdir(parents=True)
    (package / "__init__.py").symlink_to(ROOT / "services" / "bargein" / "__init__.py")
    for root in ("pipeline", "processors", "services"):
        (package / root).symlink_to(ROOT / root / "bargein" / root)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the table of frames where a page asks for it."""
    return markdown.replace("<!-- frames -->", frame_table()) if "<!-- frames -->" in markdown else markdown


def frame_table() -> str:
    """Return a section for every frame class: how it travels, its fields, which processors give and take it."""
    base = importlib.import_module("bargein.pipeline").Frame
    sections = []
    for module_name in FRAME_MODULES:
        module = importlib.import_module(module_name)
        frames = [getattr(module, name) for name in module.__all__]
        found = [each for each in frames if inspect.isclass(each) and issubclass(each, base) and each is not base]
        own = [each for each in found if each.__module__.startswith(module_name)]
        if own:
            sections.append(f"## {module_name}\n")
            sections += [describe(frame) for frame in sorted(own, key=lambda each: each.__name__)]
    return "\n".join(sections)


def describe(frame: type[Any]) -> str:
    """Return the Markdown section of one frame class."""
    contracts = list(processor_contracts())
    gives = sorted(name for name, contract in contracts if frame in contract.gives)
    takes = sorted(name for name, contract in contracts if frame in contract.takes)
    lines = [f"### {frame.__name__}", "", inspect.getdoc(frame) or "", ""]
    lines += [f"* Delivery: `{frame.delivery.value}`"]
    lines += [f"* Given by: {', '.join(f'`{name}`' for name in gives) or 'the application'}"]
    lines += [f"* Taken by: {', '.join(f'`{name}`' for name in takes) or 'the application'}", ""]
    return "\n".join(lines)


def processor_contracts() -> Any:
    """Yield the name and the contract of every processor class that the reference knows."""
    read = importlib.import_module("bargein.pipeline._contract").read_contract
    base = importlib.import_module("bargein.pipeline").Processor
    for module_name in PROCESSOR_MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, base):
                try:
                    yield name, read(value)
                except Exception:  # an abstract base without a contract of its own
                    continue
