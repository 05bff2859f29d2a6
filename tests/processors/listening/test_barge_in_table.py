"""BargeIn: the table of decisions, row by row and in every situation."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bargein.processors import Decision, Evidence, decide

pytestmark = pytest.mark.virtual


N, H, I, R = Decision.NOTHING, Decision.HOLD, Decision.INTERRUPT, Decision.RESUME  # noqa: E741
TABLE = [
    # speaking long words due    muted heard  echo   held   tentative  decision
    (True, False, False, False, False, True, False, False, True, H),  # a beginning: silence at once
    (True, False, False, False, False, True, False, True, True, N),  # on hold already
    (True, False, False, False, False, True, False, False, False, N),  # not tentative
    (True, False, False, False, False, False, False, False, True, N),  # nothing to silence
    (True, False, False, False, False, True, True, False, True, N),  # may be an echo
    (True, True, False, False, False, True, False, True, True, I),  # confirmed by duration
    (True, True, False, False, False, False, False, False, True, I),  # the agent is only thinking
    (True, False, False, False, False, True, False, False, True, H),  # words are missing
    (True, True, True, False, False, True, False, True, True, I),  # confirmed by words
    (True, False, True, False, False, True, False, True, True, I),  # short words are words
    (True, True, True, False, True, True, False, False, True, N),  # muted
    (True, True, True, False, True, True, False, True, True, R),  # muted since
    (False, True, False, False, False, True, False, True, True, I),  # long enough, told late
    (False, False, False, False, False, True, False, True, True, R),  # a cough
    (False, False, False, False, False, True, False, False, True, N),  # a cough that nobody noticed
    (False, False, False, True, False, True, False, True, True, N),  # its words may still come
    (False, False, False, False, False, True, False, True, True, R),  # they did not
    (False, False, True, False, False, True, False, True, True, I),  # they did
    (False, False, False, True, True, True, False, True, True, R),  # muted
]


@pytest.mark.parametrize("row", TABLE)
def test_the_table(row: tuple[Any, ...]) -> None:
    """Each row is one situation."""
    speaking, long_enough, words, due, muted, heard, echo, held, tentative, decision = row
    evidence = Evidence(
        speaking=speaking,
        long_enough=long_enough,
        enough_words=words,
        transcript_due=due,
        muted=muted,
        heard=heard,
        echo=echo,
        held=held,
    )
    assert decide(evidence, tentative=tentative) is decision


def test_what_holds_in_every_situation() -> None:
    """No interrupt while muted or unconfirmed; no hold twice; only what is held is resumed; speech that ended is
    never held for ever."""
    for values in itertools.product((True, False), repeat=8):
        evidence = Evidence(*values)
        for tentative in (True, False):
            decision = decide(evidence, tentative=tentative)
            if decision is I:
                assert not evidence.muted
                assert evidence.long_enough or evidence.enough_words
            if decision is H:
                assert tentative
                assert not evidence.held
                assert not evidence.muted
                assert evidence.speaking
            if decision is R:
                assert evidence.held
            if evidence.held and not evidence.speaking and not evidence.transcript_due:
                assert decision in (I, R)


def test_the_documented_table_is_the_decision() -> None:
    """The rows of the docstring, read from it."""
    rows = [line.strip().strip("|").split("|") for line in (decide.__doc__ or "").splitlines() if "|" in line][2:]
    cells = [[cell.strip() for cell in row] for row in rows]
    names = {"resume if held": R, "interrupt": I, "nothing: wait for the transcript": N}
    for values in itertools.product((True, False), repeat=8):
        evidence = Evidence(*values)
        facts = [
            evidence.muted,
            evidence.long_enough or evidence.enough_words,
            evidence.speaking,
            evidence.transcript_due,
        ]
        row = next(
            row
            for row in cells
            if all(not want or (want == "yes") == fact for want, fact in zip(row[:4], facts, strict=True))
        )
        expected = names.get(row[-1])
        if row[-1].startswith("hold"):
            expected = H if evidence.heard and not evidence.echo and not evidence.held else N
        if expected is R and not evidence.held:
            expected = N
        assert decide(evidence) is expected, (row, evidence)
