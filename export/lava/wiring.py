"""From a Program to the network of Lava processes that a bundle describes: connections, latencies, delay lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from hmdf.sim.arithmetic import integer_range
from hmdf.sim.contract import INPUT, ChannelConv, Conv2d, Linear, MaxPool, Population, Shape, SumPool, Synapse
from hmdf.sim.errors import ProgramError
from hmdf.sim.program import Program
from hmdf.sim.ranges import prove

from .matrices import banded, sparse_convolution

CONV_BITS = 24
"""Lava's Conv wraps its accumulators at this signed width."""
CONV_LIMIT = 127
"""Lava's Conv stores kernel, stride, padding, dilation and groups as int8."""
MAX_PORTS = 32
"""In-ports of a population process, as in template/hmdf_lava/processes/population.py."""


@dataclass
class Wiring:
    """What a bundle stores.

    Attributes:
        processes: JSON entries in topological order, the source first; `kind` tells how network.py builds one.
        arrays: by "PROCESS/PARAMETER"; int8 weights, int32 indices, int64 parameters.
        latency: by process, the number of connections and delays between the input and it.
    """

    processes: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    latency: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, kind: str, latency: int, **entry: Any) -> None:
        self.processes.append({"name": name, "kind": kind, "latency": latency, **entry})
        self.latency[name] = latency

    def delayed(self, source: str, latency: int) -> str:
        """The name of a process that says what `source` says, but at `latency`: `source` itself or a delay line."""
        steps = latency - self.latency[source]
        name = f"{source}+{steps}"
        if steps and name not in self.latency:
            self.add(name, "delay", latency, source=source, steps=steps)
        return name if steps else source


def wire(program: Program) -> Wiring:
    """The Lava processes of a program.

    Every connection and every unit of delay adds one step, a population adds none; where a population's sources
    are of unequal depth, delay lines make them equal. The step that a connection takes is the delay of a synapse that
    reads the step before; what it brings at the first step of a sample, of the sample before, is taken for 0.

    Raises:
        ProgramError: an accumulator may leave the 24 bits of Lava's Conv, a population has too many ports, or a message
            comes back over several connections within one step.
    """
    _check_accumulators(program)
    latency, wiring = _latencies(program), Wiring()
    wiring.add(INPUT, "source", 0, shape=program.input.shape)
    for node in program.nodes:
        if isinstance(node, Synapse):
            _add_synapse(wiring, program, node, latency[node.name])
        else:
            _add_population(wiring, program, node, latency[node.name])
    source = program.readout.source
    before = _reads_the_step_before(program, source)
    wiring.add("readout", "readout", wiring.latency[source], source=source, before=before)
    wiring.arrays["readout/bias"] = np.broadcast_to(program.readout.bias, (program.classes,))
    return wiring


def _latencies(program: Program) -> dict[str, int]:
    """By node, by how many steps its step t is late."""
    latency = dict.fromkeys([INPUT, *(node.name for node in program.nodes)], 0)
    for _ in range(len(latency)):
        found = dict(latency)
        for node in program.nodes:
            if isinstance(node, Synapse):
                found[node.name] = found[node.source] + 1 - node.delay
            else:
                gate = [node.gate.source] if node.gate else []
                found[node.name] = max(found[source] for source in [*(port.source for port in node.ports), *gate])
        if found == latency:
            return latency
        changed, latency = next(name for name in found if found[name] != latency[name]), found
    raise ProgramError(
        f"'{changed}' is in a loop of several connections that reads the step before: each takes a step in "
        "Lava, so the message would come too late; only a population that reads its own last message can be run there"
    )


def _reads_the_step_before(program: Program, source: str) -> bool:
    node = program.by_name.get(source)
    return isinstance(node, Synapse) and bool(node.delay)


def _check_accumulators(program: Program) -> None:
    """Refuse what may wrap. A program of up to 24 bits is proven to stay within them; a wider one is proven here."""
    if program.accumulator_bits <= CONV_BITS:
        return
    for name, interval in prove(program).synapses.items():
        if interval.bits > CONV_BITS:
            raise ProgramError(
                f"synapse '{name}': its accumulator may reach {interval.low}..{interval.high}, but Lava wraps at "
                f"signed {CONV_BITS} bit; compile for accumulator_bits = {CONV_BITS} (this program has "
                f"{program.accumulator_bits}) or send it fewer message bits"
            )


# --------------------------------------------------------------------------- synapses


