"""The events have the fields of the recordings."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from bargein.pipeline import Frame, Text, ToolCall, Transcript
from tests.services.providers.openai.server.server_kit import Hand, answer, keys, sound, spoken, types

FOLDER = os.environ.get("BARGEIN_RECORDINGS", "")
SCRIPTS: dict[str, list[tuple[Frame, ...]]] = {
    "openai_text_in_audio_out": [(Text(text="Hi there!", response_id="r", item_id="i"), sound())],
    "openai_tool_call_round": [
        (ToolCall(call_id="call_uMNE0Myi2tDTPu0w", name="get_weather", arguments="{}", response_id="r"),),
        (Text(text="Foggy.", response_id="s", item_id="i"),),
    ],
    "openai_audio_in_server_vad": [(Text(text="Hello", response_id="r", item_id="i"), sound())],
}


@pytest.mark.skipif(not FOLDER, reason="BARGEIN_RECORDINGS is not set")
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_events_have_the_fields_of_the_recordings(name: str) -> None:
    """Replayed, a recorded client gets the same kinds of events in the same order, with the same fields."""
    yaml = pytest.importorskip("yaml")
    recorded = yaml.safe_load(Path(FOLDER, f"{name}.yaml").read_text())["interactions"]
    recorded = [each for each in recorded if each["kind"] == "message"]
    theirs = [each["data"] for each in recorded if each["direction"] == "received"]
    hand = Hand(model=theirs[0]["session"]["model"])
    hand.core.open()
    hand.events()
    script = iter(SCRIPTS[name])
    for each in recorded:
        if each["direction"] == "sent" and each["data"]["type"] != "input_audio_buffer.append":
            hand.client(**each["data"])
            if each["data"]["type"] == "response.create":
                response = "s" if len(SCRIPTS[name]) > 1 and "r" in hand.core._responses._over else "r"
                answer(hand, response, *next(script))
    if name == "openai_audio_in_server_vad":
        item = hand.speak(spoken("hello"))[0]["item_id"]
        hand.brain(Transcript(text="Hello", item_id=item), Transcript(text="Hello, you.", item_id=item, final=True))
        answer(hand, "r", *next(script))
    for type in dict.fromkeys(types(theirs)):
        one = next(event for event in theirs if event["type"] == type)
        other = next((event for event in hand.seen if event["type"] == type), None)
        assert other is not None, type
        assert set(keys(other)) == set(keys(one)), type
    if name == "openai_text_in_audio_out":
        order = [kind for kind, _ in itertools.groupby(types(theirs))]
        assert order == [kind for kind, _ in itertools.groupby(types(hand.seen))]
