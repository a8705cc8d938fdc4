"""The memory of weights as lists without zeros, against a count by hand."""

import msgspec
import numpy as np
import pytest

from hmdf.hw_targets.place.compressed import compressed_weights
from hmdf.hw_targets.place.mapping import map_program
from hmdf.sim.contract import Synapse
from hmdf.sim.program import Program


def sparse(program: Program) -> Program:
    """Of an output channel of the convolution one weight of 18, at the centre; of the classifier one of four."""
    centre = np.zeros((4, 2, 3, 3), np.int8)
    centre[:, 0, 1, 1] = 1
    fourth = np.broadcast_to(np.arange(64) % 4 == 0, (3, 64)).astype(np.int8)
    ops = {"conv": (centre, 2), "classes": (fourth, 2)}
    nodes = []
    for node in program.nodes:
        if isinstance(node, Synapse):
            weight, bits = ops[node.name]
            op = msgspec.structs.replace(node.op, weight=weight, weight_bits=bits)
            node = msgspec.structs.replace(node, op=op)
        nodes.append(node)
    return msgspec.structs.replace(program, nodes=tuple(nodes))


@pytest.mark.parametrize(
    ("shared", "wanted"),
    [
        # The neurons lie on two cores, each with the kernel: 4 weights of 2 bits with 5 for a place among 18; the three
        # classes have 16 weights each, with 6 bits for a place among 64.
        ("true", (2 * 4 * (2 + 5) + 3 * 16 * (2 + 6)) // 8),
        # Each of 4 x 16 neurons has one connection, each class 16: 2 bits, and 5 for one of 32 neurons of a core.
        ("false", (64 * (2 + 5) + 3 * 16 * (2 + 5)) // 8),
    ],
)
def test_weights_without_zeros_by_hand(toy, toy_chip, shared, wanted):
    published = 'source = "s", status = "published" }'
    was, now = (f"shared_kernels = {{ value = {value}, {published}" for value in ("true", shared))
    roomy = ("bytes = 4096", "bytes = 65536")
    program, target = sparse(toy), toy_chip((was, f"{now}\nsparse_weights = {{ value = true, {published}"), roomy)
    mapping = map_program(program, target)
    assert len({part.core for part in mapping.slices if part.layer == "fire"}) == 2
    assert compressed_weights(program, target, mapping) == wanted
    assert compressed_weights(program, toy_chip(), mapping) is None
    dense = compressed_weights(toy, target, map_program(toy, target))
    assert dense > sum(part.bytes["weights"] for part in mapping.slices)  # a third of zeros does not pay for the places
