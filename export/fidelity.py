"""Where accuracy is lost: the noise that integers add to every population's messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log10

import numpy as np

from hmdf.sim.contract import Population
from hmdf.sim.encoder import encode
from hmdf.sim.program import Program
from hmdf.sim.simulator import Simulator

from .evaluate import evaluate
from .graph import Array, FoldedGraph, FoldedPopulation


@dataclass(frozen=True)
class Fidelity:
    """Signal-to-quantization-noise ratios of one population, in dB: 10 log10(mean signal^2 / mean error^2).

    Attributes:
        bits, lsb: of the population's message.
        sqnr: of its messages against the folded float network, so with the noise of all layers before it.
        own_sqnr: the noise it adds itself: the float layer is given the integers that the program's layer was given.
    """

    population: str
    bits: int
    lsb: float
    sqnr: float
    own_sqnr: float


def measure(
    program: Program,
    graph: FoldedGraph,
    x: np.ndarray,
    block: int = 16,
    progress: Callable[[int], None] | None = None,
) -> list[Fidelity]:
    """Run normalised samples through the program and the float network it came from; one row per population of both.

    Args:
        x: (N, *shape) or (N, T, *shape).
        progress: called with the number of samples done since the last call.
    """
    sums = {p.name: np.zeros((2, 2)) for p in program.populations}
    simulator = Simulator()
    for start in range(0, len(x), block):
        part = np.asarray(x[start : start + block], dtype=np.float64)
        messages = simulator.run(program, encode(program, part)).messages
        _compare(program, graph, part, messages, sums)
        if progress is not None:
            progress(len(part))
    compared = {n.name for n in graph.nodes if isinstance(n, FoldedPopulation)}
    return [_fidelity(p, sums[p.name]) for p in program.populations if p.name in compared]


def _compare(
    program: Program, graph: FoldedGraph, x: Array, messages: dict[str, np.ndarray], sums: dict[str, Array]
) -> None:
    """Add signal and noise power of one block to `sums`: row 0 end to end, row 1 of the layer alone."""

    def sent(name: str, t: int) -> Array:
        return messages[name][:, t] * program.message_of(name).scale

    def end_to_end(name: str, t: int, message: np.ndarray) -> None:
        sums[name][0] += np.square(message).sum(), np.square(sent(name, t) - message).sum()

    def alone(name: str, t: int, message: np.ndarray) -> np.ndarray:
        real = sent(name, t)
        sums[name][1] += np.square(message).sum(), np.square(real - message).sum()
        return real

    evaluate(graph, x, end_to_end)
    evaluate(graph, encode(program, x).reshape(x.shape) * program.input.message.scale, alone)


def _fidelity(population: Population, sums: Array) -> Fidelity:
    message = population.message
    return Fidelity(population.name, message.bits, message.scale, _decibel(sums[0]), _decibel(sums[1]))


def _decibel(powers: Array) -> float:
    """inf where no noise was measured, -inf where there is no signal but noise."""
    signal, noise = float(powers[0]), float(powers[1])
    if noise == 0:
        return inf
    return 10 * log10(signal / noise) if signal else -inf
