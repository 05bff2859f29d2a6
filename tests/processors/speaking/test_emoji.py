"""Emoji go whole, and what only may become one stays."""

from __future__ import annotations

import pytest

from bargein.processors.speaking._emoji import Emoji

EMOJI = [
    ("Hi 👋🏽 there👩‍👩‍👧!", "Hi  there!"),
    ("🇩🇪🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣ #️⃣ 10 #1", "   10 #1"),
    ("❤️ ☎ ⭐ ™️ ↔️ © 2020™ → ∞", "     © 2020™ → ∞"),
    ("page 1", "page 1"),
]


@pytest.mark.parametrize(("text", "left"), EMOJI)
def test_emoji(text: str, left: str) -> None:
    """Sequences, skin tones, flags and keycaps go; digits, signs and arrows stay unless dressed up; cut anyhow."""
    emoji = Emoji()
    assert emoji.feed(text) + emoji.flush() == left
    assert "".join(map(emoji.feed, text)) + emoji.flush() == left
