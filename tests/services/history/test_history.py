"""History: what was said, and of the agent's words those that were heard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.services.cascade import LanguageModel, Prompt, summarise_with
from bargein.services.history import Entry, History, Picture


def test_it_keeps_what_was_heard() -> None:
    """Of the agent's words, those that were heard are kept; until that is reported, all that were written."""
    history = History()
    history.user("Hello.", "u")
    history.assistant("Good ", "a", "r")
    history.assistant("morning.", "a", "r")
    assert [entry.remembered for entry in history] == ["Hello.", "Good morning."]
    history.set_heard("Good", "a", "r")
    assert [entry.remembered for entry in history.remembered] == ["Hello.", "Good"]
    history.set_heard("", "a", "r")
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


def test_a_call_is_found_by_its_id() -> None:
    """The same one again is no second."""
    history = History()
    made = history.call("c1", "weather", "{}")
    assert history.find_call("c1") is made
    assert history.call("c1", "weather", "{}") is made
    assert history.find_call("c2") is None


def test_an_id_may_be_given_again() -> None:
    """If another response uses the id after the first call was answered, it is another call with its own answer."""
    history = History()
    history.call("call_1", "clock", "{}", "r1")
    history.call("call_1", "clock", "{}", "r2")
    history.result("call_1", "noon")
    history.call("call_1", "clock", "{}", "r1")
    history.remember("call", "{}", call_id="call_1", name="clock")
    assert len(history) == 1
    history.call("call_1", "clock", "{}", "r3")
    assert [entry.output for entry in history] == ["noon", None]
    history.result("call_1", "one")
    assert [entry.output for entry in history] == ["noon", "one"]


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
    history = History(max_entries=5)
    for kind, item, text in script:
        if kind == "u":
            history.user(text, item)
        elif kind == "a":
            history.assistant(text, item, "r")
        else:
            history.set_heard(text, item, "r")
    assert len(history) <= 5
    keys = [(entry.role, entry.item_id) for entry in history]
    assert len(keys) == len(set(keys))


def test_bounds_that_cannot_be_are_refused() -> None:
    """With what was given."""
    several: list[dict[str, Any]] = [{"max_entries": 0}, {"max_characters": 0}, {"max_pictures": -1}]
    for wrong in several:
        with pytest.raises(ValueError, match=rf"History\({next(iter(wrong))}="):
            History(**wrong)


# Bounds ---------------------------------------------------------------------------------------------------------------


def talk(history: History, turns: int, words: str = "word " * 10) -> None:
    """So many turns, each answered."""
    for _ in range(turns):
        number = len(history) + history.statistics().forgotten
        history.user(f"{number} {words}", f"u{number}")
        history.assistant(f"{number} {words}", f"a{number}", f"r{number}")


def test_characters_are_bounded() -> None:
    """The newest entry stays, however long it is; what is not remembered does not count."""
    history = History(max_characters=100)
    history.user("x" * 60)
    history.assistant("y" * 60, "a", "r")
    history.set_heard("y", "a", "r")
    history.user("z" * 30)
    assert [entry.remembered[0] for entry in history] == ["x", "y", "z"]
    history.user("w" * 300)
    assert [entry.remembered[0] for entry in history] == ["w"]
    assert history.statistics().forgotten == 3


def test_what_somebody_waits_for_is_forgotten_last() -> None:
    """What the model should know, and a call whose answer is under way."""
    history = History(max_entries=4)
    history.system("Be kind.")
    history.call("c", "slow", "{}")
    talk(history, 10)
    assert [entry.role for entry in history] == ["system", "call", "user", "assistant"]
    history.result("c", "done")
    talk(history, 1)
    assert [entry.role for entry in history] == ["system", "assistant", "user", "assistant"]
    for number in range(9):
        history.system(str(number))
    assert len(history) == 4


def picture(number: int = 0, size: int = 10) -> Picture:
    return Picture(media="image/jpeg", data=bytes([number]) * size)


def test_pictures_are_bounded() -> None:
    """The newest are kept; an entry that had nothing else is gone."""
    history = History(max_pictures=2)
    history.show(picture(1), "with words")
    history.user("Look at this.", "with words")
    for number in (2, 3, 4):
        history.show(picture(number))
    assert [(entry.text, len(entry.pictures), len(entry.available_pictures)) for entry in history] == [
        ("Look at this.", 1, 0), ("", 1, 1), ("", 1, 1),
    ]  # fmt: skip
    assert [entry.available_pictures[0].data[0] for entry in history.remembered if entry.available_pictures] == [3, 4]
    statistics = history.statistics()
    assert (statistics.pictures, statistics.picture_bytes, statistics.forgotten) == (2, 20, 1)
    assert not [*History(max_pictures=0)]


