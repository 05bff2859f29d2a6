"""The options that models of OpenAI's family share."""

from __future__ import annotations

import pytest

from bargein.services.history import History
from bargein.services.providers.azure import AZURE, AZURE_BETA
from bargein.services.providers.openai.client.protocol import PROFILE
from bargein.services.providers.openai.dialect import GA
from bargein.services.providers.openai.options import (
    OpenAIOptions,
    endpoint_url,
    find_key,
    model_settings,
    with_audio_format,
    with_path,
)
from bargein.services.realtime import driver_options


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://api.example/v1/realtime", "wss://api.example/v1/realtime?api-version=1&deployment=my%20m"),
        (
            "https://api.example/any/path?tenant=7",
            "wss://api.example/any/path?tenant=7&api-version=1&deployment=my%20m",
        ),
        ("http://127.0.0.1:81", "ws://127.0.0.1:81?api-version=1&deployment=my%20m"),
        ("api.example/x", "wss://api.example/x?api-version=1&deployment=my%20m"),
    ],
)
def test_url_option(url: str, expected: str) -> None:
    """The address of a server is used unchanged, and without encryption only if it says so."""
    assert endpoint_url("Who", url, AZURE_BETA, "my m", **{"api-version": "1"}) == expected


@pytest.mark.parametrize("url", ["", "wss://", "ftp://host/", "file:///x"])
def test_malformed_url_is_refused(url: str) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(ValueError, match="this is not an address; expected one such as wss://host/v1/realtime"):
        endpoint_url("Who", url, GA, "m")


def test_an_endpoint_is_completed() -> None:
    """With the path of the dialect, once."""
    expected = "https://a.openai.azure.com/openai/v1/realtime"
    for endpoint in ("https://a.openai.azure.com", "https://a.openai.azure.com/", expected):
        assert with_path(endpoint, AZURE) == expected


def test_settings_override_the_defaults() -> None:
    """None is a choice, too. The user's `extra` is merged over that of the constructor."""
    defaults = model_settings("m", {}, voice="Cherry", transcription="t", extra={"a": 1, "b": 1})
    assert (defaults.voice, defaults.output, defaults.extra) == ("Cherry", "audio", {"a": 1, "b": 1})
    assert (defaults.turn_detection, defaults.transcription) == ({"type": "server_vad"}, {"model": "t"})
    chosen: OpenAIOptions = {"voice": None, "turn_detection": None, "transcription": None, "extra": {"b": 2}}
    settings = model_settings("m", chosen, voice="Cherry", transcription="t", extra={"a": 1, "b": 1})
    assert (settings.voice, settings.turn_detection, settings.transcription) == (None, None, None)
    assert settings.extra == {"a": 1, "b": 2}


def test_options_of_the_driver_are_passed_on() -> None:
    history = History()
    assert driver_options({"voice": "marin", "history": history, "resume": "h"}) == {"history": history, "resume": "h"}


def test_a_key_is_found_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "from-the-environment")
    assert find_key("Who", None, "SOME_KEY") == "from-the-environment"
    assert find_key("Who", "given", "SOME_KEY") == "given"
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(ValueError, match=r"^Who: there is no API key; give api_key=\.\.\., or set SOME_KEY$"):
        find_key("Who", None, "SOME_KEY")


def test_the_profile_has_the_rate_of_the_format() -> None:
    assert with_audio_format("Who", PROFILE, "audio/pcmu").input_rate == 8_000
    assert with_audio_format("Who", PROFILE, "audio/pcm", 16_000).output_rate == 16_000
    with pytest.raises(ValueError, match=r"^Who\(audio='mp3'\): expected one of audio/pcm, "):
        with_audio_format("Who", PROFILE, "mp3")  # type: ignore[arg-type]
