"""Does a program fit a target? Every reason why not, at once, each with the smallest change and what it would cost."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from hmdf.sim.contract import (
    INPUT,
    MaxPool,
    Message,
    Population,
    SumPool,
    WeightedOp,
)
from hmdf.sim.finding import Finding
from hmdf.sim.program import Program
from hmdf.sim.ranges import prove

from ..place.layers import late_synapses
from ..schema import Target
from .capacity import crowding
from .serializable import is_local, obstacle
from .weight_noise import narrowed, signal_to_noise


def check(program: Program, target: Target, chips: int = 1) -> list[Finding]:
    """All findings, empty when the program fits on `chips` chips."""
    findings = [
        *_messages(program, target),
        *_weights(program, target),
        *_accumulators(program, target),
        *_states(program, target),
        *_neurons(program, target),
        *_connections(program, target),
    ]
    return findings + crowding(program, target, chips)


# ---------------------------------------------------------------------------- messages


def _messages(program: Program, target: Target) -> Iterator[Finding]:
    c = target.capabilities
    allowed = c.input_message_bits or c.message_bits
    first = program.input.message
    if first.bits > allowed:
        problem = f"the input sends {first.bits}-bit messages, {target.name} takes {allowed} bit"
        fix = _coarser(first, allowed)
        yield Finding(INPUT, problem, fix, resource="message_bits", needed=first.bits, available=allowed)
    if first.signed and not c.signed_messages:
        yield _signed(INPUT, first, prod(program.input.shape), target)
    for population in program.populations:
        message = population.message
        if message.bits > c.message_bits and not is_local(program, population):
            problem = f"it sends {message.bits}-bit messages, {target.name} sends {c.message_bits} bit"
            fix = _narrower_message(program, population, target)
            yield Finding(
                population.name, problem, fix, resource="message_bits", needed=message.bits, available=c.message_bits
            )
        if message.signed and not c.signed_messages:
            yield _signed(population.name, message, prod(population.shape), target)


def _narrower_message(program: Program, population: Population, target: Target) -> str:
    allowed = target.capabilities.message_bits
    fix = _coarser(population.message, allowed)
    if allowed == 1:
        reason = obstacle(program, population)
        bits = population.message.bits
        if reason is None:
            more = bits * prod(population.shape)
            cost = f"{more} more binary neurons, up to {bits} messages per spike"
            fix += f"; or serialise its spikes (exact, --serialize-spikes): {cost}"
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
    problem = f"its messages may be negative, those of {target.name} may not"
    fix = (
        f"send the positive and the negative part from two neurons (exact): {neurons} more neurons and as many axons, "
        f"each of {message.bits - 1} bits, and the weights twice"
    )
    return Finding(node, problem, fix, resource="signed_messages", needed="signed", available="unsigned")


# ------------------------------------------------------------------------------- numbers


def _weights(program: Program, target: Target) -> Iterator[Finding]:
    c = target.capabilities
    for synapse in program.synapses:
        op = synapse.op
        if not isinstance(op, WeightedOp):
            continue
        widths = (c.input_weight_bits if synapse.source == INPUT else None) or c.weight_bits
        widest = widths[-1]
        if op.weight_bits > widest:
            problem = f"{op.weight_bits}-bit weights; {target.name} stores {', '.join(map(str, widths))} bits"
            kept = signal_to_noise(op.weight, narrowed(op.weight, widest))
            fix = f"{widest}-bit weights: signal to noise {kept:.1f} dB, no retraining counted"
            yield Finding(synapse.name, problem, fix, resource="weight_bits", needed=op.weight_bits, available=widest)


def _accumulators(program: Program, target: Target) -> Iterator[Finding]:
    available = target.capabilities.accumulator_bits
    proven = prove(program).synapses
    for synapse in program.synapses:
        interval = proven[synapse.name]
        if interval.bits > available:
            message = program.message_of(synapse.source)
            surplus = interval.bits - available
            left = message.bits - surplus
            fix = (
                f"'{synapse.source}': {_coarser(message, left)}"
                if left >= 1 + message.signed
                else f"fewer inputs per neuron: at most 1/{1 << surplus} of them"
            )
            problem = f"its accumulator reaches [{interval.low}, {interval.high}]"
            yield Finding(
                synapse.name, problem, fix, resource="accumulator_bits", needed=interval.bits, available=available
            )


def _states(program: Program, target: Target) -> Iterator[Finding]:
    available = target.capabilities.state_bits
    if program.state_bits <= available:
        return
    for name, proof in prove(program).populations.items():
        widest = proof.membrane or proof.current
        needed = min(program.state_bits, max(widest.bits, proof.current.bits))
        if needed > available:
            problem = f"its membrane needs {needed} bits"
            fix = (
                f"compile for {target.name} ({available}-bit state): membrane steps up to {1 << (needed - available)} "
                "times as large"
            )
            yield Finding(name, problem, fix, resource="state_bits", needed=needed, available=available)


# ------------------------------------------------------------------------------ features


def _neurons(program: Program, target: Target) -> Iterator[Finding]:
    c = target.capabilities
    for population in program.populations:
        kind = population.dynamics.kind()
        if kind not in c.dynamics:
            problem = f"{target.name} has no {kind.replace('_', ' ')} neuron"
            fix = (
                f"train with one of its neurons ({', '.join(c.dynamics).replace('_', ' ')}); {prod(population.shape)} "
                "neurons change"
            )
            yield Finding(
                population.name, problem, fix, resource="dynamics", needed=kind, available=", ".join(c.dynamics)
            )
        if not c.leak:
            yield from _leak(population, target)
        if not c.reset_to_value:
            yield from _reset(population, target)
        if not c.multiplier:
            yield from _multiplier(population, target)
        if not c.per_step_parameters:
            yield from _per_step(population, target)
        if population.gate is not None and not c.gates:
            problem = f"its current is scaled by '{population.gate.source}', which {target.name} cannot"
            fix = "train without channel attention"
            yield Finding(population.name, problem, fix, resource="gates", needed="gate", available="none")


def _leak(population: Population, target: Target) -> Iterator[Finding]:
    """The couplings of two states are no leak: they belong to the dynamics, which a chip has or has not."""
    dynamics, facts = population.dynamics, population.dynamics.facts
    if not facts.leaks:
        return
    leaks = [getattr(dynamics, field).reshape(-1) for field in facts.leaks]
    fractions = np.concatenate(leaks) / (1 << getattr(dynamics, facts.leak_shift))
    if np.any(fractions != 1):
        problem = f"its membrane is multiplied by a leak, {target.name} only keeps it"
        fix = f"leak 1 (integrate and fire): changes the leak by up to {np.abs(fractions - 1).max():.4g}"
        needed = f"{fractions.min():.4g}..{fractions.max():.4g}"
        yield Finding(population.name, problem, fix, resource="leak", needed=needed, available="1")


def _reset(population: Population, target: Target) -> Iterator[Finding]:
    field = population.dynamics.facts.reset
    if not field or not np.any(value := getattr(population.dynamics, field)):
        return
    problem = f"a spike resets its membrane to {_span(value)}, {target.name} resets to 0"
    fix = f"measure membranes from there: {_span(value)} less in threshold, bias and what the membrane starts from"
    yield Finding(population.name, problem, fix, resource="reset_to_value", needed=_span(value), available="0")


def _span(array: np.ndarray) -> str:
    return f"{array.min()}" if array.min() == array.max() else f"{array.min()}..{array.max()}"


def _multiplier(population: Population, target: Target) -> Iterator[Finding]:
    ports = [p for p in population.ports if np.any(p.multiplier != 1 << p.shift)]
    if not ports:
        return
    theta = getattr(population.dynamics, "threshold", None)
    if len(population.ports) == 1 and theta is not None and np.all(ports[0].multiplier > 0):
        exact = theta * float(1 << ports[0].shift) / ports[0].multiplier
        error = np.max(np.abs(np.rint(exact) - exact) / np.maximum(np.abs(exact), 1))
        option = " (--absorb-multipliers)" if population.dynamics.facts.spikes == "binary" else ""
        fix = f"fold it into the threshold{option}: rounds thresholds by up to {100 * error:.2g} %"
    else:
        sizes = [np.abs(p.multiplier.astype(np.int64)) / (1 << p.shift) for p in ports]
        finest = min(float(size[size > 0].min(initial=1.0)) for size in sizes)
        more = int(np.ceil(-np.log2(finest)))
        grows = f"its current, and so its messages or threshold, grow by up to {more} bits"
        fix = f"take its inputs in unscaled: {grows if more > 0 else 'its current does not grow'}"
    problem = f"its inputs are scaled by a multiplier, which {target.name} has not"
    yield Finding(population.name, problem, fix, resource="multiplier", needed="16-bit multiplier", available="none")


def _per_step(population: Population, target: Target) -> Iterator[Finding]:
    changing = {what: a for what, a, _ in population.parameters() if len(a) > 1 and np.any(a != a[0])}
    if not changing:
        return
    changes = []
    for what, array in changing.items():
        change = np.abs(array - np.rint(array.mean(axis=0))).max()
        changes.append(f"the {what} by up to {change:.0f} ({100 * change / np.abs(array).max():.2g} % of the largest)")
    problem = f"its {', '.join(changing)} change from step to step, which {target.name} cannot"
    fix = f"the mean over the steps for all of them: changes {', '.join(changes)}"
    steps = max(len(array) for array in changing.values())
    yield Finding(population.name, problem, fix, resource="per_step_parameters", needed=steps, available=1)


def _connections(program: Program, target: Target) -> Iterator[Finding]:
    c = target.capabilities
    if target.processor is None and target.limits.cores is not None:
        yield from _loops(program, target)
    for synapse in program.synapses:
        for kind, allowed in ((SumPool, c.sum_pool), (MaxPool, c.max_pool)):
            if isinstance(synapse.op, kind) and not allowed:
                name = str(kind.__struct_config__.tag)
                kernel = prod(synapse.op.kernel)
                problem = f"{target.name} has no {name.replace('_', ' ')}"
                fix = f"train with strided convolutions or average pooling; a window has {kernel} inputs"
                yield Finding(synapse.name, problem, fix, resource=name, needed=name, available="none")


def _loops(program: Program, target: Target) -> Iterator[Finding]:
    for synapse in late_synapses(program):
        problem = (
            f"it brings the message of the step before from '{synapse.source}' back over several layers; "
            f"a message takes a step from layer to layer on {target.name}"
        )
        fix = "let a layer read itself, or run one time-step in as many steps of the chip as the loop has layers"
        yield Finding(synapse.name, problem, fix, resource="loop", needed="more than 1 step", available=1)
