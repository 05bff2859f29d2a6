"""Brains by name: what can be used, what it needs otherwise, and that it stands below any peer."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from bargein.pipeline import Pipeline
from bargein.services.providers import brains
from bargein.services.providers.brains import choice, choices
from bargein.services.providers.catalog import PROVIDERS

KEYS = {provider.keys[0]: "key" for provider in PROVIDERS if provider.keys}


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    find = importlib.util.find_spec

    def found(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in modules else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", found)


def test_every_provider_with_a_key_may_be_chosen() -> None:
    """The offline brain may always be chosen, because it needs no key."""
    names = [each.name for each in choices(KEYS)]
    assert names == ["openai", "gemini", "nova", "qwen", "ultravox", "xai", "offline"]
    assert not any(each.missing for each in choices(KEYS))


def test_the_first_that_can_be_used_is_taken() -> None:
    """Without a key that is the offline one."""
    assert choice("auto", {}).name == "offline"
    assert choice("auto", {"XAI_API_KEY": "key"}).name == "xai"


def test_a_missing_library_is_named_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each extra once, whatever else a provider needs."""
    without(monkeypatch, "httpx", "h2", "botocore")
    missing = {each.name: each.missing for each in choices(KEYS)}
    assert missing["ultravox"] == "pip install 'bargein[http]'"
    assert missing["nova"] == "pip install 'bargein[nova]'"
    assert missing["openai"] == ""
    with pytest.raises(ValueError, match=r"'ultravox' cannot be used: pip install 'bargein\[http\]'"):
        choice("ultravox", KEYS)


def test_a_brain_nobody_has_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match=r"there is no such brain; there are openai, .*offline"):
        choice("nobody", KEYS)


def test_the_offline_brain_is_one_for_each_session() -> None:
    """With eyes shut, for peers that show pictures and those that do not."""
    chosen = choice("offline", {})
    one, other = chosen.make(), chosen.make()
    assert one is not other
    assert isinstance(one, Pipeline)
    assert not chosen.sees


@pytest.mark.parametrize(("hibari", "missing"), [(True, ""), (False, "pip install 'bargein[espeak]'")])
def test_a_better_voice_replaces_the_light_one(hibari: bool, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is missing where `Hibari` speaks and espeak-ng is not installed."""
    without(monkeypatch, "espeakng_loader")
    monkeypatch.setattr(brains, "hibari_is_installed", lambda: hibari)
    (offline,) = [each for each in choices({}) if each.name == "offline"]
    assert offline.missing == missing
    assert ("the voice Hibari" in offline.title) == hibari
