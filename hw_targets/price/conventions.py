"""Synaptic operations and energy as the literature counts them: three conventions, each under its name.

    E = 4.6 pJ x MACs(stem) + 0.9 pJ x SOPs                                  (Horowitz's 45 nm table, fp32 MAC and add)

The stem is what reads a picture; its MACs are charged once, however often the picture is shown. All that comes after
it counts as SOPs; where a layer reads a current that is no spike, every message of it, 0 or not, which can only be more
than the papers count. Pools are not counted.

HM-DF's third version has one price for a network: its SOPs cost an eighth where the network's spikes have 4 bits. That
holds for what reads no spike itself, too: averages of spikes, shortcuts on the residual stream.
"""

from __future__ import annotations

from math import prod

import msgspec

from hmdf.sim.contract import INPUT, Conv2d, Synapse, WeightedOp
from hmdf.sim.program import Program

from ..events import EventCounts
from ..schema import Target


class Convention(msgspec.Struct, frozen=True):
    """One way to count, and what it finds per sample."""

    name: str
    definition: str
    source: str
    sops: float
    energy_pj: float


def conventions(program: Program, events: EventCounts, reference: Target) -> dict[str, Convention]:
    """What papers would print of a program, by name, at the typical constants of a target that has them (cmos45).

    Raises:
        ValueError: the target has no such constants.
    """
    costs = _constants(reference)
    stem, after = _stem_and_after(program)
    # In HM-DF the stem is left out for event input too, where it is one of the layers that read spikes.
    convolutions = [s for s in after if isinstance(s.op, Conv2d) and s.source != INPUT]
    happen = {s.name: float(events.sops[s.name].mean()) + events.macs[s.name] for s in (*stem, *after)}
    dense = {s.name: s.op.taps * prod(program.shapes[s.name]) * program.time_steps for s in (*stem, *after)}
    density = {
        name: float(sent.mean()) / (prod(program.shapes[name]) * program.time_steps)
        for name, sent in events.messages.items()
    }

    def energy(macs: float, sops: float) -> float:
        return costs["stem_mac_energy"] * macs / _times_shown(program) + costs["synaptic_op_energy"] * sops

    exact = sum(happen[s.name] for s in after)
    hm_df = sum(happen[s.name] for s in convolutions)
    estimated = sum(density[s.source] * dense[s.name] for s in after)
    found = [
        Convention(
            "exact",
            "all layers after the stem: messages that are not 0, of a signed current all, x weights that are not 0, at "
            "valid positions",
            "docs/counters.md; the energy is that of the target cmos45",
            exact,
            energy(sum(happen[s.name] for s in stem), exact),
        ),
        Convention(
            "hm_df",
            "convolutions except the stem, counted as in exact; 0.9 pJ each, an eighth in a network of 4-bit spikes",
            "HM-DF, third version (HD-LIF), ablation, arXiv 2410.07547 v3",
            hm_df,
            hm_df * costs["four_bit_synaptic_op_energy" if has_4_bit_spikes(program) else "synaptic_op_energy"],
        ),
        Convention(
            "spikformer",
            "all layers after the stem: firing rate x time-steps x MACs, zeros of weights and padding included",
            "Spikformer, theoretical energy, arXiv 2209.15425",
            estimated,
            energy(sum(dense[s.name] for s in stem), estimated),
        ),
    ]
    return {convention.name: convention for convention in found}


def macs_beyond(program: Program, events: EventCounts, reference: Target) -> float:
    """pJ per sample beyond the literature's: dense currents at the price of MACs, the stem at every step."""
    costs = _constants(reference)
    stem, after = _stem_and_after(program)
    repeated = sum(events.macs[s.name] for s in stem) * (1 - 1 / _times_shown(program))
    dense = sum(events.macs[s.name] for s in after)
    return repeated * costs["stem_mac_energy"] + dense * (costs["stem_mac_energy"] - costs["mac_energy"])


def is_stem(program: Program, synapse: Synapse) -> bool:
    """Whether a synapse reads a picture: dense input, for which one multiplication serves all steps that show it."""
    return synapse.source == INPUT and not program.carries_spikes(synapse)


def has_4_bit_spikes(program: Program) -> bool:
    """Whether a network has spikes of 4 bits and no others: HD-LIF's compressed form."""
    return {p.message.bits for p in program.populations if p.dynamics.facts.spikes is not None} == {4}


def _stem_and_after(program: Program) -> tuple[list[Synapse], list[Synapse]]:
    weighted = [s for s in program.synapses if isinstance(s.op, WeightedOp)]
    return [s for s in weighted if is_stem(program, s)], [s for s in weighted if not is_stem(program, s)]


def _times_shown(program: Program) -> int:
    return program.time_steps // program.input_steps


def _constants(reference: Target) -> dict[str, float]:
    names = ("synaptic_op_energy", "four_bit_synaptic_op_energy", "mac_energy", "stem_mac_energy")
    found = {name: getattr(reference.costs, name) for name in names}
    missing = [name for name, cost in found.items() if cost is None]
    if missing:
        raise ValueError(f"target '{reference.name}' has no {', '.join(missing)}; cmos45 has them")
    return {name: cost.typical for name, cost in found.items()}
