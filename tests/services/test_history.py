"""History: what was said, and of the agent's words those that were heard."""

from __future__ import annotations

import pytest
from bargein.services.history import History
from hypothesis import given
from hypothesis import strategies as st


def test_it_keeps_what_was_heard() -> None:
    """Of the agent's words; until somebody says how much, all that was written."""
    history = History()
    history.user("Hello.", "u")
    history.assistant("Good ", "a", "r")
    history.assistant("morning.", "a", "r")
    assert [entry.remembered for entry in history] == ["Hello.", "Good morning."]
    history.heard("Good", "a", "r")
    assert [entry.remembered for entry in history.remembered] == ["Hello.", "Good"]
    history.heard("", "a", "r")
    assert [entry.text for entry in history.remembered] == ["Hello."]


def test_a_transcript_finds_its_item() -> None:
    """The place of an item is where it began, however late its words are."""
    history = History()
    history.user("", "u1")
    history.assistant("I see.", "a1", "r1")
    history.user("What I said.", "u1")
    assert [entry.text for entry in history] == ["What I said.", "I see."]


def test_calls_are_remembered_with_their_results() -> None:
    """One that was never answered is not; each is there once."""
    history = History()
    first = history.call("c1", "weather", "{}")
    assert history.call("c1", "weather", "{}") is first
    history.call("c2", "time", "{}")
    assert history.result("c1", "sunny") is first
    assert history.result("c3", "nobody asked") is None
    assert [entry.output for entry in history.remembered] == ["sunny"]


def test_an_item_can_be_forgotten() -> None:
    """As if it had not been said."""
    history = History()
    history.user("one", "u1")
    history.user("two", "u2")
    history.forget("u1")
    history.forget("")
    assert [entry.text for entry in history] == ["two"]


@given(st.lists(st.tuples(st.sampled_from("uah"), st.sampled_from("123"), st.text(max_size=3)), max_size=60))
def test_it_is_bounded(script: list[tuple[str, str, str]]) -> None:
    """Whatever is said, the newest entries are kept, each item once."""
    history = History(capacity=5)
    for kind, item, text in script:
        if kind == "u":
            history.user(text, item)
        elif kind == "a":
            history.assistant(text, item, "r")
        else:
            history.heard(text, item, "r")
    assert len(history) <= 5
    keys = [(entry.role, entry.item) for entry in history]
    assert len(keys) == len(set(keys))


def test_a_bad_capacity_is_refused() -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"History\(capacity=0\)"):
        History(capacity=0)
