"""Weights as lists without zeros, on chips whose cores can hold them so."""

from __future__ import annotations

from math import prod

import msgspec
import numpy as np

from hmdf.sim.contract import Synapse, WeightedOp
from hmdf.sim.program import Program

from ..schema import Target
from .layers import ChipLayer, layers_of
from .mapping import Mapping, Slice
from .partition import stored_bits


def compressed_weights(program: Program, target: Target, mapping: Mapping) -> int | None:
    """Bytes of all weights when each that is not 0 is stored with its place; None where the target has no such form.

    The place is the number of a neuron of the core where every connection is stored, else of a tap of the kernel. The
    ones of pools and direct ports, which have no zeros, stay as they are.
    """
    if not target.capabilities.sparse_weights:
        return None
    saved = 0
    for layer in layers_of(program):
        slices = [part for part in mapping.slices if part.layer == layer.name]
        saved += sum(_saved_bits(program, target, layer, slices, synapse) for synapse in _weighted(program, layer))
    return sum(part.bytes["weights"] for part in mapping.slices) - saved // 8


def _weighted(program: Program, layer: ChipLayer) -> list[Synapse]:
    nodes = [program.by_name.get(edge.name) for edge in layer.edges if edge.weighted]
    return [node for node in nodes if isinstance(node, Synapse)]


def _saved_bits(program: Program, target: Target, layer: ChipLayer, slices: list[Slice], synapse: Synapse) -> int:
    """Bits of all weights less those of the list; negative where the places take more than the zeros did."""
    op = synapse.op
    assert isinstance(op, WeightedOp)
    width = stored_bits(next(edge for edge in layer.edges if edge.name == synapse.name), target.capabilities)
    if target.capabilities.shared_kernels:
        parts = [op.weight if op.shared else op.weight[slice(*part.channels)] for part in slices]
        entries, kept = sum(part.size for part in parts), sum(int(np.count_nonzero(part)) for part in parts)
        places = op.taps
    else:
        source = program.shapes[synapse.source]
        entries, kept = (int(each.fanout(source).sum()) for each in (_full(op), op))
        places = target.limits.neurons_per_core or prod(layer.shape)
    return entries * width - kept * (width + (places - 1).bit_length())


def _full(op: WeightedOp) -> WeightedOp:
    return msgspec.structs.replace(op, weight=np.ones_like(op.weight), weight_bits=1)
