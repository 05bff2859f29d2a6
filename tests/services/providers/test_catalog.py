"""The table of providers: whole, true, in the documents; and one program runs with each of them."""

from __future__ import annotations

import pathlib
import re
import runpy
from typing import Any

import pytest
from bargein.services.providers.catalog import PROVIDERS, ROWS, Provider, _named, markdown, rehearse, rows, table
from bargein.services.realtime import Profile, Realtime

ROOT = pathlib.Path(__file__).parents[2]
NAMES = [provider.name for provider in PROVIDERS]
INNER = {"provider", "image_bytes", "image_forms", "continuous", "answers_commits", "continues", "renews"}
"""Fields of a profile that are for the shared class, or told in another row."""


def test_no_provider_is_forgotten() -> None:
    """Each class in the sources that is a `Realtime` is in the table; a sideband is no provider, but beside one."""
    sources = [path.read_text() for path in (ROOT / "services/bargein/services").rglob("*.py")]
    classes = {name for source in sources for name in re.findall(r"^class (\w+)\(Realtime\)", source, re.MULTILINE)}
    assert classes - {"OpenAISideband"} == {provider.model.rpartition(":")[2] for provider in PROVIDERS}
    assert len(set(NAMES)) == len(NAMES)


def test_no_capability_is_forgotten() -> None:
    """Each field of a profile is a row, or is known to be none."""
    assert set(Profile.__struct_fields__) == set(ROWS) | INNER


@pytest.mark.parametrize("provider", PROVIDERS, ids=NAMES)
def test_paths_lead_somewhere(provider: Provider) -> None:
    """To a class, what it can do, and its stand-in."""
    assert issubclass(_named(provider.model), Realtime)
    assert isinstance(_named(provider.profile), Profile)
    assert not provider.peer or callable(_named(provider.peer))


def test_rows_say_what_the_profiles_say() -> None:
    """And what to use where a provider cannot do a thing."""
    can = Profile(
        provider="Can",
        input_rate=8000,
        output_rate=24_000,
        supports_images=True,
        supports_updates=True,
        max_session_seconds=480,
    )
    cannot = Profile(provider="Cannot", input_rate=16_000, output_rate=24_000, turn_detection=("a", "b"))
    told = {row[0]: row[1:] for row in rows([can, cannot])}
    assert told["hears, Hz"] == ["8000", "16000", ""]
    assert told["sees pictures and video"][:2] == ["yes", "no"]
    assert "describe them" in told["sees pictures and video"][2]
    assert told["instructions and tools can change"][:2] == ["yes", "no"]
    assert told["finds the end of a turn by"][:2] == ["no", "a, b"]
    assert told["a connection lasts, minutes"][:2] == ["8", "no limit known"]
    assert [len(row) for row in table()] == [len(PROVIDERS) + 2] * (len(ROWS) + 1)


def test_the_document_has_the_table() -> None:
    """As it is now: `python -c 'from bargein.services.providers.catalog import markdown; print(markdown())'` prints it."""
    assert markdown() in (ROOT / "docs/guides/providers.md").read_text()


def refused(provider: Provider, **options: Any) -> str:
    """Why a model cannot be made so; empty where it has no such option."""
    try:
        provider.make(**{**provider.options, **options})
    except (ValueError, TypeError) as error:
        return "" if "unexpected keyword argument" in str(error) else str(error)
    raise AssertionError(f"{provider.name} takes {options}")


@pytest.mark.parametrize("provider", PROVIDERS, ids=NAMES)
def test_what_cannot_be_is_refused_before_anything_is_sent(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was given, and what is expected; a key is never shown."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert "or None" in (refused(provider, turn_detection=5) or "or None")
    assert "'threshold': 1" in (refused(provider, turn_detection={"threshold": 1}) or "'threshold': 1")
    assert "push to talk" in (refused(provider, turn_detection="nobody") or "push to talk")
    assert "'video'" in (refused(provider, output="video") or "'video'")
    for key in ("s3cret\n", b"s3cret"):
        if "api_key" in provider.options or "join" in provider.options:
            said = refused(provider, api_key=key, **({"join": None} if "join" in provider.options else {}))
            assert "the key" in said
            assert "s3cret" not in said
    if "endpoint" in provider.options or provider.name == "Gemini":
        assert "both api_key and token" in refused(provider, token="token")


@pytest.mark.virtual
async def test_who_is_not_known_cannot_be_rehearsed() -> None:
    """The error names all that are."""
    with pytest.raises(ValueError, match="there are OpenAI, "):
        async with rehearse("Nobody", "Hello."):
            pass


@pytest.mark.virtual
@pytest.mark.parametrize("name", [provider.name for provider in PROVIDERS if provider.peer])
async def test_one_program_runs_with_each(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The example: a tool is run, an answer is heard in part, and no more of it is remembered."""
    example = runpy.run_path(str(ROOT / "examples/any_provider.py"))
    async with rehearse(name, example["ASKS"], example["STORY"], tools=[example["clock"]]) as model:
        await example["converse"](model)
    said = capsys.readouterr().out
    assert said == f"{model.provider} said: It is noon | and wanted to say: {example['STORY']}\n"
    assert [entry.output for entry in model.history if entry.role == "call"] == ["noon in Paris"]