def _add_synapse(wiring: Wiring, program: Program, synapse: Synapse, latency: int) -> None:
    source = program.shapes[synapse.source]
    match synapse.op:
        case Linear(weight=weight):
            _add_matrix(wiring, synapse, latency, "dense", weight=weight)
        case ChannelConv(weight=weight, padding=padding):
            _add_matrix(wiring, synapse, latency, "dense", weight=banded(weight, padding, source[0]))
        case Conv2d() as op:
            _add_convolution(wiring, synapse, latency, op, source)
        case SumPool(kernel=kernel, stride=stride, padding=padding):
            ones = np.ones((source[0], 1, *kernel), np.int8)
            _add_convolution(wiring, synapse, latency, Conv2d(ones, 1, stride, padding, groups=source[0]), source)
        case MaxPool() as op:
            wiring.add(
                synapse.name,
                "max_pool",
                latency,
                source=synapse.source,
                input_shape=source[::-1],
                output_shape=program.shapes[synapse.name][::-1],
                **{key: getattr(op, key)[::-1] for key in ("kernel", "stride", "padding")},
            )


def _add_convolution(wiring: Wiring, synapse: Synapse, latency: int, op: Conv2d, source: Shape) -> None:
    """Lava's Conv, in (x, y) order; a Sparse matrix where a number does not fit Conv's int8."""
    if max(*op.weight.shape[2:], *op.stride, *op.padding, *op.dilation, op.groups) > CONV_LIMIT:
        matrix = sparse_convolution(op, source)
        parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
        _add_matrix(wiring, synapse, latency, "sparse", shape=matrix.shape, **parts)
        return
    wiring.add(
        synapse.name,
        "conv",
        latency,
        source=synapse.source,
        input_shape=source[::-1],
        groups=op.groups,
        **{key: getattr(op, key)[::-1] for key in ("stride", "padding", "dilation")},
    )
    wiring.arrays[f"{synapse.name}/weight"] = op.weight


def _add_matrix(
    wiring: Wiring, synapse: Synapse, latency: int, kind: str, shape: Shape | None = None, **arrays: Any
) -> None:
    geometry = {} if shape is None else {"shape": shape}
    wiring.add(synapse.name, kind, latency, source=synapse.source, **geometry)
    wiring.arrays.update({f"{synapse.name}/{part}": array for part, array in arrays.items()})


# ------------------------------------------------------------------------ populations


def _add_population(wiring: Wiring, program: Program, node: Population, latency: int) -> None:
    proof = prove(program).populations[node.name]
    if len(node.ports) > MAX_PORTS:
        raise ProgramError(
            f"population '{node.name}': {len(node.ports)} ports, a Lava process has at most {MAX_PORTS}; "
            "sum some of them in a relay first"
        )
    ports = [{"source": wiring.delayed(port.source, latency), "shift": port.shift} for port in node.ports]
    gate = None
    if node.gate is not None:
        gate = {"source": wiring.delayed(node.gate.source, latency), "shift": node.gate.shift}
        wiring.arrays[f"{node.name}/gate_bias"] = node.gate.bias
    arrays: dict[str, np.ndarray] = {}
    numbers: dict[str, int] = {}
    for name in node.dynamics.__struct_fields__:
        value = getattr(node.dynamics, name)
        (arrays if isinstance(value, np.ndarray) else numbers)[name] = value
    wiring.add(
        node.name,
        "population",
        latency,
        shape=node.shape,
        dynamics=node.dynamics.kind(),
        message_range=node.message.range,
        message_scale=node.message.scale,
        ports=ports,
        before=[i for i, port in enumerate(node.ports) if _reads_the_step_before(program, port.source)],
        gate=gate,
        parameters=numbers,
        parameter_arrays=list(arrays),
        initial_states=list(initial := node.initial()),
        proven={
            "state_clamps": proof.state_clamps,
            "membrane": proof.membrane and (proof.membrane.low, proof.membrane.high),
        },
    )
    arrays |= {f"initial_{state}": value for state, value in initial.items()}
    arrays["bias"] = node.bias
    arrays |= {f"multiplier_{index}": port.multiplier for index, port in enumerate(node.ports)}
    wiring.arrays.update({f"{node.name}/{name}": array for name, array in arrays.items()})


def graph(program: Program, wiring: Wiring) -> bytes:
    """The contents of graph.json."""
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "format": 1,
                "program_sha256": program.sha256,
                "network": program.metadata.network,
                "class_names": program.metadata.class_names,
                "time_steps": program.time_steps,
                "latency": max(wiring.latency.values()),
                "state_range": integer_range(program.state_bits, signed=True),
                "input_shape": program.input.shape,
                "input_steps": program.input_steps,
                "input_range": program.input.message.range,
                "input_scale": program.input.message.scale,
                "classes": program.classes,
                "logit_scale": program.readout.scale,
                "processes": wiring.processes,
            }
        ),
        indent=1,
    )
