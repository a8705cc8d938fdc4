"""Which populations run in 32-bit lanes: those whose every intermediate integer provably fits.

A product factor * x that is shifted right afterwards may itself need more than 32 bits; then x is split into
x = high * 2^k + low, and the product is made from two that fit (rounding.scaled). `Narrow` says how far to split.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..contract import (
    INPUT,
    ChannelConv,
    Conv2d,
    Dynamics,
    Message,
    Population,
    Synapse,
)
from ..contract.intervals import Interval
from ..contract.parameters import Parameter, ShiftRange, fields_of
from ..program import Program
from ..ranges import PopulationRange, Ranges
from .neurons import has_narrow_form

LARGEST = (1 << 31) - 1
_LARGEST_SHIFT = 30


class Narrow(NamedTuple):
    """How the products of a population are split, in bits; 0 where they fit as they are."""

    ports: tuple[int, ...]
    leak: int
    gate: int


def narrow_widths(program: Program, proof: Ranges) -> dict[str, Narrow]:
    """The populations that run in 32-bit lanes, by name."""
    widths = {p.name: _population(program, p, proof) for p in program.populations}
    return {name: width for name, width in widths.items() if width is not None}


def narrow_readout(program: Program, proof: Ranges) -> bool:
    """Whether the accumulators of the read-out fit 32 bits."""
    return _reads_narrow(program, program.readout.source) and _reach(proof.synapses[program.readout.source]) <= LARGEST


def split_for(factor: int, x: int, product: int, shift: int) -> int | None:
    """Bits to split x by, so that rshift(factor * x, shift) is exact in 32 bits; None when no split does it.

    Args:
        factor, x, product: largest magnitudes of the factor, of x, and of their product.
    """
    if x > LARGEST or shift > 47:
        return None
    if shift <= _LARGEST_SHIFT and product + _half(shift) <= LARGEST:
        return 0
    split = min(shift - 1, _LARGEST_SHIFT - factor.bit_length())
    if split < 1 or shift - split > _LARGEST_SHIFT:
        return None
    high = (product >> split) + 2 * factor + 2
    return split if high + _half(shift - split) <= LARGEST else None


def _population(program: Program, population: Population, proof: Ranges) -> Narrow | None:
    found = proof.populations[population.name]
    if not has_narrow_form(population.dynamics) or _reach(found.current) > LARGEST:
        return None
    if not _is_short(population.message):
        return None
    ports = [_port(program, population, i, proof) for i in range(len(population.ports))]
    leak, gate = _leak(population, found, program.state_bits), _gate(program, population, found, proof)
    if leak is None or gate is None or not _sent_fits(population, found, program.state_bits):
        return None
    known = tuple(p for p in ports if p is not None)
    return Narrow(known, leak, gate) if len(known) == len(ports) else None


def _port(program: Program, population: Population, index: int, proof: Ranges) -> int | None:
    port = population.ports[index]
    if not _reads_narrow(program, port.source):
        return None
    if port.source in proof.synapses:
        x = proof.synapses[port.source]
    elif port.source == INPUT:
        x = Interval(*program.input.message.range)
    else:
        x = proof.populations[port.source].message
    product = _reach(proof.populations[population.name].products[index])
    return split_for(_largest(port.multiplier), _reach(x), product, port.shift)


def _reads_narrow(program: Program, source: str) -> bool:
    """Whether narrow.py can read a source: no convolutions over groups or channels, nothing wider than int16."""
    synapse = program.by_name.get(source)
    if not isinstance(synapse, Synapse):
        return _is_short(program.message_of(source))
    if isinstance(synapse.op, ChannelConv) or (isinstance(synapse.op, Conv2d) and synapse.op.groups > 1):
        return False
    return _is_short(program.message_of(synapse.source))


def _is_short(message: Message) -> bool:
    return message.signed or message.bits < 16


def _leak(population: Population, found: PopulationRange, state_bits: int) -> int | None:
    n = population.dynamics
    if not n.facts.states:
        return 0
    assert found.membrane is not None
    state = max(_state_reach(found.membrane, state_bits), _given_states(n))
    factors = max(_largest(getattr(n, field)) for field in (*n.facts.leaks, *n.facts.couplings))
    shift = getattr(n, n.facts.leak_shift)
    return split_for(factors, state, factors * state, shift) if _reach(found.membrane) <= LARGEST else None


def _gate(program: Program, population: Population, found: PopulationRange, proof: Ranges) -> int | None:
    if population.gate is None:
        return 0
    if not _reads_narrow(program, population.gate.source):
        return None
    scaled = [_reach(p) for p in found.products]
    shifts = [port.shift for port in population.ports]
    ungated = _largest(population.bias) + sum((r >> s) + 1 for r, s in zip(scaled, shifts, strict=True))
    factor = _reach(proof.populations[population.gate.source].message)
    return split_for(factor, ungated, factor * ungated, population.gate.shift)


def _sent_fits(population: Population, found: PopulationRange, state_bits: int) -> bool:
    """Whether what becomes the message, m or m - threshold, and the rounding half of its shift, fit."""
    n = population.dynamics
    m = _state_reach(found.membrane or found.current, state_bits)
    fields = ((name, value) for name, kind, value in fields_of(n) if isinstance(kind, ShiftRange))
    shift = max((value for name, value in fields if name != n.facts.leak_shift), default=0)
    return shift <= _LARGEST_SHIFT and m + _given_states(n) + _half(shift) <= LARGEST


def _given_states(dynamics: Dynamics) -> int:
    """Largest magnitude of what a state is compared with or replaced by: thresholds, what a reset leaves."""
    given = (value for _, kind, value in fields_of(dynamics) if isinstance(kind, Parameter) and kind.within_state)
    return max(map(_largest, given), default=0)


def _state_reach(interval: Interval, state_bits: int) -> int:
    return min(_reach(interval), 1 << (state_bits - 1))


def _reach(interval: Interval) -> int:
    return max(-interval.low, interval.high, 0)


def _largest(array: np.ndarray) -> int:
    return int(np.abs(array.astype(np.int64)).max())


def _half(shift: int) -> int:
    return (1 << shift) >> 1
