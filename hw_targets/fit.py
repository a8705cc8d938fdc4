"""Does a program fit a target? Every reason why not, at once, each with the smallest change and what it would cost."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import msgspec
import numpy as np

from hmdf.sim.nodes import (
    INPUT,
    HybridFiring,
    LeakyIntegrateAndFire,
    MaxPool,
    Message,
    MultiHierarchical,
    Population,
    SumPool,
    Synapse,
)
from hmdf.sim.program import Program
from hmdf.sim.ranges import Ranges, prove

from .layers import Layer, layers_of
from .mapping import needs_of, pack
from .partition import Excess, Partition, copies, cut_layers, limits_of
from .requantise import narrowed, signal_to_noise
from .serialize import is_local, obstacle
from .target import Target


class Finding(msgspec.Struct, frozen=True):
    """One reason why a program does not fit.

    Fields:
        node: synapse, population, "input", "readout" or "program".
        resource: what is short: "message_bits", "cores", "shared memory" ...
        needed, available: in the unit of the resource; a feature's name and what there is instead.
        message: what is wrong, in a sentence.
        fix: the smallest change that mends it, and its cost.
    """

    node: str
    resource: str
    needed: int | str
    available: int | str
    message: str
    fix: str


def check(program: Program, target: Target, chips: int = 1, ranges: Ranges | None = None) -> list[Finding]:
    """All findings, empty when the program fits.

    Args:
        chips: how many chips may be used.
        ranges: the program's range proof if it is at hand; proven here otherwise.
    """
    ranges = ranges or prove(program)
    findings = [
        *_messages(program, target),
        *_weights(program, target),
        *_accumulators(program, target, ranges),
        *_states(program, target, ranges),
        *_neurons(program, target),
        *_connections(program, target),
    ]
    layers = layers_of(program)
    crowded = list(_fan_in(layers, target))
    parts = cut_layers(layers, target, limits_of(target))
    named = {(f.node, "input_axons") for f in crowded}
    # A neuron with too many synapses has too many axons for the same reason: said once.
    excesses = [e for e in parts.excesses if (e.layer, e.resource) not in named]
    findings += crowded + [_excess(excess, layers, target) for excess in excesses]
    if not parts.excesses:
        findings += _cores(layers, parts, target, chips)
    return findings


# ---------------------------------------------------------------------------- messages


def _messages(program: Program, target: Target) -> Iterator[Finding]:
    c = target.capabilities
    allowed = c.input_message_bits or c.message_bits
    first = program.input.message
    if first.bits > allowed:
        yield Finding(
            INPUT,
            "message_bits",
            first.bits,
            allowed,
            f"the input sends {first.bits}-bit messages, {target.name} takes {allowed} bit",
            _coarser(first, allowed),
        )
    if first.signed and not c.signed_messages:
        yield _signed(INPUT, first, prod(program.input.shape), target)
    for population in program.populations:
        message = population.message
        if message.bits > c.message_bits and not is_local(program, population.name):
            yield Finding(
                population.name,
                "message_bits",
                message.bits,
                c.message_bits,
                f"it sends {message.bits}-bit messages, {target.name} sends {c.message_bits} bit",
                _narrower_message(program, population, target),
            )
        if message.signed and not c.signed_messages:
            yield _signed(population.name, message, prod(population.shape), target)


def _narrower_message(program: Program, population: Population, target: Target) -> str:
    allowed = target.capabilities.message_bits
    fix = _coarser(population.message, allowed)
    if allowed == 1:
        reason = obstacle(program, population.name)
        bits = population.message.bits
        if reason is None:
            more = bits * prod(population.shape)
            fix += f"; or serialise its spikes (exact): {more} more binary neurons, up to {bits} messages per spike"
        else:
            fix += f"; it cannot be serialised: {reason}"
    return fix


def _coarser(message: Message, bits: int) -> str:
    factor = 1 << (message.bits - bits)
    return (
        f"messages {message.bits} -> {bits} bits: the same range in steps {factor} times as large, "
        f"{message.scale:.4g} -> {message.scale * factor:.4g}, worst rounding error {message.scale * factor / 2:.4g}"
    )


def _signed(node: str, message: Message, neurons: int, target: Target) -> Finding:
    return Finding(
        node,
        "signed_messages",
        "signed",
        "unsigned",
        f"its messages may be negative, those of {target.name} may not",
        f"send the positive and the negative part from two neurons (exact): {neurons} more neurons and as many axons, "
        f"each of {message.bits - 1} bits, and the weights twice",
    )


# ------------------------------------------------------------------------------- numbers


def _weights(program: Program, target: Target) -> Iterator[Finding]:
    c = target.capabilities
    for synapse in program.synapses:
        if synapse.weight is None:
            continue
        widths = (c.input_weight_bits if synapse.source == INPUT else None) or c.weight_bits
        widest = widths[-1]
        if synapse.weight_bits > widest:
            yield Finding(
                synapse.name,
                "weight_bits",
                synapse.weight_bits,
                widest,
                f"{synapse.weight_bits}-bit weights; {target.name} stores {', '.join(map(str, widths))} bits",
                f"{widest}-bit weights: signal to noise "
                f"{signal_to_noise(synapse.weight, narrowed(synapse.weight, widest)):.1f} dB, no retraining counted",
            )


def _accumulators(program: Program, target: Target, ranges: Ranges) -> Iterator[Finding]:
    available = target.capabilities.accumulator_bits
    for name, interval in ranges.synapses.items():
        if interval.bits > available:
            synapse = program.by_name[name]
            assert isinstance(synapse, Synapse)
            message = program.message_of(synapse.source)
            surplus = interval.bits - available
            left = message.bits - surplus
            fix = (
                f"'{synapse.source}': {_coarser(message, left)}"
                if left >= 1 + message.signed
                else f"fewer inputs per neuron: at most 1/{1 << surplus} of them"
            )
            yield Finding(
                name,
                "accumulator_bits",
                interval.bits,
                available,
                f"its accumulator reaches [{interval.low}, {interval.high}]",
                fix,
            )


def _states(program: Program, target: Target, ranges: Ranges) -> Iterator[Finding]:
    available = target.capabilities.state_bits
    if program.state_bits <= available:
        return
    for name, proof in ranges.populations.items():
        widest = proof.membrane or proof.current
        needed = min(program.state_bits, max(widest.bits, proof.current.bits))
        if needed > available:
            yield Finding(
                name,
                "state_bits",
                needed,
                available,
                f"its membrane needs {needed} bits",
                f"compile for {target.name} ({available}-bit state): membrane steps up to {1 << (needed - available)} "
                "times as large",
            )


# ------------------------------------------------------------------------------ features


def _neurons(program: Program, target: Target) -> Iterator[Finding]:
    c = target.capabilities
    for population in program.populations:
        dynamics = population.dynamics
        tag = str(type(dynamics).__struct_config__.tag)
        if tag not in c.dynamics:
            yield Finding(
                population.name,
                "dynamics",
                tag,
                ", ".join(c.dynamics),
                f"{target.name} has no {tag.replace('_', ' ')} neuron",
                f"train with one of its neurons ({', '.join(c.dynamics).replace('_', ' ')}); {prod(population.shape)} "
                "neurons change",
            )
        if not c.leak and isinstance(dynamics, HybridFiring | LeakyIntegrateAndFire | MultiHierarchical):
            yield from _leak(population, dynamics, target)
        if not c.multiplier:
            yield from _multiplier(population, target)
        if not c.per_step_parameters:
            yield from _per_step(population, target)
        if population.gate is not None and not c.gates:
            yield Finding(
                population.name,
                "gates",
                "gate",
                "none",
                f"its current is scaled by '{population.gate.source}', which {target.name} cannot",
                "train without channel attention",
            )


def _leak(
    population: Population, dynamics: HybridFiring | LeakyIntegrateAndFire | MultiHierarchical, target: Target
) -> Iterator[Finding]:
    leaks = [dynamics.soma_leak, dynamics.dendrite_leak] if isinstance(dynamics, MultiHierarchical) else [dynamics.leak]
    fractions = np.concatenate([leak.reshape(-1) for leak in leaks]) / (1 << dynamics.leak_shift)
    if np.any(fractions != 1):
        yield Finding(
            population.name,
            "leak",
            f"{fractions.min():.4g}..{fractions.max():.4g}",
            "1",
            f"its membrane is multiplied by a leak, {target.name} only keeps it",
            f"leak 1 (integrate and fire): changes the leak by up to {np.abs(fractions - 1).max():.4g}",
        )


def _multiplier(population: Population, target: Target) -> Iterator[Finding]:
    ports = [p for p in population.ports if np.any(p.multiplier != 1 << p.shift)]
    if not ports:
        return
    theta = getattr(population.dynamics, "threshold", None)
    if len(population.ports) == 1 and theta is not None and np.all(ports[0].multiplier > 0):
        exact = theta * float(1 << ports[0].shift) / ports[0].multiplier
        error = np.max(np.abs(np.rint(exact) - exact) / np.maximum(np.abs(exact), 1))
        fix = f"fold it into the threshold: rounds thresholds by up to {100 * error:.2g} %"
    else:
        sizes = [np.abs(p.multiplier.astype(np.int64)) / (1 << p.shift) for p in ports]
        finest = min(float(size[size > 0].min(initial=1.0)) for size in sizes)
        more = int(np.ceil(-np.log2(finest)))
        fix = f"take its inputs in unscaled: its current, and so its messages or threshold, grow by up to {more} bits"
    yield Finding(
        population.name,
        "multiplier",
        "16-bit multiplier",
        "none",
        f"its inputs are scaled by a multiplier, which {target.name} has not",
        fix,
    )


def _per_step(population: Population, target: Target) -> Iterator[Finding]:
    for what, array in population.parameters():
        if len(array) > 1 and np.any(array != array[0]):
            mean = np.rint(array.mean(axis=0))
            change = np.abs(array - mean).max()
            largest = np.abs(array).max()
            yield Finding(
                population.name,
                "per_step_parameters",
                len(array),
                1,
                f"its {what} changes from step to step, which {target.name} cannot",
                f"one {what} for all steps: changes it by up to {change:.0f} ({100 * change / largest:.2g} % of the "
                "largest)",
            )


def _connections(program: Program, target: Target) -> Iterator[Finding]:
    c = target.capabilities
    for synapse in program.synapses:
        for kind, name, allowed in ((SumPool, "sum_pool", c.sum_pool), (MaxPool, "max_pool", c.max_pool)):
            if isinstance(synapse.op, kind) and not allowed:
                kernel = prod(synapse.op.kernel)
                yield Finding(
                    synapse.name,
                    name,
                    name,
                    "none",
                    f"{target.name} has no {name.replace('_', ' ')}",
                    f"train with strided convolutions or average pooling; a window has {kernel} inputs",
                )


# ------------------------------------------------------------------------------- space


def _fan_in(layers: list[Layer], target: Target) -> Iterator[Finding]:
    limit = target.limits.fan_in_per_neuron
    if limit is None:
        return
    for layer in layers:
        needed = sum(edge.fan_in() * copies(edge, target.capabilities) for edge in layer.edges)
        if needed > limit:
            yield Finding(
                layer.name,
                "fan_in",
                needed,
                limit,
                f"a neuron has {needed} synapses (axon copies included), {target.name} allows {limit}",
                _fewer_inputs(layer, needed, limit),
            )


def _fewer_inputs(layer: Layer, needed: int, limit: int) -> str:
    parts = -(-needed // limit)
    fix = (
        f"split its inputs over {parts} partial-sum neurons each: {parts * layer.neurons} more neurons, one step deeper"
    )
    widest = max(layer.edges, key=lambda edge: edge.fan_in())
    channels = int((widest.last - widest.first).max())
    groups = next((g for g in range(2, channels + 1) if channels % g == 0 and needed <= limit * g), None)
    if groups is not None:
        fix += f"; or train '{widest.name}' in {groups} groups: 1/{groups} of its weights"
    return fix


def _excess(excess: Excess, layers: list[Layer], target: Target) -> Finding:
    layer = next(x for x in layers if x.name == excess.layer)
    whole = not target.capabilities.divisible_layers
    unit = " bytes" if excess.resource.endswith("memory") else ""
    what = "the layer" if whole else "one neuron"
    if whole:
        share = excess.available / excess.needed
        fix = f"a smaller layer: {100 * share:.3g} % of it fits a core ({int(layer.shape[0] * share)} channels)"
    elif excess.resource.endswith("memory"):
        fix = _less_memory(excess, layer, target)
    else:
        fix = _fewer_inputs(layer, excess.needed, excess.available)
    return Finding(
        excess.layer,
        excess.resource,
        excess.needed,
        excess.available,
        f"{what} needs {excess.needed}{unit} of {excess.resource.replace('_', ' ')}, a core of {target.name} has "
        f"{excess.available}{_rests_on(target)}",
        fix,
    )


def _rests_on(target: Target) -> str:
    """The capacities of a target that are estimates, as an aside."""
    guesses = [
        fact.key.split(".")[1]
        for fact in target.facts
        if fact.status == "estimate"
        and (fact.key.startswith(("limits.", "memory.")) or fact.key.endswith("axon_bits"))
        and fact.key not in ("limits.mesh", "limits.cores_per_tile")
    ]
    return f" (rests on estimates: {', '.join(guesses)})" if guesses else ""


def _less_memory(excess: Excess, layer: Layer, target: Target) -> str:
    """The widest narrower weights with which one neuron fits, or a split."""
    for bits in reversed(target.capabilities.weight_bits):
        slim = _with_weights(layer, bits)
        parts = cut_layers([slim], target, limits_of(target))
        if slim != layer and not parts.excesses:
            return f"{bits}-bit weights: then {parts.cuts[0].slices} slices of the layer fit"
    return _fewer_inputs(layer, excess.needed, excess.available)


def _with_weights(layer: Layer, bits: int) -> Layer:
    edges = tuple(msgspec.structs.replace(e, weight_bits=min(e.weight_bits, bits)) for e in layer.edges)
    return msgspec.structs.replace(layer, edges=edges)


def _cores(layers: list[Layer], parts: Partition, target: Target, chips: int) -> Iterator[Finding]:
    per_chip = target.limits.cores
    core_of = pack(needs_of(parts), target)
    if core_of is None:
        yield Finding(
            "program",
            "cores",
            len(layers),
            per_chip or len(layers),
            f"the cores of {target.name} differ in their memories, and the layers cannot all get one that holds them",
            f"two chips: {2 * (per_chip or 0)} cores; or smaller layers",
        )
        return
    cores = int(core_of.max()) + 1
    if per_chip is None or cores <= per_chip * chips:
        return
    needed = -(-cores // per_chip)
    fix = f"{needed} chips: {needed} times the static power"
    narrow = target.capabilities.weight_bits[0]
    if any(edge.weight_bits > narrow for layer in layers for edge in layer.edges):
        slim = cut_layers([_with_weights(layer, narrow) for layer in layers], target, limits_of(target))
        less = pack(needs_of(slim), target) if not slim.excesses else None
        if less is not None:
            fix += f"; {narrow}-bit weights alone: {int(less.max()) + 1} cores"
    yield Finding(
        "program",
        "cores",
        cores,
        per_chip * chips,
        f"it needs {cores} cores, {chips} chip(s) of {target.name} have {per_chip * chips}{_rests_on(target)}",
        fix,
    )