def test_statistics_are_a_snapshot() -> None:
    """Entries by role, and how much there is to read."""
    history = History()
    history.user("Hello.", "u")
    history.assistant("Good morning.", "a", "r")
    history.set_heard("Good", "a", "r")
    history.call("c", "weather", "{}")
    before = history.statistics()
    history.user("more")
    assert before.entries == {"user": 1, "assistant": 1, "call": 1}
    assert before.characters == 6 + 4 + 2
    assert (before.forgotten, before.summarised, before.failed, before.pictures) == (0, 0, 0, 0)
    assert repr(history) == "<History of 4 entries>"


# Summaries ------------------------------------------------------------------------------------------------------------


def crowded(history: History) -> bool:
    return history.crowded


async def test_the_older_half_is_summarised() -> None:
    """Up to a turn of the user's; the dialogue goes on meanwhile, and the next summary has the first in it."""
    asked: list[list[str]] = []
    began = anyio.Event()

    async def summarise(entries: Sequence[Entry]) -> str:
        asked.append([entry.role for entry in entries])
        began.set()
        await anyio.sleep(0.01)
        return "They talked."

    history = History(max_entries=20, summarise=summarise)
    history.system("Be kind.")
    talk(history, 6)
    assert not crowded(history)
    talk(history, 2)
    assert crowded(history)
    async with anyio.create_task_group() as group:
        group.start_soon(history.condense)
        await began.wait()
        assert not crowded(history), "once is enough"
        assert not await history.condense()
        history.user("meanwhile", "m")
    assert asked == [["user", "assistant"] * 3]
    assert [entry.text for entry in history][:2] == ["Be kind.", "They talked."]
    assert len(history) == 1 + 1 + 10 + 1
    assert history.statistics().summarised == 6
    talk(history, 10)
    assert await history.condense()
    assert asked[-1][0] == "system"
    assert [entry.summarises > 6 for entry in history if entry.summarises] == [True]


async def test_a_call_is_never_parted_from_its_result() -> None:
    """What has an open call in it is left alone."""
    taken: list[Entry] = []

    async def summarise(entries: Sequence[Entry]) -> str:
        taken.extend(entries)
        return "."

    history = History(max_entries=10, summarise=summarise)
    history.user("What is it?")
    history.call("c", "slow", "{}")
    talk(history, 4)
    assert crowded(history)
    assert not await history.condense()
    history.result("c", "42")
    assert await history.condense()
    assert [entry.output for entry in taken if entry.role == "call"] == ["42"]


@pytest.mark.virtual
@pytest.mark.parametrize("how", ["raises", "is silent", "is no shorter", "never answers", "gives no text"])
async def test_a_summary_that_fails_changes_nothing(how: str) -> None:
    """It is counted, and tried again some entries later."""

    async def summarise(entries: Sequence[Entry]) -> Any:
        if how == "raises":
            raise OSError("no network")
        if how == "never answers":
            await anyio.sleep_forever()
        return {"is silent": "  ", "is no shorter": "x" * 9999, "gives no text": None}[how]

    history = History(max_entries=16, summarise=summarise)
    talk(history, 7)
    before = list(history)
    assert crowded(history)
    assert not await history.condense()
    assert list(history) == before
    assert history.statistics().failed == 1
    assert not crowded(history)
    talk(history, 5)
    assert crowded(history)


async def test_a_language_model_may_summarise() -> None:
    """It is opened for that, and asked with the entries and a request."""
    prompts: list[Prompt] = []
    opened: list[bool] = []

    class Model(LanguageModel):
        async def __aenter__(self) -> None:
            opened.append(True)

        async def __aexit__(self, *error: object) -> None:
            opened.append(False)

        async def answer(self, prompt: Prompt) -> AsyncIterator[str]:
            prompts.append(prompt)
            yield "The user "
            yield "counts."

    history = History(max_entries=8, max_characters=400, summarise=summarise_with(Model()))
    talk(history, 3)
    assert crowded(history)
    assert await history.condense()
    assert history.remembered[0].text == "What was said before: The user counts."
    assert [entry.role for entry in prompts[0].entries] == ["user", "assistant", "user"]
    assert "summarise" in prompts[0].instructions
    assert opened == [True, False]


# In and out -----------------------------------------------------------------------------------------------------------

