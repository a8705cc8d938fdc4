"""Where the simulator's time goes in ResNet-18: processor time of every population, by type, against the peak.

    python benchmarks/layers.py

One thread, its processor time, so that other work on the machine disturbs little.
"""

from __future__ import annotations

import time
from collections import defaultdict
from math import prod
from statistics import median

import networks
import numpy as np
import peak
from rich.console import Console
from rich.table import Table
from speed import RESNET18, ROUNDS

from hmdf.sim.contract import INPUT, Conv2d, Population, Synapse
from hmdf.sim.kernels import engine
from hmdf.sim.kernels.paths import choose_path
from hmdf.sim.kernels.plan import build_plan
from hmdf.sim.kernels.workspace import Workspace
from hmdf.sim.program import Program

SAMPLES = 16


def main() -> None:
    images, source = networks.images(8 + SAMPLES)
    program = networks.resnet(RESNET18, 64, 32, 4, images[:8])
    counted, plain = seconds_by_population(program, images[8:])
    names = [INPUT, *(p.name for p in program.populations), "read-out"]
    macs, kinds = work(program)
    seconds: dict[str, float] = defaultdict(float)
    without: dict[str, float] = defaultdict(float)
    gigamacs: dict[str, float] = defaultdict(float)
    for name, with_counters, without_counters in zip(names, counted, plain, strict=True):
        seconds[kinds[name]] += with_counters
        without[kinds[name]] += without_counters
        gigamacs[kinds[name]] += macs[name] / 1e9
    limit, total = peak_by_processor_time(), sum(seconds.values())
    table = Table("layers", "ms/sample", "share", "GMAC/s", "of the peak", "ms without counters", title=source)
    for kind in seconds:
        rate = gigamacs[kind] / seconds[kind]
        cells = [seconds[kind] * 1e3, seconds[kind] / total, rate, rate / limit, without[kind] * 1e3]
        table.add_row(kind, *(f"{cell:.3g}" for cell in cells))
    rate = sum(gigamacs.values()) / total
    cells = [total * 1e3, 1, rate, rate / limit, sum(without.values()) * 1e3]
    table.add_row("all", *(f"{cell:.3g}" for cell in cells))
    Console(width=130).print(table, f"peak of {peak.peak_of().instructions}: {limit:.0f} GMAC/s per thread", sep="\n")


def seconds_by_population(program: Program, messages: np.ndarray) -> tuple[list[float], list[float]]:
    """Processor seconds per sample of the input, the populations and the read-out, medians: with counters, without."""
    path = choose_path()
    workspace = Workspace(program, build_plan(program, path), path, len(messages))
    workspace.run(messages)
    rows, n = len(program.populations) + 2, len(messages)
    arguments = {counted: workspace.arguments(n, counted)[:-2] for counted in (True, False)}
    medians: dict[bool, list[float]] = {True: [], False: []}
    for index in range(rows):
        taken: dict[bool, list[float]] = {True: [], False: []}
        for counted in (True, False) * ROUNDS:
            began = time.thread_time()
            engine.run(*arguments[counted], index, index + 1)
            taken[counted].append((time.thread_time() - began) / n)
        for counted, values in taken.items():
            medians[counted].append(median(values))
    return medians[True], medians[False]


def work(program: Program) -> tuple[dict[str, int], dict[str, str]]:
    """Dense MACs that a population's ports cause over all steps, and what kind of layer it is."""
    macs, kinds = {INPUT: 0, "read-out": 0}, {INPUT: "input, pool, read-out", "read-out": "input, pool, read-out"}
    for population in program.populations:
        synapses = [program.by_name[port.source] for port in population.ports]
        read = [s for s in synapses if isinstance(s, Synapse)]
        macs[population.name] = program.time_steps * sum(s.op.taps * prod(program.shapes[s.name]) for s in read)
        kinds[population.name] = kind(population, read, program)
    return macs, kinds


def kind(population: Population, read: list[Synapse], program: Program) -> str:
    convolutions = [s for s in read if isinstance(s.op, Conv2d)]
    if not read:
        return "neurons on the residual stream"
    if not convolutions:
        return "input, pool, read-out"
    if convolutions[0].source == INPUT:
        return "stem, 8 bit, computed once"
    if len(convolutions) == 2:
        return "3x3 + 1x1 on the 16-bit stream + residual"
    channels = program.shapes[convolutions[0].name][0]
    return f"3x3, {channels} channels, {'residual' if len(population.ports) == 2 else 'neurons'}"


def peak_by_processor_time() -> float:
    limit = peak.peak_of()
    limit.burn(10, 1)
    rates = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        limit.burn(peak.ROUNDS, 1)
        rates.append(peak.ROUNDS * limit.macs / (time.thread_time() - began) / 1e9)
    return median(rates)


if __name__ == "__main__":
    main()
