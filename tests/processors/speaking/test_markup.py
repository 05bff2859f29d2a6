"""What is written for the eye is left out, and what only looks so is not."""

from __future__ import annotations

import pytest

from bargein.processors.speaking._markup import MAX_HELD, Markup

MARKUP = [
    (
        "# Title\n\nSome **bold**, *emph*, __strong__, _under_, ***both*** and ~~gone~~.",
        "Title\n\nSome bold, emph, strong, under, both and gone.",
    ),
    ("- item **one**\n  * two\n+ three\n• four\n- [ ] open\n- [x] done\n", "item one\ntwo\nthree\nfour\nopen\ndone\n"),
    ("> quoted\n> - in it\n1. **First**: do\n", "quoted\nin it\n1. First: do\n"),
    ("above\n---\nbelow\n***\n===\n_ _ _\nlast", "above\nbelow\nlast"),
    ("| Name | Age |\n|------|:---:|\n| Bob | 5 |\nthis | that", " Name  Age \n Bob  5 \nthis | that"),
    (
        "[the docs](https://a.b/c_(d)) and ![a cat](x.png) or [**it**][ref], [![alt](i.png)](u)",
        "the docs and a cat or it, alt",
    ),
    ('`code*x*` and ``a`b`` and <b>Hi</b><break time="500ms"/><!-- no -->!', "code*x* and a`b and Hi!"),
    ("<https://x.y/z> or <me@x.org>", "https://x.y/z or me@x.org"),
    ("这是**重点**内容。\\*not\\* C:\\dir", "这是重点内容。*not* C:\\dir"),
    ("```python\nx = a*b*c\n```\nthen", "x = a*b*c\nthen"),
    ("```not a fence```", "not a fence"),
]
HARMLESS = [
    "2 * 3 is 6, 2*3*4 is 24, x**2 too, and a *",
    "snake_case_name and a_b, ~5 min, 3 ~ 4",
    "a < b, 5 > 3, I <3 you, x <y then z, a<b and c>d, <",
    "see [1], [sic] and (this), wow! Great! #1 and -5 degrees",
    "-5 degrees\n+1 for it\n#hashtag\n1. one",
    "[unclosed and\nthe next line",
    '<unclosed tag="x\nthe next line',
    "[" * (MAX_HELD + 5) + "a",
    "C# and a|b || c = d",
    "\\",
]
CODE = [
    ("Here:\n```python\nprint(1)\n``\n# `no`\n```\nAnd more.", "Here:\nAnd more."),
    ("Here:\n~~~\n```\n~~~~  \nMore", "Here:\nMore"),
    ("Here:\n   ````\n```\n````\n`x` **y**", "Here:\n`x` **y**"),
    ("Here:\n```\nnever ended", "Here:\n"),
    ("Here:\n```", "Here:\n"),
    ("Here:\n```\nx\n```", "Here:\n"),
    ("  text `code` ```x``` ~~~", "  text `code` ```x``` ~~~"),
]


def filtered(text: str, *skip: str) -> str:
    """What is left, the same by the character as at once, and with an instance that was used before."""
    one, other = Markup(skip), Markup(skip)
    one.feed("*[a`")
    one.flush()
    whole = one.feed(text) + one.flush()
    assert "".join(map(other.feed, text)) + other.flush() == whole
    return whole


@pytest.mark.parametrize(("text", "left"), MARKUP)
def test_markup(text: str, left: str) -> None:
    """Marks go, words stay."""
    assert filtered(text, "markup") == left


@pytest.mark.parametrize("text", HARMLESS)
def test_text_that_only_resembles_markup(text: str) -> None:
    """Arithmetic, names, comparisons and brackets that never close stay as they are."""
    assert filtered(text, "markup") == text


@pytest.mark.parametrize(("text", "left"), CODE)
def test_code(text: str, left: str) -> None:
    """Fenced blocks go whole, also those that never end; code within a line stays."""
    assert filtered(text, "code") == left


def test_empty_skip() -> None:
    """Nothing changes."""
    assert filtered("**a**\n```\nx") == "**a**\n```\nx"


def test_plain_text_is_not_held_back() -> None:
    """Words come out as they go in."""
    markup = Markup(["markup", "code"])
    assert markup.feed("Hello **wor") == "Hello wor"
    assert markup.feed("ld") == "ld"


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("Cell one<br>two.", "Cell one\ntwo."),
        ("<p>One.</p><p>Two.</p>", "One.\nTwo.\n"),
        ("Costs \\$5 \\& up.", "Costs $5 & up."),
        ("Vec<int> and List<String> work.", "Vec<int> and List<String> work."),
    ],
)
def test_tags_and_escapes(written: str, left: str) -> None:
    """Tags of blocks end lines, types of programs are text, any punctuation may be escaped."""
    markup = Markup({"markup"})
    assert markup.feed(written) + markup.flush() == left
