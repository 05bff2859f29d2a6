"""A graph as a picture, with what a session has counted."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from bargein.pipeline import Audio, Pipeline
from bargein.pipeline.draw import svg
from tests.pipeline.kit import Plain

from .test_text import graph


def test_svg_is_a_picture_of_every_processor() -> None:
    """Well-formed, with a box for each, in places of their own."""
    root = ElementTree.fromstring(svg(graph()))
    boxes = [box for box in root.iter() if box.get("class") in ("box", "task", "thread")]
    assert [box.get("class") for box in boxes] == ["box", "box", "task", "task", "thread", "box"]
    assert len({(box.get("x"), box.get("y")) for box in boxes}) == 6
    said = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert {node.name for node in graph().plan.processors} <= set(said)
    assert any("42.5 ms" in (text or "") for text in said)


def test_svg_escapes_names() -> None:
    """A name may hold anything."""
    root = ElementTree.fromstring(svg(Pipeline(Plain().options(name="<&>"))))
    assert "<&>" in [each.text for each in root.iter() if each.tag.endswith("text")]


async def test_svg_shows_what_a_session_has_counted() -> None:
    """Its counters stand in the boxes."""
    whole = Pipeline(Plain())
    async with whole.session() as session:
        session.offer(Audio(samples=np.zeros(160, np.int16), rate=16_000))
        drawn = svg(whole, session.statistics())
    assert "1 in, 1 out<" in drawn, "a zero is not shown"
    assert "lost" not in drawn


async def test_tooltip_shows_own_counters() -> None:
    """Beside the frames that the processor takes and sends."""

    class Counts(Plain):
        def statistics(self) -> str:
            return "<seven>"

    whole = Pipeline(Counts(), Plain())
    async with whole.session() as session:
        drawn = svg(whole, session.statistics())
    titles = [each.text for each in ElementTree.fromstring(drawn).iter() if each.tag.endswith("title")]
    assert "Audio → Audio\n<seven>" in titles
    assert "Audio → Audio" in titles
