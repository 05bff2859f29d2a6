"""Every code block in the documents runs, as a reader would run it."""

from __future__ import annotations

import ast
import pathlib
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

import bargein.pipeline

from ..programs import run_program

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SERVES = re.compile(r"^ *run_page\(.*\)\n", re.MULTILINE)
"""The line that runs until Ctrl+C. Such a block is a program of its own."""


def name(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def python_blocks(path: pathlib.Path) -> list[str]:
    return [code for language, code in FENCE.findall(path.read_text()) if language == "python"]


WITH_CODE = [path for path in DOCUMENTS if python_blocks(path)]
SERVERS = [(path, block) for path in WITH_CODE for block in python_blocks(path) if SERVES.search(block)]


@pytest.mark.parametrize("path", WITH_CODE, ids=name)
def test_code_runs(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The Python blocks of a document, in order, as one program."""
    program = SERVES.sub(lambda match: match[0].replace(match[0].strip(), "pass"), "\n".join(python_blocks(path)))
    file = tmp_path / "program.py"
    file.write_text(program)
    run = run_program(file)
    assert run.returncode == 0, f"{name(path)}: {run.stderr}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_drawings_are_plain_text(path: pathlib.Path) -> None:
    """No document has a Mermaid block: the site would need a script of another server to draw it."""
    assert "mermaid" not in [language for language, _ in FENCE.findall(path.read_text())]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "block"), SERVERS, ids=[f"{name(path)}-{at}" for at, (path, _) in enumerate(SERVERS)])
def test_servers_serve(path: pathlib.Path, block: str, tmp_path: pathlib.Path) -> None:
    """A program that serves a page prints its address, answers there, and ends without a word at Ctrl+C."""
    file = tmp_path / "agent.py"
    file.write_text(block)
    with subprocess.Popen(
        [sys.executable, "-u", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        try:
            line = program.stdout.readline()
            address = re.search(r"http://localhost:\d+/", line)
            assert address, f"{name(path)} printed {line!r}: {program.stderr.read()}"
            with urllib.request.urlopen(f"{address[0]}healthz", timeout=20) as answer:
                assert answer.status == 200
            program.send_signal(signal.SIGINT)
            assert program.wait(timeout=30) == 0
            assert "Traceback" not in program.stderr.read()
        finally:
            program.kill()


FIRST_WEEK = {
    "a tool and the page": ("tools", "run_page(agent)"),
    "a realtime model from any microphone": ("change-brain", "OpenAIRealtime(api_key"),
    "another brain": ("change-brain", "Deepgram(api_key"),
    "a greeting": ("greeting", "greeting="),
    "a processor that masks, and its test": ("own-processor", "(hidden,) = HideNumbers()"),
    "one's own speech-to-text": ("own-speech-to-text", "SpeechToText"),
    "a telephone call": ("telephone", "accept_twilio"),
    "the answer to Twilio's webhook": ("telephone", "<Stream"),
    "a recording and a transcript": ("recording", "json.dumps"),
    "the camera with an overlay": ("video", "SampleFps(1)"),
    "push to talk": ("push-to-talk", 'Turns(end="commit")'),
    "another agent": ("handoff", "class Handoff"),
    "idle users": ("idle-users", "idle_ms=10_000"),
    "the time to the first audio": ("metrics", "Histogram("),
}
"""What people build in their first week: the recipe, and a part of its program."""


@pytest.mark.parametrize("what", FIRST_WEEK)
def test_programs_of_the_first_week_are_short(what: str) -> None:
    """Each is one block of a recipe, of fewer than 45 lines."""
    page, part = FIRST_WEEK[what]
    lengths = [len(code.splitlines()) for code in python_blocks(ROOT / "docs/how-to" / f"{page}.md") if part in code]
    assert lengths, f"no program of how-to/{page}.md has {part}"
    assert min(lengths) < 45


@pytest.mark.parametrize("path", WITH_CODE, ids=name)
def test_imports_are_explicit(path: pathlib.Path) -> None:
    """A reader sees where each name comes from."""
    assert not re.search(r"^\s*from \S+ import \*", "\n".join(python_blocks(path)), re.MULTILINE)


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PROGRAMS = [(path, "\n".join(python_blocks(path))) for path in WITH_CODE] + [
    (path, path.read_text()) for path in EXAMPLES
]


@pytest.mark.parametrize(("path", "program"), PROGRAMS, ids=[name(path) for path, _ in PROGRAMS])
def test_everyday_names_come_from_the_front_door(path: pathlib.Path, program: str) -> None:
    """A reader sees one import line for them."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bargein."):
            everyday = [alias.name for alias in node.names if alias.name in bargein.__all__]
            assert not everyday, f"{name(path)}: write `from bargein import {', '.join(everyday)}`"


@pytest.mark.parametrize(("path", "program"), PROGRAMS, ids=[name(path) for path, _ in PROGRAMS])
def test_frames_take_their_payload_by_position(path: pathlib.Path, program: str) -> None:
    """`Text("Hello")`, as all documents write it."""
    payloads: dict[str, tuple[str, ...]] = {
        each: getattr(getattr(bargein.pipeline, each), "__match_args__", ()) for each in bargein.pipeline.__all__
    }
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            named = {keyword.arg for keyword in node.keywords}
            assert not named & {*payloads.get(node.func.id, ())[:1]}, f"{name(path)}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_block_names_its_language(path: pathlib.Path) -> None:
    """So it is coloured, and Python that is not tested has to be called something else."""
    bare = [code[:60] for language, code in FENCE.findall(path.read_text()) if not language]
    assert not bare, f"{name(path)}: write ```python, ```bash or ```text before {bare}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: pathlib.Path) -> None:
    """Relative links name files that exist."""
    for target in re.findall(r"\]\(([^)#:\s]+?)(?:#[^)]*)?\)", FENCE.sub("", path.read_text())):
        assert (path.parent / target).exists(), f"{name(path)} links to {target}"


SOURCES = [
    str(path.relative_to(ROOT))
    for folder in ROOT.iterdir()
    if folder.name in {"pipeline", "processors", "services", "tests", "examples", "benchmarks", "docs"}
    for path in folder.rglob("*")
    if path.suffix in {".py", ".js"}
]


@pytest.mark.parametrize("path", [ROOT / "docs" / "design.md", ROOT / "CONTRIBUTING.md"], ids=name)
def test_files_that_are_named_exist(path: pathlib.Path) -> None:
    """Maintainers find the modules that the documents for them name."""
    for file in re.findall(r"`([\w/]+\.(?:py|js))`", FENCE.sub("", path.read_text())):
        assert any(f"/{source}".endswith(f"/{file}") for source in SOURCES), f"{name(path)} names {file}"
