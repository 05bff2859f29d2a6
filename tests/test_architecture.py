"""The rules of the house, held for every source file: who imports what, what is named how, how long a thing may be."""

from __future__ import annotations

import ast
import importlib
import pathlib
import types
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = ("pipeline", "processors", "services")

FLOORS = [
    {"bargein.pipeline"},
    {"bargein.processors"},
    {"bargein.services." + name for name in ("frames", "sockets", "media")},
    {"bargein.services.tools", "bargein.services.history"},
    {"bargein.services.brain"},
    {"bargein.services.realtime", "bargein.services.cascade"},
    {"bargein.services.failover"},
    {"bargein.services.providers"},
    {"bargein.services.transports"},
    {"bargein.services.server"},
    {"bargein.services.testing"},
    {"bargein.services.cli"},
    {"bargein.services", "bargein"},
]
"""The packages from the ground up. A module imports from its own floor and from the floors below."""

UPWARD = {("bargein.services.cascade.cascade", "bargein.services.providers.offline")}
"""The one import that points up: `Cascade.offline()` makes the embedded default, and imports it when it is called."""

VENDORS = {"bargein.services.providers"}
"""Packages whose entries are vendors, as many as there are."""

MAX_ENTRIES = 14
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, pathlib.Path]:
    return {module_name(path): path for root in SOURCES for path in sorted((ROOT / root / "bargein").rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text())


def package_of(module: str) -> str:
    return module if sources()[module].name == "__init__.py" else module.rpartition(".")[0]


@cache
def imports(module: str) -> list[tuple[str, str | None, int]]:
    """Modules of the project that a module imports anywhere, each with the name taken from it, if any, and the line."""
    found: list[tuple[str, str | None, int]] = []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None, node.lineno) for alias in node.names if alias.name.startswith("bargein")]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package_of(module).split(".")
                base = ".".join(above[: len(above) - node.level + 1] + ([node.module] if node.module else []))
            for alias in node.names:
                if f"{base}.{alias.name}" in sources():
                    found.append((f"{base}.{alias.name}", None, node.lineno))
                elif base.startswith("bargein"):
                    found.append((base, alias.name, node.lineno))
    return found


def circles(edges: dict[str, set[str]]) -> Iterator[list[str]]:
    """Groups of modules that reach each other: strongly connected components of more than one (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> Iterator[list[str]]:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in index:
                yield from visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                yield sorted(group)

    for node in sorted(edges):
        if node not in index:
            yield from visit(node)


def test_no_import_cycles() -> None:
    """Files never import each other in a circle, imports for type checkers and within functions included."""
    edges = {
        module: {target for target, _, _ in imports(module) if target in sources() and target != module}
        for module in sources()
    }
    # A package's face imports its modules; that a module takes something from a face above it is a circle as well.
    assert list(circles(edges)) == []


def is_foreign_private(importer: str, target: str, name: str | None) -> bool:
    """Whether a private module or name is taken from a package that is not above the importer."""
    inside = importer + "."
    parts = target.split(".")
    for at, part in enumerate(parts):
        if part.startswith("_") and not inside.startswith(".".join(parts[:at]) + "."):
            return True
    if name is not None and name.startswith("_") and name != "__version__":
        return package_of(target) != package_of(importer) if target in sources() else True
    return False


def test_no_package_reaches_into_another() -> None:
    """A private module or name is used inside of the package that it lies in, and nowhere else."""
    reached = [
        f"{module}:{line} imports {target}{f'.{name}' if name else ''}"
        for module in sources()
        for target, name, line in imports(module)
        if is_foreign_private(module, target, name)
    ]
    assert reached == []


def floor(module: str) -> int:
    """The floor of the longest package name that a module begins with."""
    places = [
        (len(name), number)
        for number, names in enumerate(FLOORS)
        for name in names
        if (module + ".").startswith(name + ".")
    ]
    return max(places)[1]


def test_imports_point_down() -> None:
    """No module imports from a floor above its own."""
    upward = [
        f"{module}:{line} imports {target}"
        for module in sources()
        for target, _, line in imports(module)
        if floor(target) > floor(module) and (module, target) not in UPWARD
    ]
    assert upward == []


def test_class_names_are_used_once() -> None:
    """A public class name stands for one thing in the whole project."""
    places = defaultdict(list)
    for module in sources():
        for node in tree(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


FACES = [module for module, path in sources().items() if path.name == "__init__.py" and module != "bargein"]


@pytest.mark.parametrize("face", FACES)
def test_faces_only_re_export(face: str) -> None:
    """A package's `__init__` imports names and lists them in `__all__`, and does nothing else."""
    for node in tree(face).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        target = getattr(node, "target", None) or (getattr(node, "targets", None) or [None])[0]
        listing = isinstance(target, ast.Name) and target.id == "__all__"
        assert docstring or listing or isinstance(node, ast.ImportFrom), ast.unparse(node)
    module = importlib.import_module(face)
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert public == set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize("module", [name for name in sources() if name != "bargein"])
def test_every_module_says_what_it_offers(module: str) -> None:
    """Each has a docstring and an `__all__`."""
    assert ast.get_docstring(tree(module))
    names = [
        node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None) for node in tree(module).body
    ]
    assert any(isinstance(name, ast.Name) and name.id == "__all__" for name in names)


def test_modules_and_functions_are_short() -> None:
    """A module has at most 500 lines, a function at most 60."""
    long = []
    for module, path in sources().items():
        lines = len(path.read_text().splitlines())
        if lines > MAX_MODULE_LINES:
            long.append(f"{module}: {lines} lines")
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    long.append(f"{module}.{node.name}: {length} lines")
    assert long == []


def test_test_modules_are_short() -> None:
    """A module of tests has at most 500 lines, and so has a helper beside it."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}


def test_no_folder_is_a_crowd() -> None:
    """A folder that is no list of vendors holds what one glance takes in."""
    entries: dict[str, set[str]] = defaultdict(set)
    for module in sources():
        parent, _, leaf = module.rpartition(".")
        if parent:
            entries[parent].add(leaf)
    crowds = {
        package: len(names)
        for package, names in entries.items()
        if len(names) > MAX_ENTRIES and package not in VENDORS and package != "bargein.pipeline"
    }
    assert crowds == {}


def test_tests_mirror_the_rooms() -> None:
    """A folder of tests has a folder of sources of the same name."""
    rooms = {"/".join(module.split(".")[1:]) for module, path in sources().items() if path.name == "__init__.py"}
    folders = {
        str(path.relative_to(ROOT / "tests"))
        for path in (ROOT / "tests").rglob("*")
        if path.is_dir() and any(path.glob("test_*.py"))
    }
    assert folders - rooms - {".", "attacks", "clients", "docs", "examples", "pipeline"} == set()
