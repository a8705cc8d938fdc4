"""Table look-ups (sim/kernels/look_ups.py) against dot products and points (winograd.py), layer by layer.

    HMDF_KERNELS=avx2 python benchmarks/look_ups.py

The 3x3 convolutions of ResNet-18 of widths 16 to 64, from messages as the simulator keeps them to sums as it reads
them, T = 4, one thread by its processor time; all ways one after the other in each round. Look-ups are 256 bits wide on
every path, whether or not its plans have them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numba import njit
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hmdf.sim.contract import INPUT, Conv2d, Linear, Message, Population, Port, Relay, Synapse
from hmdf.sim.kernels import engine, look_ups, narrow, winograd
from hmdf.sim.kernels.memory import Outcome, bind
from hmdf.sim.kernels.paths import avx2, choose_path, name_of
from hmdf.sim.kernels.plan import build_plan
from hmdf.sim.kernels.records import population_row, port_row
from hmdf.sim.kernels.workspace import Workspace, addresses
from hmdf.sim.program import Input, Preprocessing, Program, Readout

STEPS, ROUNDS, REPEATS = 4, 15, 3
WAYS = ("dots", "points", "tables")
SHAPES = [
    *((c, c, size, 1) for c, size in [(32, 32), (64, 32), (64, 16), (128, 16), (128, 8), (256, 8), (512, 4)]),
    *((c, 2 * c, size, 2) for c, size in [(16, 16), (32, 16), (64, 16), (128, 8), (256, 4)]),
]
"""Channels in and out, pixels of an output's row, stride."""


class Layer(NamedTuple):
    inputs: int
    outputs: int
    size: int
    stride: int
    weight_bits: int
    message_bits: int = 4


def program_of(layer: Layer) -> tuple[Program, NDArray[np.int32]]:
    """The convolution alone, random, and messages for it."""
    rng, one = np.random.default_rng(0), np.ones((1, 1), np.int32)
    shape, size = (layer.outputs, layer.inputs, 3, 3), layer.size * layer.stride
    weight = rng.choice([-1, 1], shape) if layer.weight_bits == 1 else rng.integers(-1, 2, shape)
    op = Conv2d(weight.astype(np.int8), layer.weight_bits, (layer.stride, layer.stride), (1, 1))
    outputs, message = (layer.outputs, layer.size, layer.size), Message(layer.message_bits, False, 1.0)
    program = Program(
        time_steps=STEPS,
        state_bits=32,
        accumulator_bits=32,
        input=Input((layer.inputs, size, size), message, "frames", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Synapse("conv", INPUT, op),
            Population("sums", outputs, (Port("conv", one, 4),), 0 * one, Relay(), Message(16, True, 1.0)),
            Synapse("head", "sums", Linear(np.ones((2, int(np.prod(outputs))), np.int8), 2)),
        ),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )
    return program, rng.integers(0, 1 << layer.message_bits, (1, STEPS, layer.inputs, size, size), dtype=np.int32)


@njit(nogil=True)
def _sums(path, model_, arenas_, scratch_, outcome_):
    """What narrow.run_tile does for a port, of all tiles and steps."""
    model, arenas, scratch, _ = bind(model_, arenas_, scratch_, outcome_)
    population = population_row(model.populations, 1)
    port, steps = port_row(model.ports, population.first_port), population.steps
    for p0 in range(0, population.pixels, population.tile_pixels):
        for block in range(-(-population.channels // engine.LANES)):
            tile, fresh = engine._tile(population, 0, p0, block), block == 0
            for t in range(steps):
                if port.point_channels > 0:
                    together = winograd.steps_at_once(tile)
                    if t % together == 0:
                        stop = min(t + together, steps)
                        winograd.multiply(path, port, model, arenas, tile, steps, t, stop, fresh, scratch)
                    winograd.add_up(port, model, tile, t % together, scratch)
                elif port.look_planes > 0:
                    look_ups.add_up(path, port, model, arenas, tile, steps, t, fresh, scratch)
                else:
                    narrow._accumulate(path, population, port, model, arenas, tile, t, scratch.accumulator32)


def planned(layer: Layer, way: str = "") -> tuple[str, Callable[[], Any]]:
    """How a layer is done, and a function that does it: as the plan says, or one of WAYS, if that can be."""
    program, messages = program_of(layer)
    path = choose_path()
    own = type(path)
    fits = winograd._fits if way in ("", "points") else lambda *_: False
    planes = {"": own.planes, "tables": lambda path, weight, pixel, largest, _: avx2.planes_of(weight, pixel, largest)}
    with (
        patch.object(own, "planes", planes.get(way, lambda *_: 0)),
        patch.object(winograd, "_fits", fits),
    ):
        workspace = Workspace(program, build_plan(program, path), path, 1)
    workspace.run(messages)
    memory = addresses(workspace.arenas), addresses(workspace.scratch), addresses(Outcome(*[np.zeros(1, np.int64)] * 6))
    port = workspace.plan.tables.ports[0]
    done = "points" if port["point_channels"] else "tables" if port["look_planes"] else "dots"
    return done, lambda: _sums(workspace.path, workspace.model, *memory)


def rates(layer: Layer) -> dict[str, float]:
    """GMAC/s of the convolution's definition, by way."""
    runs = {done: run for way in WAYS for done, run in [planned(layer, way)] if done == way}
    seconds: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(ROUNDS):
        for way, run in runs.items():
            began = time.thread_time_ns()
            for _ in range(REPEATS):
                run()
            seconds[way].append((time.thread_time_ns() - began) / REPEATS)
    macs = STEPS * layer.outputs * layer.inputs * 9 * layer.size**2
    return {way: macs / median(times) for way, times in seconds.items()}


def main() -> None:
    type(choose_path()).look_ups = avx2.Avx2.look_ups  # type: ignore[method-assign]
    table = Table(
        "weights", "channels", "output", "stride", *WAYS, "the plan", title=f"{name_of(choose_path())}, GMAC/s"
    )
    for bits in (2, 1):
        for shape in SHAPES:
            layer = Layer(*shape, bits)
            found = rates(layer)
            cells = [f"{found[way]:.0f}" if way in found else "" for way in WAYS]
            size = f"{layer.size}x{layer.size}"
            name = f"{layer.inputs} to {layer.outputs}"
            table.add_row({1: "1-bit", 2: "ternary"}[bits], name, size, str(layer.stride), *cells, planned(layer)[0])
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
