"""The chat-completions protocol without I/O: what is sent, where to, and with which key."""

from __future__ import annotations

from typing import Any

import pytest

from bargein.services.cascade.parts import Prompt
from bargein.services.history import Entry, Picture
from bargein.services.providers.chat import ChatCompletions
from bargein.services.providers.chat.protocol import messages
from bargein.services.sockets.retry import retry_after_seconds

from .prompts import called


def test_the_conversation_as_messages() -> None:
    """Instructions first, heard words only, calls with their answers, neighbours of one role in one."""
    entries = [
        Entry(role="user", text="Hello."),
        Entry(role="user", text="Weather?"),
        Entry(role="assistant", text="Let me see.", response_id="r"),
        called("weather"),
        called("time", arguments="half"),
        called("never", output=None),
        Entry(role="assistant", text="It is sunny and warm.", heard="It is sunny", response_id="r"),
        Entry(role="assistant", text="Unheard.", heard=""),
        called("weather", response="s"),
    ]
    first, second = (
        {"id": f"id-{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments in (("weather", '{"city":"Rome"}'), ("time", "{}"))
    )
    assert messages(Prompt(entries=entries, instructions="Be brief.")) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello.\nWeather?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [first, second]},
        {"role": "tool", "tool_call_id": "id-weather", "content": "sunny"},
        {"role": "tool", "tool_call_id": "id-time", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny", "tool_calls": [first]},
        {"role": "tool", "tool_call_id": "id-weather", "content": "sunny"},
    ]


def test_calls_of_two_responses_are_separate() -> None:
    """Calls of one response share a message. Those of the next response have another one."""
    made = messages(Prompt(entries=[called("a"), called("b", response="s")]))
    assert [each["role"] for each in made] == ["assistant", "tool", "assistant", "tool"]


def test_pictures_are_data_uris() -> None:
    """A picture is a part of the content, beside the words. Models without vision do not get it."""
    shown = Picture(media="image/png", data=b"\x00", detail="low")
    prompt = Prompt(entries=[Entry(role="user", text="Look."), Entry(role="user", pictures=(shown,))])
    (message,) = messages(prompt)
    assert message["content"] == [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
    ]
    assert messages(prompt, images=False) == [{"role": "user", "content": "Look."}]


def test_options_of_the_request() -> None:
    """Tools are wrapped, what is None is left out, and `extra` has the last word."""
    prompt = Prompt(entries=[Entry(role="user", text="x")], tools=[{"name": "t"}])
    extra = {"stream_options": None, "seed": 1}
    model = ChatCompletions("m", url="http://localhost:1/v1", max_tokens=9, temperature=None, extra=extra)
    assert model.request(prompt) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "t"}}],
        "stream": True,
        "max_tokens": 9,
        "seed": 1,
    }


AZURE = "https://a.openai.azure.com"


@pytest.mark.parametrize(
    ("options", "url", "header"),
    [
        ({"api_key": "k"}, "https://api.openai.com/v1/chat/completions", "authorization"),
        ({"url": AZURE + "/", "api_key": "k"}, AZURE + "/openai/v1/chat/completions", "api-key"),
        (
            {"url": AZURE, "api_version": "v", "api_key": "k"},
            AZURE + "/openai/deployments/m/chat/completions?api-version=v",
            "api-key",
        ),
        ({"url": AZURE + "/x?a=v", "api_key": "k"}, AZURE + "/x/chat/completions?a=v", "api-key"),
        ({"url": "http://localhost:1234/v1/"}, "http://localhost:1234/v1/chat/completions", ""),
        ({"url": "http://gpu:8000/v1/chat/completions"}, "http://gpu:8000/v1/chat/completions", ""),
        ({"url": "https://example.org/v1", "api_key": ""}, "https://example.org/v1/chat/completions", ""),
    ],
)  # fmt: skip
def test_url_and_key_header(options: dict[str, Any], url: str, header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each server has its address, and its header for the key. A local server gets no key."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    model = ChatCompletions("m", **options)
    assert model.url == url
    assert [name for name in model._headers if name in ("authorization", "api-key")] == ([header] if header else [])


def test_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is OpenAI's and is sent to no other server. A missing key is an error."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert ChatCompletions("m")._headers["authorization"] == "Bearer secret"
    with pytest.raises(ValueError, match=r"no key for api\.groq\.com; give api_key=\.\.\.$"):
        ChatCompletions("m", url="https://api.groq.com/openai/v1")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ValueError, match="or set OPENAI_API_KEY"):
        ChatCompletions("m")
    with pytest.raises(ValueError, match="characters that no key has"):
        ChatCompletions("m", api_key="a b")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250", "retry-after": "2"}, 0.25),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:07 GMT", "date": "Fri, 01 Jan 2027 00:00:00 GMT"}, 7.0),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:07 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], wait: float | None) -> None:
    """The server's wish is read in seconds, milliseconds, and as a date beside its own date."""
    assert retry_after_seconds(headers) == wait
