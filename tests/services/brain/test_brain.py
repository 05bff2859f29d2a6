"""The brain contract: what counts as a brain, and how a graph's brain is found."""

from __future__ import annotations

from bargein.pipeline import Pipeline
from bargein.processors import Pacer, Resample, Spoken
from bargein.services.brain import Brain, find_brain, find_brains
from bargein.services.cascade import Answer, Cascade
from bargein.services.failover import Failover
from bargein.services.history import History
from bargein.services.providers.openai import OpenAIRealtime
from bargein.services.tools import Toolbox

from ..cascade.parts import Ears, Mind, Voice


def cascade() -> Cascade:
    return Cascade(Ears(), Mind(), Voice())


def check(brain: Brain) -> None:
    """Every brain has the three things of the contract, and the conversation can be replaced."""
    assert isinstance(brain, Brain)
    assert isinstance(brain.toolbox, Toolbox)
    assert brain.ready in (True, False)
    another = History()
    brain.history = another
    assert brain.history is another


def test_every_kind_of_brain() -> None:
    check(cascade())
    check(Answer(Mind()))
    check(OpenAIRealtime(api_key="x"))
    check(Failover(cascade(), OpenAIRealtime(api_key="x")))


def test_a_brain_without_a_session_is_not_ready() -> None:
    assert not OpenAIRealtime(api_key="x").ready


def test_other_processors_are_no_brains() -> None:
    assert not isinstance(Spoken(), Brain)
    assert find_brain(Pipeline(Resample(16_000), Pacer())) is None
    assert find_brains(Pacer()) == ()


def test_the_brain_of_a_graph() -> None:
    model = OpenAIRealtime(api_key="x")
    assert find_brain(model) is model
    assert find_brain(Pipeline(Resample(24_000), Pipeline(model, Spoken()))) is model
    assert find_brains(Pipeline(Resample(24_000), model)) == (model,)


def test_a_cascade_is_a_brain_itself_and_its_answer_inside_another_graph() -> None:
    brain = cascade()
    assert find_brain(brain) is brain
    assert find_brain(Pipeline(brain, Spoken())) is brain.answer
