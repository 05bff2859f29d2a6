"""The link check: which frames flow where, and what cannot work, before anything runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from ._contract import Kinds, ProcessorKind, names
from ._plan import Node, Plan
from .audio_format import AudioFormat
from .errors import LinkError, LinkWarning
from .frames import Audio, Delivery, Frame, Video

__all__ = ["check", "emitted", "has_source"]


def check(plan: Plan, inputs: Kinds) -> None:
    """Check a graph, and warn of what is probably not meant.

    Raises:
        LinkError: The graph cannot work.
    """
    for node in plan.processors:
        _check_policy(node)
    flows = _flows(plan, inputs)
    for node in plan.processors:
        _check_fed(plan, node, flows)
    _check_formats(plan)
    _check_loopback(plan)
    _check_reports(plan, inputs)


def emitted(plan: Plan, inputs: Kinds) -> Kinds:
    """Return the classes that may leave the graph."""
    return _flows(plan, inputs)[plan.exit.index]


def has_source(plan: Plan) -> bool:
    """Return whether frames come in without the application sending them."""
    return any(node.source for node in plan.processors)


def _data(kinds: Iterable[type[Frame]]) -> Kinds:
    return frozenset(kind for kind in kinds if kind.delivery in (Delivery.STREAM, Delivery.EVENT))


def _flows(plan: Plan, inputs: Kinds) -> list[Kinds]:
    """Return for each node the classes that may come down to it, whether it takes them or not."""
    # What the first processors take is taken for what the application sends. So a plain pipeline needs no `inputs=`.
    sent = _data(inputs).union(*(node.contract.data for node in plan.entry.after if node.contract))
    arriving: list[Kinds] = [frozenset()] * len(plan.nodes)
    # In topological order, so all that comes to a node is known when its turn comes.
    for node in plan.nodes:
        contract = node.contract
        if contract is None:
            leaving = sent if node is plan.entry else frozenset()
        else:
            arrived = arriving[node.index]
            # `Frame` stands for any class, so it also passes a processor that takes some of them.
            passing = frozenset(kind for kind in arrived if kind is Frame or not contract.accepts(kind))
            leaving = passing | _data(contract.gives)
            if Frame in contract.takes and Frame in contract.gives:
                leaving = arrived  # it passes on what it gets, of any class
        for after in node.after:
            arriving[after.index] |= leaving
    return arriving


def _check_policy(node: Node) -> None:
    processor, contract = node.processor, node.contract
    if processor is None or contract is None:
        return
    policy = processor.on_error
    if policy not in ("raise", "drop", "restart"):
        raise LinkError(f"{node.name!r}: on_error is {policy!r}; expected 'raise', 'drop' or 'restart'")
    if policy == "drop" and contract.kind is ProcessorKind.LOOP:
        raise LinkError(f"{node.name!r}: on_error='drop' loses one frame, but run() owns its loop; use 'restart'")
    if policy == "restart" and contract.kind is not ProcessorKind.LOOP:
        raise LinkError(f"{node.name!r}: on_error='restart' restarts run(), but it has process(); use 'drop'")
    if processor.capacity is not None and processor.capacity < 1:
        raise LinkError(f"{node.name!r}: a capacity of {processor.capacity}; an inbox holds at least 1 frame")


def _check_fed(plan: Plan, node: Node, flows: list[Kinds]) -> None:
    """Check that at least one class that the processor takes can come to it."""
    contract = node.contract
    # A head gets what the application sends, and that is not known.
    if contract is None or not contract.data or plan.entry in node.before:
        return
    if node.processor is not None and node.processor.is_adapter:
        return  # it is there for whatever may come, and its owner takes other frames as well
    arriving = flows[node.index]
    if Frame in arriving or Frame in contract.data:
        return
    # In both directions: who sends a base class may send what is wanted, and who takes one takes it.
    if any(issubclass(kind, want) or issubclass(want, kind) for kind in arriving for want in contract.data):
        return
    before = " and ".join(f"{each.name!r} sends {names(each.contract.gives)}" for each in node.before if each.contract)
    near = next((each for each in node.before if each.contract), None)
    between = f" between {near.name!r} and {node.name!r}" if near else ""
    raise LinkError(
        f"{node.name!r} takes {names(contract.data)}, but no processor above it sends that: {before}. "
        f"Insert a processor{between} that sends {names(contract.data)}; "
        f"or, if the application sends it, say so: Pipeline(..., inputs={min(kind.__name__ for kind in contract.data)})"
    )


def _check_formats(plan: Plan) -> None:
    """Check rates and channels along the path of the sound, as far as processors declare them."""
    incoming: dict[int, list[tuple[Node, AudioFormat]]] = {node.index: [] for node in plan.nodes}
    for node in plan.processors:
        processor, contract = node.processor, node.contract
        if processor is None or contract is None:
            continue
        for source, form in incoming[node.index]:
            _check_format(source, form, node, processor.audio_in)
        if not contract.promises(Audio):
            continue
        # A processor without an audio_out leaves the sound in each format in which it came.
        forms = {processor.audio_out} if processor.audio_out else {form for _, form in incoming[node.index]}
        for target in plan.takers(node, Audio):
            incoming[target.index] += [(node, form) for form in forms]


def _check_format(source: Node, have: AudioFormat, target: Node, want: AudioFormat | None) -> None:
    if want is None:
        return
    rates, offered = want.listed_rates, have.listed_rates
    # An unknown rate is not wrong. Processors check the frames themselves, where that matters.
    wrong_rate = rates is not None and offered is not None and not set(offered) <= set(rates)
    wrong_channels = want.channels is not None and have.channels is not None and want.channels != have.channels
    if not (wrong_rate or wrong_channels):
        return
    rate = (rates or offered or (16000,))[0] if wrong_rate else (offered or rates or (16000,))[0]
    resample = f"Resample({rate}, channels={want.channels})" if wrong_channels else f"Resample({rate})"
    raise LinkError(
        f"{source.name!r} sends audio at {have}, but {target.name!r} takes {want}. "
        f"Insert {resample} between {source.name!r} and {target.name!r}"
    )


def _check_loopback(plan: Plan) -> None:
    """Warn of a source whose media bypasses everything and comes out at the sink: the graph lacks its brain."""
    for source in plan.processors:
        if not source.source or source.contract is None:
            continue
        for kind in source.contract.gives & {Audio, Video}:
            for sink in plan.takers(source, kind):
                if sink.contract is None or kind not in sink.contract.takes or sink.contract.promises(kind):
                    continue
                # A source that is linked to a sink directly is meant to be heard.
                if sink.after == [plan.exit] and sink not in source.after:
                    bypassed = [each.name for each in plan.below(source) if each.below >> sink.index & 1]
                    # A warning and not an error, because an echo is a graph that some want.
                    warnings.warn(
                        f"the {kind.__name__} of {source.name!r} passes {', '.join(map(repr, bypassed))} by and goes "
                        f"straight to {sink.name!r}: is a processor missing that takes it? "
                        f"If it is meant, insert Pass({kind.__name__})",
                        LinkWarning,
                        stacklevel=2,
                    )


def _check_reports(plan: Plan, inputs: Kinds) -> None:
    """Warn of a processor that takes reports, such as `Played`, which no processor below it sends.

    Only graphs from a source to a sink of sound are checked: in others the application or a test may play. A report
    counts only from a processor that takes the sound. A voice that reports what it could not say makes the sound
    itself, so it does not know what was heard.
    """
    sinks = [
        node
        for node in plan.processors
        if node.contract and Audio in node.contract.takes and not node.contract.promises(Audio)
        if node.after == [plan.exit]
    ]
    sources = [node for node in plan.processors if node.source]
    missing: dict[type[Frame], Node] = {}
    for node in plan.processors:
        sink = next((sink for sink in sinks if node.below >> sink.index & 1), None)
        if sink is None or node.contract is None or not any(node.above >> each.index & 1 for each in sources):
            continue
        below = [each.contract for each in plan.below(node) if each.contract]
        for kind in node.contract.takes:
            given = any(contract.accepts(Audio) and contract.promises(kind) for contract in below)
            if kind.missing_giver and not (given or kind in inputs or Frame in inputs):
                missing[kind] = node  # the lowest one: below it, the reports reach all that take them
    for kind, node in sorted(missing.items(), key=lambda item: item[0].__name__):
        warnings.warn(
            f"{node.name!r} takes {kind.__name__}, but no processor below it sends that. "
            f"Below {node.name!r} insert {kind.missing_giver}; "
            f"or, if the application sends it, say so: Pipeline(..., inputs={kind.__name__})",
            LinkWarning,
            stacklevel=2,
        )
