"""What every public name tells an editor and the reference: its types, and a line for each of its parameters."""

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
    "bargein.services.testing._scripted_server.ScriptedServer.received": "messages as each protocol has them",
    "bargein.services.testing._scripted_server.ScriptedServer.rehearsal": "each class has its own options",
}
"""Public names that mention `Any`, each with the reason why no type can be named."""


ENGINE_METHODS = {"process", "run"}
"""The methods of a processor that the engine calls. `Processor` describes their parameters."""


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
                own = {each.name for each in node.body if isinstance(each, Function)}
                for where, owner, each in members(module, node):
                    if isinstance(each, Function) and is_public(each.name) and (owner is node or each.name not in own):
                        yield f"{where}.{owner.name}.{each.name}", where, owner, each


def implementations() -> Iterator[tuple[str, str, ast.ClassDef | None, Function]]:
    """Public functions and methods without their overloads and setters."""
    for path, module, owner, node in functions():
        if not any(name == "overload" or name.endswith(".setter") for name in decorators(node)):
            yield path, module, owner, node


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


def documented(text: str | None) -> list[str]:
    """The parameters that the `Args:` block of a docstring names, in order."""
    block = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", text or "", re.M)
    return re.findall(r"^    \*{0,2}(\w+):", block[1], re.M) if block else []


def described(module: str, owner: ast.ClassDef | None, node: Function) -> list[str]:
    """The parameters that are documented for a function: at its own place, or at that of the method it overrides."""
    found = documented(ast.get_docstring(node))
    if not found and owner is not None and node.name == "__init__":
        found = documented(ast.get_docstring(owner))
    if not found and owner is not None:
        for where, base in bases(module, owner):
            for each in base.body:
                if isinstance(each, Function) and each.name == node.name and not found:
                    found = described(where, base, each)
            found = found or described(where, base, node)
    return found


def test_parameters_are_described() -> None:
    """An `Args:` block names each parameter of a public function, in the order of the signature."""
    missing = {}
    for path, module, owner, node in implementations():
        wanted = [each.arg for each in parameters(node) if "Annotated[" not in ast.unparse(each.annotation or node)]
        is_engine_method = owner is not None and node.name in ENGINE_METHODS
        if wanted and not is_engine_method and (found := described(module, owner, node)) != wanted:
            missing[path] = [name for name in wanted if name not in found] or found
    assert missing == {}


MEASURES = re.compile(r"\b(milliseconds|seconds|bytes|pixels|characters|decibels)\b")
UNITS = re.compile(r"(?:^|_)(ms|seconds|bytes|pixels|characters|words|db|dbfs|fps)(?:_|$)")
WITHOUT_UNIT = {
    "now": "the present time",
    "expires_at": "a time of the clock",
    "width": "of a picture, always in pixels",
    "height": "of a picture, always in pixels",
    "timeout": "overrides a method of asyncio",
}
"""Names of parameters that do not carry their unit, each with the reason."""


def test_options_carry_their_unit() -> None:
    """A number that is described in seconds, bytes or another measure has that in its name."""
    nameless = set()
    for path, _, owner, node in implementations():
        text = f"{ast.get_docstring(node) or ''}\n{ast.get_docstring(owner) or '' if owner else ''}"
        for each in parameters(node):
            line = re.search(rf"^    {each.arg}: (.*)", text, re.M)
            is_number = each.annotation and re.fullmatch(r"(int|float)( \| None)?", ast.unparse(each.annotation))
            if line and is_number and MEASURES.search(line[1]) and not UNITS.search(each.arg):
                nameless.add((path, each.arg))
    assert {name for _, name in nameless} == WITHOUT_UNIT.keys(), nameless
