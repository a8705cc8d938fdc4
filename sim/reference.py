"""The definition: walks a Program step by step, node by node, by what each kind says of itself. Slow is fine.

The equations are in `contract/ops` and `contract/dynamics`, one obvious line each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import Integers, rshift
from .contract import INPUT, Population, Synapse
from .contract.neurons import Neurons
from .executor import Taps, check_messages
from .program import Program


class Reference:
    """The executor that defines the others."""

    name = "reference"

    def run(self, program: Program, messages: NDArray[Any]) -> Taps:
        return run(program, messages)


def run(program: Program, messages: NDArray[Any]) -> Taps:
    """Run N samples through all T steps.

    Args:
        messages: integers (N, 1 or T, *input shape) within the input's message range.

    Raises:
        InputError: the array does not fit the program.
    """
    check_messages(program, messages)
    samples, steps = messages.shape[0], program.time_steps
    sent = {p.name: np.zeros((samples, steps, *p.shape), dtype=np.int32) for p in program.populations}
    logits = np.zeros((samples, program.classes), dtype=np.int64)
    neurons = {p.name: neurons_of(p, program.state_bits, samples) for p in program.populations}
    before = silence(program, samples)
    for t in range(steps):
        values: dict[str, Integers] = {INPUT: messages[:, t % program.input_steps].astype(np.int64)}
        for node in program.nodes:
            if isinstance(node, Synapse):
                values[node.name] = node.op.accumulate((before if node.delay else values)[node.source])
            else:
                values[node.name] = step(node, t, values, neurons[node.name])
                sent[node.name][:, t] = values[node.name]
        logits += values[program.readout.source] + program.readout.bias
        before = values
    return Taps(sent, logits, {name: state.saturations for name, state in neurons.items()})


def silence(program: Program, samples: int) -> dict[str, Integers]:
    """What synapses with a delay read at the first step of N samples: 0 of every population, (N, *shape)."""
    return {name: np.zeros((samples, *program.shapes[name]), np.int64) for name in program.remembered}


def neurons_of(population: Population, state_bits: int, samples: int) -> Neurons:
    """The neurons of a population at the start of N samples."""
    states, initial = population.dynamics.facts.states, population.initial()
    return Neurons(samples, population.shape, states, population.message, state_bits, initial)


def step(population: Population, t: int, values: dict[str, Integers], neurons: Neurons) -> Integers:
    """One time-step of a population: its message, (N, *shape), from the values of all nodes that come before."""
    return population.dynamics.step(current_of(population, t, values, neurons), t, neurons)


def current_of(population: Population, t: int, values: dict[str, Integers], neurons: Neurons) -> Integers:
    """I, (N, *shape): the ports' sum and the bias, gated, within the state range."""
    current = neurons.at(t, population.bias)
    for port in population.ports:
        current = current + rshift(neurons.at(t, port.multiplier) * values[port.source], port.shift)
    gate = population.gate
    if gate is not None:
        factor = values[gate.source].reshape(len(current), population.shape[0], *(1,) * (len(population.shape) - 1))
        current = rshift(current * factor, gate.shift) + neurons.at(t, gate.bias)
    return neurons.limit_state(current)
