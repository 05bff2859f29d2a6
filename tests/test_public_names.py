"""What every public name tells an editor and the reference: its types."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from .test_architecture import package_of, sources, tree

Function = ast.FunctionDef | ast.AsyncFunctionDef

JSON = re.compile(r"(?:dict|Mapping)\[str, Any\]")
"""An object of JSON, or options by name: its values have any type."""
COROUTINE = re.compile(r"Coroutine\[Any, Any, ")
"""What is sent into a coroutine, and what comes out on its way, is the event loop's."""

ANY = {
    "bargein.pipeline.statistics.ProcessorStatistics.own": "each processor class has its own statistics",
    "bargein.services.cascade.transcribe.TranscriptionStatistics.part": "each part has its own statistics",
    "bargein.processors.observe.tap.Tap.__init__": "of several classes, type checkers would take the common base",
    "bargein.services.testing.gemini.ScriptedGemini.find_sent": "values of JSON, at any depth",
}
"""Public names that mention `Any`, each with the reason why no type can be named."""


@cache
def definitions(module: str) -> dict[str, list[ast.stmt]]:
    """The statements at the top of a module that define a name; several for an overloaded function."""
    found: dict[str, list[ast.stmt]] = {}
    for node in tree(module).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        name = target.id if isinstance(target, ast.Name) else getattr(node, "name", "")
        found.setdefault(name, []).append(node)
    return found


@cache
def origins(module: str) -> dict[str, tuple[str, str]]:
    """The names that a module imports from the project, each with the module that it is taken from."""
    found = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package_of(module).split(".")
                base = ".".join(above[: len(above) - node.level + 1] + ([node.module] if node.module else []))
            found.update({alias.asname or alias.name: (base, alias.name) for alias in node.names})
    return found


def resolve(module: str, name: str) -> tuple[str, list[ast.stmt]] | None:
    """The module that defines a name which another module defines or imports, and the definition."""
    if module not in sources():
        return None
    if name in definitions(module):
        return module, definitions(module)[name]
    return resolve(*origins(module)[name]) if name in origins(module) else None


@cache
def public_names() -> dict[str, tuple[str, list[ast.stmt]]]:
    """The definition of each name that a module without an underscore in its path offers, by its full path."""
    found = {}
    for module in sources():
        if module == "bargein" or "._" in module:
            continue
        (listing,) = definitions(module)["__all__"]
        assert isinstance(listing, ast.Assign | ast.AnnAssign)
        for name in ast.literal_eval(listing.value or "[]"):
            if (definition := resolve(module, name)) is not None:
                found[f"{definition[0]}.{name}"] = definition
    return found


def bases(module: str, node: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef]]:
    """The base classes of a class that the project defines, each with its module."""
    for base in node.bases:
        name = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(name, ast.Name) and (definition := resolve(module, name.id)) is not None:
            where, (*_, found) = definition
            if isinstance(found, ast.ClassDef):
                yield where, found


def members(module: str, node: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef, ast.stmt]]:
    """The statements of a class and of its private base classes, each with its module and its class."""
    yield from ((module, node, each) for each in node.body)
    for where, base in bases(module, node):
        if f"{where}.{base.name}" not in public_names():
            yield from members(where, base)


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__call__")


def decorators(node: Function) -> list[str]:
    return [ast.unparse(each) for each in node.decorator_list]


def functions() -> Iterator[tuple[str, str, ast.ClassDef | None, Function]]:
    """Public functions and methods: the path, the module, the class, and the definition."""
    for path, (module, definition) in public_names().items():
        for node in definition:
            if isinstance(node, Function):
                yield path, module, None, node
            elif isinstance(node, ast.ClassDef):
                for where, owner, each in members(module, node):
                    if isinstance(each, Function) and is_public(each.name):
                        yield f"{where}.{owner.name}.{each.name}", where, owner, each


def parameters(node: Function) -> list[ast.arg]:
    found = node.args
    starred = [each for each in (found.vararg,) if each], [each for each in (found.kwarg,) if each]
    every = [*found.posonlyargs, *found.args, *starred[0], *found.kwonlyargs, *starred[1]]
    return [each for each in every if each.arg not in ("self", "cls") and not each.arg.startswith("_")]


def mentions_any(node: ast.expr | None) -> bool:
    """Whether an annotation has an `Any` that stands for a type."""
    if node is None:
        return False
    return bool(re.search(r"\bAny\b", COROUTINE.sub("", JSON.sub("", ast.unparse(node)))))


def attributes(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The public attributes that a statement of a class declares, itself or as `__init__`, with their types."""
    in_constructor = isinstance(statement, Function) and statement.name == "__init__"
    for line in ast.walk(statement) if in_constructor else [statement]:
        if isinstance(line, ast.AnnAssign):
            name = ast.unparse(line.target)
            if name.startswith("self.") == in_constructor and is_public(name.removeprefix("self.")):
                yield name.removeprefix("self."), line.annotation


def written_types() -> Iterator[tuple[str, ast.expr | None]]:
    """The annotations of public functions, methods, attributes and aliases, each with the path of the name."""
    overloaded = {path for path, _, _, node in functions() if "overload" in decorators(node)}
    for path, _, _, function in functions():
        if path not in overloaded or "overload" in decorators(function):
            yield from ((path, each.annotation) for each in parameters(function))
            yield path, function.returns
    for path, (module, definition) in public_names().items():
        for node in definition:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                yield path, node.value if isinstance(node, ast.Assign) else node.annotation
            elif isinstance(node, ast.ClassDef):
                for where, owner, statement in members(module, node):
                    yield from ((f"{where}.{owner.name}.{name}", kind) for name, kind in attributes(statement))


def test_types_are_named() -> None:
    """No public parameter, attribute or result is `Any`, but for those of the list, which are still there."""
    assert {path for path, annotation in written_types() if mentions_any(annotation)} == ANY.keys()
