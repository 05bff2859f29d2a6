"""Switches: each frame takes one branch, and which one may change."""

from __future__ import annotations

import pytest

from bargein.pipeline import Audio, Frame, LinkError, Pipeline, Switch, Text
from bargein.pipeline.testing import Harness

from .kit import VIDEO, Plain, Tags, TagsText, Waits, audio, index, numbers, sent


async def test_a_switch_routes_by_name_and_can_be_turned() -> None:
    """The next frame after the change goes the new way."""
    switch = Switch("ten", ten=Tags(10), twenty=Pipeline(Tags(15), Waits(), Tags(5)))
    async with Harness(Plain(), switch, Plain()) as harness:
        await harness.send(audio(1))
        switch.route = "twenty"
        await harness.send(audio(1))
        switch.route = lambda frame: "ten" if index(frame) else "twenty"
        await harness.send(audio(0), audio(1))
        await harness.end()
    assert sorted(numbers(harness.frames)) == [11, 11, 20, 21]


async def test_a_switch_routes_by_class() -> None:
    """What the branch does not take goes on behind the switch."""
    switch = Switch({Audio: "sound", Frame: "rest"}, sound=Tags(10), rest=TagsText())
    got = await sent(Pipeline(switch, Plain()), audio(1), Text(text="a"), VIDEO)
    assert numbers(got) == [11]
    assert Text(text="A") in got
    assert VIDEO in got
    with pytest.raises(LinkError, match="no branch for Text"):
        await sent(Switch({Audio: "a"}, a=Tags(1)), Text(text="a"))


async def test_a_switch_refuses_unknown_branches() -> None:
    """An unknown branch is refused at once when the route lists it, else when a frame would go there."""
    with pytest.raises(LinkError, match="no branch 'c'; it has 'a', 'b'"):
        Switch("c", a=Plain(), b=Plain())
    switch = Switch("a", a=Plain(), b=Plain())
    with pytest.raises(LinkError, match="no branch 'z'"):
        switch.route = {Audio: "z"}
    switch.route = lambda frame: "z"
    with pytest.raises(LinkError, match="no branch 'z'"):
        await sent(switch, audio())
    with pytest.raises(LinkError, match="has no branches"):
        Switch("a")
