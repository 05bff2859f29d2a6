"""The public names are exactly those that are meant to be, and importing them costs little."""

from __future__ import annotations

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FACES = [
    "bargein.pipeline",
    "bargein.pipeline.testing",
    "bargein.processors",
    "bargein.services",
    "bargein.services.cascade",
    "bargein.services.providers.openai",
    "bargein.services.realtime",
    "bargein.services.tools",
]
MODULES = sorted(
    path for root in ("pipeline", "processors", "services") for path in (ROOT / root / "bargein").rglob("*.py")
)
FLOORS = {"pipeline": ("bargein.processors", "bargein.services"), "processors": ("bargein.services",), "services": ()}


@pytest.mark.parametrize("face", FACES)
def test_faces_only_re_export(face: str) -> None:
    """`__all__` is sorted, complete, and each name is there."""
    module = importlib.import_module(face)
    public = {
        name for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public == set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_offers(module: pathlib.Path) -> None:
    """Each has a docstring and an `__all__`."""
    tree = ast.parse(module.read_text())
    assert ast.get_docstring(tree)
    names = [node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None) for node in tree.body]
    assert any(isinstance(name, ast.Name) and name.id == "__all__" for name in names)


@pytest.mark.parametrize("root", FLOORS)
def test_imports_point_down(root: str) -> None:
    """The engine knows no processor and no service, processors know no service."""
    for path in (ROOT / root).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                named.append(node.module or "")
            assert not [name for name in named if name.startswith(FLOORS[root])], path


def test_importing_the_engine_imports_no_backend() -> None:
    """Neither trio, nor pytest, nor the test kit come with it."""
    code = "import sys, bargein.pipeline; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"trio", "pytest", "bargein.pipeline.testing", "hypothesis"} & set(loaded)
