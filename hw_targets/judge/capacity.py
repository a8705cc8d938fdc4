"""Findings about room: fan-in, what one core holds, and how many cores there are."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hmdf.sim.contract import WeightedOp
from hmdf.sim.finding import Finding
from hmdf.sim.program import Program

from ..place.assignment import Needs, core_shares, lower_bound, needs_of, pack
from ..place.layers import ChipLayer, layers_of
from ..place.partition import Excess, copies, cut_layers, limits_of
from ..schema import Target
from .weight_noise import narrowed, signal_to_noise


def crowding(program: Program, target: Target, chips: int) -> list[Finding]:
    """Every limit of space that a program breaks on `chips` chips."""
    layers = layers_of(program)
    crowded = list(_fan_in(layers, target))
    parts = cut_layers(layers, target, limits_of(target))
    named = {(f.where, "input_axons") for f in crowded}
    # A neuron with too many synapses has too many axons for the same reason: said once.
    excesses = [e for e in parts.excesses if (e.layer, e.resource) not in named]
    crowded += [_excess(excess, program, layers, target) for excess in excesses]
    usable = min(chips, target.limits.chips or chips)
    if parts.excesses:
        return crowded + list(_at_least(program, target, usable))
    needs = needs_of(parts)
    homeless = list(_homeless(layers, needs, target))
    return crowded + (homeless or list(_cores(program, layers, needs, target, usable)))


# ------------------------------------------------------------------------------ one core


def _fan_in(layers: list[ChipLayer], target: Target) -> Iterator[Finding]:
    limit = target.limits.fan_in_per_neuron
    if limit is None:
        return
    for layer in layers:
        needed = sum(edge.fan_in() * copies(edge, target.capabilities) for edge in layer.edges)
        if needed > limit:
            problem = f"a neuron has {needed} synapses (axon copies included), {target.name} allows {limit}"
            fix = _fewer_inputs(layer, needed, limit)
            yield Finding(layer.name, problem, fix, resource="fan_in", needed=needed, available=limit)


def _fewer_inputs(layer: ChipLayer, needed: int, limit: int) -> str:
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


def _excess(excess: Excess, program: Program, layers: list[ChipLayer], target: Target) -> Finding:
    layer = next(x for x in layers if x.name == excess.layer)
    whole = not target.capabilities.divisible_layers
    unit = " bytes" if excess.resource.endswith("memory") else ""
    what = "the layer" if whole else "one neuron"
    if whole:
        fix = _smaller(layer, excess.available / excess.needed)
    elif excess.resource.endswith("memory"):
        fix = _less_memory(excess, program, layer, target)
    else:
        fix = _fewer_inputs(layer, excess.needed, excess.available)
    problem = (
        f"{what} needs {excess.needed}{unit} of {excess.resource.replace('_', ' ')}, a core of {target.name} has "
        f"{excess.available}{_rests_on(target)}"
    )
    return Finding(
        excess.layer, problem, fix, resource=excess.resource, needed=excess.needed, available=excess.available
    )


def _smaller(layer: ChipLayer, share: float) -> str:
    return f"a smaller layer: {100 * share:.3g} % of it fits a core ({int(layer.shape[0] * share)} channels)"


def _homeless(layers: list[ChipLayer], needs: Needs, target: Target) -> Iterator[Finding]:
    """Layers that no core holds, though each of its memories has room enough on some core."""
    if target.capabilities.divisible_layers:
        return
    for layer, shares in zip(layers, core_shares(needs, target), strict=True):
        if shares.max() < 1:
            core = int(shares.argmax())
            problem = f"the cores of {target.name} differ in their memories, and none has all that the layer needs"
            fix = f"{_smaller(layer, float(shares[core]))}, on core {core}"
            yield Finding(layer.name, problem, fix, resource="cores", needed=1, available=0)


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


def _less_memory(excess: Excess, program: Program, layer: ChipLayer, target: Target) -> str:
    """The widest narrower weights with which one neuron fits, or a split."""
    for bits in reversed(target.capabilities.weight_bits):
        slim = _with_weights(layer, bits)
        parts = cut_layers([slim], target, limits_of(target))
        if slim != layer and not parts.excesses:
            slices = parts.cuts[0].slices
            return f"{bits}-bit weights: then {slices} slices of the layer fit, {_noise(program, [layer], bits)}"
    return _fewer_inputs(layer, excess.needed, excess.available)


def _with_weights(layer: ChipLayer, bits: int) -> ChipLayer:
    edges = tuple(msgspec.structs.replace(e, weight_bits=min(e.weight_bits, bits)) for e in layer.edges)
    return msgspec.structs.replace(layer, edges=edges)


def _noise(program: Program, layers: list[ChipLayer], bits: int) -> str:
    """What weights of `bits` bits cost: the noise of the synapse that suffers most."""
    read = {edge.name for layer in layers for edge in layer.edges}
    ops = [s.op for s in program.synapses if s.name in read]
    ratios = [
        signal_to_noise(op.weight, narrowed(op.weight, bits))
        for op in ops
        if isinstance(op, WeightedOp) and op.weight_bits > bits
    ]
    return f"signal to noise {min(ratios):.1f} dB or more, no retraining counted"


# ----------------------------------------------------------------------------- all cores


def _at_least(program: Program, target: Target, chips: int) -> Iterator[Finding]:
    """Too many cores whatever the mapping; said where some layer cannot be mapped, so that nobody learns it later."""
    per_chip, bound = target.limits.cores, lower_bound(program, target)
    if per_chip is not None and bound.cores > per_chip * chips:
        problem = (
            f"it needs at least {bound.cores} cores for its {bound.resource.replace('_', ' ')}, {_has(target, chips)}"
        )
        fix = f"at least {_more_chips(-(-bound.cores // per_chip), target)}"
        yield Finding("program", problem, fix, resource="cores", needed=bound.cores, available=per_chip * chips)


def _cores(program: Program, layers: list[ChipLayer], needs: Needs, target: Target, chips: int) -> Iterator[Finding]:
    per_chip = target.limits.cores
    core_of = pack(needs, target)
    assert core_of is not None
    cores = int(core_of.max()) + 1
    if per_chip is None or cores <= per_chip * chips:
        return
    bound = lower_bound(program, target)
    least = f"; no mapping does with less than {bound.cores}, by its {bound.resource.replace('_', ' ')}"
    problem = f"it needs {cores} cores{least}; {_has(target, chips)}"
    fix = _more_chips(-(-cores // per_chip), target) + _narrower_weights(program, layers, target, per_chip * chips)
    yield Finding("program", problem, fix, resource="cores", needed=cores, available=per_chip * chips)


def _has(target: Target, chips: int) -> str:
    owner = f"{chips} chips of {target.name} have" if chips > 1 else f"a chip of {target.name} has"
    return f"{owner} {(target.limits.cores or 0) * chips}{_rests_on(target)}"


def _more_chips(chips: int, target: Target) -> str:
    """How many chips would do, and their static power."""
    fix, joined, power = f"{chips} chips", target.limits.chips, target.costs.static_power
    if joined is not None and chips > joined:
        fix += f", more than the {joined} that can be joined"
    if power is not None and power.high > 0:
        fix += f": {chips} times the static power, typically {chips * power.typical / 1000:.3g} W"
    return fix


def _narrower_weights(program: Program, layers: list[ChipLayer], target: Target, room: int) -> str:
    """The widest narrower weights with which the cores that there are suffice."""
    widest = max(edge.weight_bits for layer in layers for edge in layer.edges)
    for bits in reversed([b for b in target.capabilities.weight_bits if b < widest]):
        parts = cut_layers([_with_weights(layer, bits) for layer in layers], target, limits_of(target))
        core_of = None if parts.excesses else pack(needs_of(parts), target)
        if core_of is not None and core_of.max() < room:
            return f"; or {bits}-bit weights: {int(core_of.max()) + 1} cores, {_noise(program, layers, bits)}"
    return ""