texts = st.text(max_size=8)
entries = st.builds(
    Entry,
    role=st.sampled_from(["system", "user", "assistant", "call"]),
    item_id=texts,
    text=texts,
    heard=st.none() | texts,
    pictures=st.lists(
        st.builds(Picture, media=st.just("image/png"), data=st.binary(min_size=1, max_size=9)), max_size=2
    ).map(tuple),
    response_id=texts,
    call_id=texts,
    name=texts,
    arguments=texts,
    output=st.none() | texts,
    summarises=st.integers(0, 9),
)


@given(st.lists(entries, max_size=12))
def test_json_there_and_back(made: list[Entry]) -> None:
    """Nothing is lost."""
    history = History(max_pictures=99)
    history.entries.extend(made, 3)
    again = History.from_json(history.to_json(), max_pictures=99)
    assert list(again) == made
    assert again.statistics() == history.statistics()
    assert History.from_json(history.to_json().decode(), max_pictures=99).to_json() == history.to_json()


def test_half_a_character_is_kept_out() -> None:
    """No wire takes it, and neither does JSON."""
    history = History()
    history.user("a\ud83db", "u")
    history.assistant("\ud800", "a", "r")
    history.call("c", "f", '{"x": "\udc00"}')
    history.result("c", "\udc00")
    assert [entry.remembered for entry in history] == ["a?b", "?", ""]
    assert list(History.from_json(history.to_json())) == list(history)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "truncated"),
        (b"\xff", "from_json: "),
        ("[]", "it has no version"),
        ('{"version": 2, "entries": []}', "its version is 2, and this one reads 1"),
        ('{"version": 1}', "array"),
        ('{"version": 1, "entries": [{"role": "user"}, {"text": "x"}]}', r"`role` - at `\$\[1\]`"),
        ('{"version": 1, "entries": [{"role": "judge"}]}', "judge"),
        ('{"version": 1, "entries": [{"role": "user", "pictures": [{"media": "image/png", "data": "?"}]}]}', "base64"),
        ("[" * 100_000, "too deeply"),
    ],
)
def test_what_is_no_conversation_is_refused(data: bytes | str, says: str) -> None:
    """With what is wrong, where, and what was expected."""
    with pytest.raises(ValueError, match=says):
        History.from_json(data)


MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is that?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        ],
    },
    {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"it"}'}},
            {"id": "c2", "type": "function", "function": {"name": "think", "arguments": "{}"}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "a dog"},
    {"role": "tool", "tool_call_id": "c2", "content": "hm"},
    {"role": "assistant", "content": "It is a dog."},
]


def test_messages_there_and_back() -> None:
    """Roles, calls with their results, pictures."""
    history = History.from_messages(MESSAGES)
    assert [entry.role for entry in history] == ["system", "user", "assistant", "call", "call", "assistant"]
    assert [*history][1].available_pictures == (Picture(media="image/png", data=b"\0", detail="low"),)
    assert [entry.output for entry in history if entry.role == "call"] == ["a dog", "hm"]
    assert history.to_messages() == MESSAGES
    msgspec.json.encode(history.to_messages())


def test_messages_of_other_kinds_are_understood() -> None:
    """Developers' messages, the parts of other interfaces, pictures that are elsewhere, calls without an answer."""
    history = History.from_messages(
        [
            {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
        ]
    )
    assert history.to_messages() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "(a picture: https://a.b/c.png)"},
        {"role": "assistant", "content": "No."},
    ]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("hello", "message 0: str 'hello'"),
        ({"content": "x"}, "role None"),
        ({"role": "user", "content": 5}, "content 5"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "type 'input_audio'"),
        ({"role": "user", "content": [{"type": "text"}]}, "text is None"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,?"}]}, "encoded"),
        ({"role": "tool", "tool_call_id": "c", "content": "x"}, "tool_call_id 'c': no message before it"),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "an id and a function"),
        ({"role": "assistant", "tool_calls": 5}, "int"),
    ],
)
def test_messages_that_are_none_are_refused(message: Any, says: str) -> None:
    """With the number of the message."""
    with pytest.raises(ValueError, match=says):
        History.from_messages([message])


def test_an_id_that_no_wire_takes_can_be_saved() -> None:
    """Half of a surrogate pair in an id or a name becomes a question mark, and the rest of the JSON stays."""
    history = History()
    history.user("naïve", "u\ud83d")
    history.call("c\udc00", "f\udc00", "{}")
    user, call = History.from_json(history.to_json())
    assert (user.text, user.item_id, call.call_id, call.name) == ("naïve", "u?", "c?", "f?")
