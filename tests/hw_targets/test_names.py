"""What a program costs does not depend on the names of its nodes."""

import re

import msgspec
import pytest

from hmdf.hw_targets.events import assumed
from hmdf.hw_targets.on_targets import on_targets
from hmdf.hw_targets.price.references import neurobench
from hmdf.hw_targets.target import load_target, target_names
from hmdf.sim.contract import INPUT, Population
from programs import random_program

WORDS = ("bias", "threshold", "multiplier", "table", "leak", "input", "readout")
"""Names of parameters and of what is not a node: the ones that a rule by name would fall for."""


def renamed(program):
    """The same program under other names, and the way back."""
    names = {INPUT: INPUT} | {
        node.name: f"{WORDS[index % len(WORDS)]}_of_{index}" for index, node in enumerate(program.nodes)
    }
    replace = msgspec.structs.replace
    nodes = []
    for node in program.nodes:
        if isinstance(node, Population):
            ports = tuple(replace(port, source=names[port.source]) for port in node.ports)
            gate = node.gate and replace(node.gate, source=names[node.gate.source])
            nodes.append(replace(node, name=names[node.name], ports=ports, gate=gate))
        else:
            nodes.append(replace(node, name=names[node.name], source=names[node.source]))
    readout = replace(program.readout, source=names[program.readout.source])
    return replace(program, nodes=tuple(nodes), readout=readout), {new: old for old, new in names.items()}


def known(program, back):
    """Fits, mappings, energies, times and metrics on every shipped target, under the names that `back` leads to."""
    events = assumed(program)
    found = [*on_targets(program, map(load_target, target_names()), events), neurobench(program, events)]
    text = msgspec.json.encode(found, enc_hook=lambda array: array.tolist()).decode()
    return re.sub(rf"\b({'|'.join(map(re.escape, back))})\b", lambda match: back[match[0]], text)


@pytest.mark.parametrize("seed", range(12))
def test_other_names_change_nothing(seed):
    program = random_program(seed)
    other, back = renamed(program)
    assert set(other.by_name).isdisjoint(program.by_name)
    assert known(other, back) == known(program, {name: name for name in [INPUT, *program.by_name]})
