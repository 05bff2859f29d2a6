"""The table of providers is complete, says what the profiles say, and is in the documentation."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from bargein.services.providers.catalog import PROVIDERS, ROWS, Provider, find_provider, load, markdown, rows, table
from bargein.services.realtime import Profile, Realtime
from bargein.services.testing.rehearsal import STAND_INS

ROOT = pathlib.Path(__file__).parents[3]
NAMES = [provider.name for provider in PROVIDERS]
INNER = {
    "provider",
    "max_id_characters",
    "max_image_bytes",
    "image_formats",
    "needs_continuous_audio",
    "responds_to_commit",
    "answers_during_tool_calls",
    "responds_to_tool_results",
    "reconnects_to_update",
}
"""Fields of a profile that have no row: they are for the shared class, or part of another row."""


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
    """Each provider's paths lead to a realtime model and to its profile."""
    model = load(provider.model)
    assert isinstance(model, type)
    assert issubclass(model, Realtime)
    assert isinstance(load(provider.profile), Profile)


def test_an_unknown_provider_is_refused_with_all_names() -> None:
    """The error lists the names of the table."""
    with pytest.raises(ValueError, match="'Nobody'; there are OpenAI, "):
        find_provider("Nobody")


def test_rows_say_what_the_profiles_say() -> None:
    """Rows also say what to use where a provider lacks a capability."""
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
    assert told["input rate, Hz"] == ["8000", "16000", ""]
    assert told["takes pictures and video"][:2] == ["yes", "no"]
    assert "describe them" in told["takes pictures and video"][2]
    assert told["instructions and tools can change"][:2] == ["yes", "no"]
    assert told["detects the end of a turn by"][:2] == ["no", "a, b"]
    assert told["longest connection, minutes"][:2] == ["8", "no limit known"]
    assert [len(row) for row in table()] == [len(PROVIDERS) + 2] * (len(ROWS) + 1)


def test_the_document_has_the_table() -> None:
    """As it is now: `python -c 'from bargein.services.providers.catalog import markdown; print(markdown())'` prints
    it."""
    assert markdown() in (ROOT / "docs/guides/providers.md").read_text()


def refused(provider: Provider, **options: Any) -> str:
    """Why a model cannot be made so; empty where it has no such option."""
    try:
        provider.create(**{**STAND_INS[provider.name].options, **options})
    except (ValueError, TypeError) as error:
        return "" if "there is no such option" in str(error) else str(error)
    raise AssertionError(f"{provider.name} takes {options}")


@pytest.mark.parametrize("provider", PROVIDERS, ids=NAMES)
def test_what_cannot_be_is_refused_before_anything_is_sent(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was given, and what is expected; a key is never shown."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    known = STAND_INS[provider.name].options
    assert "or None" in (refused(provider, turn_detection=5) or "or None")
    assert "'threshold': 1" in (refused(provider, turn_detection={"threshold": 1}) or "'threshold': 1")
    assert "push to talk" in (refused(provider, turn_detection="nobody") or "push to talk")
    assert "'video'" in (refused(provider, output="video") or "'video'")
    for key in ("s3cret\n", b"s3cret"):
        if "api_key" in known or "create_call" in known:
            said = refused(provider, api_key=key, **({"create_call": None} if "create_call" in known else {}))
            assert "the key" in said
            assert "s3cret" not in said
    if "url" in known or provider.name == "Gemini":
        assert "both api_key and token" in refused(provider, token="token")
