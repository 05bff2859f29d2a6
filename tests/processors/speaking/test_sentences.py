"""Sentences: real replies in many languages, cut as a voice would want them, whatever the deltas."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.pipeline import LIVE, End, Interrupt, ResponseEnded, Text, ToolCall
from bargein.pipeline.testing import Harness, check_processor
from bargein.processors.speaking.sentences import Sentences

NASTY = st.text(
    st.sampled_from(
        "aB1. \n,!?…\"')(“”«»-—:;。！、，「」你はกเ\u0e32ा\u094d।؟\u200d\u0301👍🏽\u20e3\ufe0f*_`~#[](<>|/=\\\xa0\r"
    ),
    max_size=60,
)
WORDS = st.lists(
    st.sampled_from(
        [
            "e.g. ",
            "Dr. ",
            "Hi! ",
            "U.S. ",
            "3.14",
            "1. ",
            "am 12. ",
            "\n```",
            "**b** ",
            "#. ",
            "> ",
            "[a](b) ",
            "... ",
            "你好。",
            "z. B. ",
        ]
    )
).map("".join)
SKIPS: list[tuple[str, ...]] = [(), ("markup",), ("code",), ("emoji",), ("markup", "code", "emoji")]

REPLIES = [
    "Of course! |I'd be happy to help you plan it. |First, could you tell me: where are you going, and when?",
    (
        "Sure, I can help you with that, |and here is how: first open it. |Pi is 3.14. "
        "|It costs $3.50 or 1,000.50 dollars."
    ),
    "Use Python 3.11.7. |It runs at 5 p.m. on Jan. 5, 2024, daily. |It is 5 p.m. |Then we go. |It is 5 p.m. now.",
    "See https://example.com/a.b?c=d. |Next mail me at a.b@c.org. |Open foo.py. |Go to www.example.com. |Then click.",
    (
        "J. R. R. Tolkien lived in the U.S. |He wrote e.g. The Hobbit, i.e. a book, etc. |J.R.R. Tolkien too. "
        "|So do I. |Do you?"
    ),
    (
        "Then Mr. Smith and Dr. Jones met Prof. X at St. Paul's. |I like apples, etc. but not plums. "
        "|Never mind. |I met Max. |Bye now."
    ),
    "Apple Inc. is here. |It is Apple Inc. |The rest follows. |King Jr. sang. |That was King Jr. |They sang well.",
    (
        "No worries. |Take your time... |I'll wait... maybe not. |Hmm… yes indeed. |Hmm… Yes indeed. "
        "|What?! No way!!! |Really now?"
    ),
    (
        'Right. |"Really?" she asked. |(It was late.) |Then he "slept." |She said "Yes!" and left. '
        "|'It is fine.' |It rained."
    ),
    "The word—if it is one—|is long. |One, two – three. |He said so; I agree: yes. |It was May 3, 2024, I think.",
    (
        "It was on May 3, 2024, |in Rome. |I am 30. |You are 12. |No. 5 is alive. |No. Never. |See Fig. 2. "
        "|In 2020. |15 came."
    ),
    (
        "Here are the steps:\n|1. First do this.\n|2. Then do that. |It helps.\n|3) Last one\n|- bullet one\n"
        "|* bullet two\n\n|Done. Enjoy it!"
    ),
    "Great! 🎉 |Let's go to the party. 👍",
    (
        "Natürlich! |Es ist am Montag, dem 3. Mai, um 15.30 Uhr. |Ich komme z. B. am 12. Juni bzw. später. "
        "|Nr. 5 lebt. |Ich bin 30."
    ),
    (
        "„Wirklich?“ fragte sie. |„Ja, gern.“ |Er nahm u. a. Stifte, Papier usw. mit. |Dr. h. c. Müller auch. "
        "|Es kostet 3,50 €."
    ),
    (
        "Bien sûr ! |Le train part à 15 h 30. |« Vraiment ? » demanda-t-il. |« Oui, bien sûr. » "
        "|M. Dupont et Mme. Durand, p. ex., partent."
    ),
    (
        "¡Claro! |¿Qué día prefieres? |El Sr. Pérez y la Sra. Gil llegan a EE. UU. |Cuesta 1.000,50 euros. "
        "|Vale... ¿seguimos? |Sí."
    ),
    "Certo! |Il sig. Rossi arriva alle 15.30. |Costa 3,50 euro ecc. |Va bene?",
    "Привет! |Как дела? |Это т. е. пример. |А. С. Пушкин родился в 1799 г. в Москве. |Он живёт на ул. Ленина, д. 5.",
    "Γεια σου. |Τι κάνεις; |Είμαι πολύ καλά.",
    "Բարեւ։ |Ինչպես ես։ |Ես լավ եմ։",
    "გამარჯობა. |როგორ ხარ დღეს? |კარგად ვარ.",
    "مرحبا. |كيف حالك؟ |أنا بخير، شكرا لك. |هذا جيد۔ |نعم هذا صحيح.",
    "בטח! |היום 25.5 מעלות. |מה עוד תרצה לדעת?",
    "ज़रूर! |आज का तापमान 25.5 डिग्री है। |क्या आप और जानना चाहेंगे?",
    "ሰላም። |እንዴት ነህ። |ደህና ነኝ።",
    "မင်္ဂလာပါ။ |နေကောင်းလား။ |ကောင်းပါတယ်။",
    "សួស្តី។ |តើអ្នកសុខសប្បាយទេ។",
    ("สวัสดีครับ วันนี้อากาศดีมากเลยนะครับ |เราไปเดินเล่นที่สวนสาธารณะกันไหมครับ ผมคิดว่าน่าจะสนุกดีนะครับ |แล้วเจอกันครับ"),
    "好的，我来帮您查询一下，|请稍等。|今天气温是25.5度，晴天；风力3级。|您还想知道什么？|（比如明天的天气。）|“真的吗？”|她问。",
    "我们去公园吧，好吗？|“真的！”她说：“走吧！”|嗯……我觉得可以。",
    "かしこまりました。|気温は25.5度です。|傘は必要ありません！|「はい、元気です。」と彼は言った。|「行こう！」|彼は立った。|すごい!|そうだね。",
    "네, 알겠습니다. |기온은 25.5도입니다. |더 궁금한 점이 있으신가요?",
]


def frames(processor: Sentences, text: str, step: int) -> list[Text]:
    out: list[Any] = []
    for at in range(0, len(text), step):
        out += processor.process(Text(text=text[at : at + step], response_id="r", item_id="i"))
    return [*out, *processor.process(End())]


def pieces(text: str, step: int = 10_000, **options: Any) -> list[str]:
    return [frame.text for frame in frames(Sentences(**options), text, step)]


def texts(given: Iterable[object]) -> list[str]:
    return [frame.text for frame in given if isinstance(frame, Text)]


def speakable(text: str) -> bool:
    return any(unicodedata.category(char)[0] in "LNS" or char in "%&@#§" for char in text)


@pytest.mark.parametrize("reply", REPLIES)
def test_replies(reply: str) -> None:
    """Each reply is cut where a bar stands, and nowhere else, whether it comes at once or by the character."""
    expected = reply.split("|")
    text = "".join(expected)
    assert pieces(text) == pieces(text, 1) == pieces(text, 4) == expected


@given(NASTY | WORDS, st.integers(1, 7), st.integers(1, 30), st.sampled_from(SKIPS))
def test_cutting_changes_nothing(text: str, step: int, max_characters: int, skip: tuple[str, ...]) -> None:
    """The pieces are the same in any deltas, with every limit and whatever is skipped."""
    assert pieces(text, step, max_characters=max_characters, skip=skip) == pieces(
        text, max_characters=max_characters, skip=skip
    )


@given(NASTY | WORDS | st.text(), st.sampled_from([1, 3, 20, 200]), st.integers(1, 5))
def test_pieces_join_to_the_text(text: str, max_characters: int, first_words: int) -> None:
    """Each piece has something to speak. A text without anything to speak has no pieces."""
    got = pieces(text, 3, max_characters=max_characters, first_words=first_words)
    assert "".join(got) == (text if speakable(text) else "")
    assert all(map(speakable, got))


@given(NASTY | WORDS, st.sampled_from(SKIPS))
def test_skipping_leaves_something_to_speak(text: str, skip: tuple[str, ...]) -> None:
    """Also when most is left out, no piece is empty or punctuation only, and only the last one is final."""
    got = frames(Sentences(skip=skip), text, 5)  # type: ignore[arg-type]
    assert all(speakable(frame.text) for frame in got)
    assert [frame.final for frame in got] == [False] * (len(got) - 1) + [True] * bool(got)


@pytest.mark.parametrize("words", [1, 3, 6])
def test_the_first_piece_may_be_a_clause(words: int) -> None:
    """From so many words on; a second clause is not given alone."""
    got = pieces("One, two three, four five six, seven, eight. Nine, ten, eleven.", first_words=words)
    first = {1: "One, ", 3: "One, two three, ", 6: "One, two three, four five six, "}[words]
    assert (got[0], len(got), got[-1]) == (first, 3, "Nine, ten, eleven.")


def test_piece_is_complete_with_the_next_character() -> None:
    """It waits for no more than the first character of what follows."""
    processor = Sentences()
    assert not list(processor.process(Text(text="Of course! ")))
    assert texts(processor.process(Text(text="I"))) == ["Of course! "]


def test_long_sentences_are_cut() -> None:
    """Behind the last clause, else behind the last word, else between two characters that are not one to a reader."""
    assert pieces("Yes! Aaa bbb, ccc ddd eee fff", max_characters=16) == ["Yes! ", "Aaa bbb, ", "ccc ddd eee fff"]
    assert pieces("aaa bbb ccc ddd", max_characters=9) == ["aaa bbb ", "ccc ddd"]
    assert pieces("a" * 25, max_characters=10) == ["a" * 10, "a" * 10, "a" * 5]
    assert pieces("เแ" + "กา" * 3, max_characters=3) == ["เแกา", "กากา"]
    assert pieces("e\u0301" * 4, max_characters=3) == ["e\u0301e\u0301"] * 2
    assert pieces("क्षक्ष", max_characters=2) == ["क्ष", "क्ष"]


@pytest.mark.parametrize("unit", [".", " ", "\u0301", "a", "a\u200d", "a, ", "。", "[", "<a b='", "`", "*", "- "])
def test_held_text_is_bounded(unit: str) -> None:
    """No input, however long, makes it hold more than a few pieces."""
    processor = Sentences(skip=("markup", "code", "emoji"))
    for _ in range(5000):
        list(processor.process(Text(text=unit)))
    assert sum(len(text) for text in texts(processor.process(End()))) < 2000


def test_frames_keep_what_they_belong_to() -> None:
    """Response, item and epoch are those of the text, and `pts` is that of where the piece began."""
    processor = Sentences()
    deltas = ["Hello", " there. How", " are you?"]
    got: list[Any] = []
    for number, text in enumerate(deltas):
        got += processor.process(Text(text=text, response_id="r", item_id="i", epoch=3, pts=number, final=number == 2))
    common: dict[str, Any] = {"response_id": "r", "item_id": "i", "epoch": 3}
    assert got == [
        Text(text="Hello there. ", pts=0, **common),
        Text(text="How are you?", pts=1, final=True, **common),
    ]


def test_item_ends_once() -> None:
    """The last piece marks the end, whether the end comes with text, without text, or with the response.

    A second end is ignored.
    """
    processor = Sentences()
    assert not list(processor.process(Text(text="Hi there. ", response_id="r")))
    (last,) = processor.process(Text(text="", response_id="r", final=True))
    assert last == Text(text="Hi there. ", response_id="r", final=True)
    assert not list(processor.process(Text(text="", response_id="r", final=True)))
    assert not list(processor.process(Text(text="More", response_id="r")))
    assert not list(processor.process(Text(text=" ... ", response_id="r")))
    over = ResponseEnded(response_id="r")
    assert list(processor.process(over)) == [Text(text="More ... ", response_id="r", final=True), over]
    assert list(processor.process(over)) == [over]


def test_end_of_another_response() -> None:
    """It is passed on, and what is held stays held."""
    processor = Sentences()
    assert not list(processor.process(Text(text="Hi", response_id="r")))
    other = ResponseEnded(response_id="q")
    assert list(processor.process(other)) == [other]
    assert texts(processor.process(End())) == ["Hi"]


def test_another_item_flushes_the_rest() -> None:
    """As it is, and the first piece of the same response is behind us: a clause is not enough any more."""
    processor = Sentences(first_words=1)
    got: list[Any] = list(processor.process(Text(text="Well, then", response_id="r", item_id="a")))
    got += processor.process(Text(text="So, now", response_id="r", item_id="b"))
    got += processor.process(Text(text="Ah, yes", response_id="s", item_id="c"))
    assert [(frame.text, frame.item_id) for frame in got] == [
        ("Well, ", "a"),
        ("then", "a"),
        ("So, now", "b"),
        ("Ah, ", "c"),
    ]


def test_stale_text_is_dropped() -> None:
    """An interrupt drops it, and so does the first text of a newer epoch. Frames that never expire stay."""
    processor = Sentences()
    assert not list(processor.process(Text(text="Old", epoch=0)))
    assert not list(processor.process(Interrupt(epoch=1)))
    assert not list(processor.process(Text(text="New", epoch=1)))
    assert not list(processor.process(Interrupt(epoch=1)))
    assert not list(processor.process(Text(text="Newer", epoch=2)))
    (kept,) = processor.process(Text(text="Live", epoch=LIVE))
    assert kept == Text(text="Newer", epoch=2)
    assert not list(processor.process(Interrupt(epoch=3)))
    assert texts(processor.process(End())) == ["Live"]


@pytest.mark.parametrize(
    "bad",
    [
        {"first_words": 0},
        {"max_characters": -1},
        {"max_characters": 1.5},
        {"first_words": True},
        {"skip": "code"},
        {"skip": ["html"]},
    ],
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    """With what was given."""
    with pytest.raises(ValueError, match=r"Sentences\(.*expected a"):
        Sentences(**bad)


@pytest.mark.virtual
async def test_in_a_session() -> None:
    """An interrupt drops what is held, and the next reply starts again."""
    async with Harness(Sentences()) as harness:
        await harness.send(Text(text="Hello there. This will never", response_id="a", epoch=0))
        await harness.settle()
        harness.interrupt()
        await harness.send(Text(text="Sorry. Go on.", response_id="b", epoch=1), ResponseEnded(response_id="b"))
        await harness.end()
    assert [frame.text for frame in harness.of(Text)] == ["Hello there. ", "Sorry. ", "Go on."]


@pytest.mark.virtual
@pytest.mark.parametrize("skip", SKIPS)
async def test_it_conforms(skip: Any) -> None:
    """The conformance suite passes."""
    text = "Sure! Here is **one** thing, e.g. this:\n```\nx = 1\n```\nThat is 3.14 of 👍 [them](u). Bye now."
    deltas = [Text(text=text[at : at + 5], response_id="r", item_id="i", pts=at) for at in range(0, len(text), 5)]
    await check_processor(lambda: Sentences(skip=skip), frames=[*deltas, ResponseEnded(response_id="r")])


def test_a_tool_call_lets_go_what_is_held() -> None:
    """The listener hears that something is being done while it is."""
    sentences = Sentences()
    call = ToolCall(call_id="c", name="weather", response_id="r")
    assert list(sentences.process(Text(text="Let me see.", response_id="r"))) == []
    assert list(sentences.process(call)) == [Text(text="Let me see.", response_id="r"), call]
    (rest,) = sentences.process(Text(text=" It rains.", response_id="r", final=True))
    assert rest == Text(text=" It rains.", response_id="r", final=True)


def test_an_item_always_ends() -> None:
    """With an empty piece, if all of it had been let go."""
    for end in (Text(text="", response_id="r", final=True), ResponseEnded(response_id="r"), End()):
        sentences = Sentences()
        list(sentences.process(Text(text="Let me see.", response_id="r")))
        list(sentences.process(ToolCall(call_id="c", name="weather", response_id="r")))
        assert next(iter(sentences.process(end))) == Text(text="", response_id="r", final=True)
        assert list(sentences.process(End())) == []
