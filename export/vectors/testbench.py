"""A test bench in SystemVerilog for one population: the HM-DF neuron in Verilog against the golden vectors."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from hmdf.sim.contract import Population, Synapse
from hmdf.sim.contract.dynamics import BaseDynamics
from hmdf.sim.program import Program

if TYPE_CHECKING:
    from .write import Manifest

TEMPLATE = Path(__file__).parent / "template"
NEURON = "hybrid_firing"
"""The kind of neuron that is there in Verilog, and the name of its module."""


def suits_testbench(program: Program, population: Population) -> bool:
    """Whether the Verilog neuron is this population's: its kind, a membrane that starts at 0, one port that reads an
    accumulator, and no gate."""
    dynamics: BaseDynamics = population.dynamics
    reads = [isinstance(program.by_name.get(port.source), Synapse) for port in population.ports]
    return dynamics.kind() == NEURON and reads == [True] and not (population.gate or population.initial_state)


def write_testbench(program: Program, population: Population, manifest: Manifest, folder: Path) -> None:
    """Write testbench.sv and hybrid_firing.v beside the vectors."""
    (port,) = population.ports
    by_what = {(v.node, v.kind, v.what): v for v in manifest.arrays}
    fields: dict[str, object] = {
        "POPULATION": population.name,
        "SAMPLES": manifest.samples,
        "STEPS": program.time_steps,
        "CHANNELS": population.shape[0],
        "POSITIONS": prod(population.shape[1:]),
        "ACC_BITS": program.accumulator_bits,
        "STATE_BITS": program.state_bits,
        "MESSAGE_BITS": population.message.bits,
        "SHIFT": port.shift,
        "ACC_FILE": f"{by_what[port.source, 'accumulator', ''].name}.hex",
        "MESSAGE_FILE": f"{by_what[population.name, 'message', ''].name}.hex",
        "MEMBRANE_FILE": f"{by_what[population.name, 'state', 'v'].name}.hex",
    }
    for name in ("leak_shift", "spike_shift"):
        fields[name.upper()] = getattr(population.dynamics, name)
    for name, what in (("MULTIPLIER", "multiplier.0"), ("BIAS", "bias"), ("LEAK", "leak"), ("THRESHOLD", "threshold")):
        array = by_what[population.name, "parameter", what]
        fields |= {
            f"{name}_STEPS": array.shape[0],
            f"{name}_CHANNELS": array.shape[1],
            f"{name}_FILE": f"{array.name}.hex",
        }
    text = (TEMPLATE / "testbench.sv").read_text()
    (folder / "testbench.sv").write_text(re.sub(r"@([A-Z_]+)@", lambda match: str(fields[match[1]]), text))
    (folder / f"{NEURON}.v").write_text((TEMPLATE / f"{NEURON}.v").read_text())
