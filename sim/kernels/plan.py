"""From a Program to the flat tables that the kernels walk: nothing about a network is compiled, all is data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import integer_range
from ..contract import INPUT, Population, Port, Synapse
from ..contract.parameters import Parameter, Table, fields_of
from ..program import Program
from ..ranges import Ranges, prove
from . import look_ups, winograd
from .fanouts import fanout_by_class, pixel_classes
from .layout import Layout, Row, lay_out, padded, rounded_up
from .neurons import NUMBERS, READOUT
from .patches import Order, Pools, in_order, pixel_offsets, synapse_fields
from .paths import amx
from .paths.path import OUTPUTS, QUADS_IN_TILES, Path
from .records import BUFFER, CONSUMER, MESSAGE, POPULATION, PORT, records
from .team import most_threads
from .tiles import LANES, PIXELS
from .widths import Narrow, narrow_readout, narrow_widths

_ZERO = np.zeros((1, 1), np.int32)


class Tables(NamedTuple):
    """A Program for the kernels; indices and offsets count elements.

    Attributes:
        buffers: BUFFER rows, the input first, then the populations in order.
        populations: POPULATION rows: the input, the populations, the read-out.
        ports, consumers: what the populations read, and which synapses are counted on what they send.
        parameters, weights, offsets, fanouts, lookups: pools that the rows point into.
    """

    buffers: np.ndarray
    populations: np.ndarray
    ports: np.ndarray
    consumers: np.ndarray
    parameters: NDArray[np.int32]
    weights: NDArray[np.int8]
    offsets: NDArray[np.int64]
    fanouts: NDArray[np.int64]
    lookups: NDArray[np.int32]


class Plan(NamedTuple):
    """The tables and the memory that one sample takes.

    Attributes:
        state_range: of the program.
        arena_sizes: elements per sample of the three arenas.
        patch_size: elements of the largest convolution's patch.
        events_size, firsts_size: elements of the longest list of events.
        counts_size: elements per sample that count the messages of the largest population.
        kept_size: elements per sample that keep states between the steps of a loop.
        points_size: bytes of winograd.py's and look_ups.py's memory.
        stages: of a run, see team.py.
        most_threads: that have something to do in one sample.
    """

    tables: Tables
    state_range: tuple[int, int]
    arena_sizes: tuple[int, int, int]
    patch_size: int
    events_size: int
    firsts_size: int
    counts_size: int
    kept_size: int
    points_size: int
    stages: int
    most_threads: int


def build_plan(program: Program, path: Path) -> Plan:
    """Lay a Program out for the kernels of `path`."""
    proof, layout, pools = prove(program), lay_out(program), Pools(path)
    widths = narrow_widths(program, proof)
    rows = [_messages_row(program, layout, pools, INPUT)]
    ports: list[Row] = []
    consumers = _consumers(program, layout, pools, INPUT, rows[0])
    for population in program.populations:
        narrow, weights_before = widths.get(population.name), pools.weights.size
        at_points = winograd.port_for(program, population.ports, layout, path) if narrow else -1
        order = winograd.pixel_order(*layout.shapes[population.name][1:]) if at_points >= 0 else None
        row = _messages_row(program, layout, pools, population.name, order)
        row |= {"first_port": len(ports), "ports": len(population.ports), "first_consumer": len(consumers)}
        read = _port_rows(program, population, layout, pools, narrow, order, at_points)
        ports += read
        row |= _tiles(row["width"], read, at_points)
        event_weights = sum(p["weight_row"] for p in read if "point_dot" in p or "look_planes" in p) * -(
            -row["channels"] // OUTPUTS
        )
        row["weight_bytes"] = pools.weights.size - weights_before - event_weights
        consumers += _consumers(program, layout, pools, population.name, row)
        rows.append(row | _neuron_fields(population, layout, pools, proof, narrow))
    kept_size = _keep(program, rows)
    rows.append(_readout_row(program, pools, proof) | {"first_port": len(ports), "ports": 1})
    ports.append(_readout_port(program, layout, pools, narrow=bool(rows[-1]["narrow"])))
    tables = Tables(
        buffers=records(BUFFER, [*layout.buffers.values(), *layout.before.values()]),
        populations=records(POPULATION, rows),
        ports=records(PORT, ports),
        consumers=records(CONSUMER, consumers),
        parameters=pools.parameters.array(),
        weights=pools.weights.array(),
        offsets=pools.offsets.array(),
        fanouts=pools.fanouts.array(),
        lookups=pools.lookups.array(),
    )
    of_bytes = [b for b in layout.buffers.values() if b["arena"] == 0]
    return Plan(
        tables=tables,
        state_range=integer_range(program.state_bits, signed=True),
        arena_sizes=layout.arena_sizes,
        patch_size=max((p.get("run_count", 0) * p.get("run_length", 0) for p in ports), default=0),
        # One more: the list is written ahead of knowing whether an element belongs to it.
        events_size=1 + max((b["steps"] * b["plane"] // 4 for b in of_bytes), default=0),
        firsts_size=max((b["steps"] * (b["plane"] // b["pixel"] + 1) for b in of_bytes), default=0),
        counts_size=max(program.time_steps * r.get("class_count", 0) * r.get("count_row", 0) for r in rows),
        kept_size=kept_size,
        points_size=max(_points_size(program.time_steps, p) for p in ports),
        stages=len(rows) + (program.time_steps - 1) * sum(last - first + 1 for first, last in _loops(program)),
        most_threads=most_threads(tables.populations),
    )


def _points_size(steps: int, port: Row) -> int:
    points = winograd.memory_size(steps, port.get("point_channels", 0))
    return max(points, look_ups.memory_size(steps, port.get("look_reach", 0)))


# ------------------------------------------------------------------------ populations


def _messages_row(program: Program, layout: Layout, pools: Pools, name: str, order: Order = None) -> Row:
    """What is known of any source of messages: where they go, and how they are counted."""
    channels, height, width = layout.shapes[name]
    buffer = layout.buffers[name]
    classes, count = pixel_classes(program, layout, name)
    return {
        "buffer": layout.numbers[name],
        "channels": channels,
        "pixels": height * width,
        "tile_pixels": PIXELS,
        "width": width,
        "steps": buffer["steps"],
        "gate": -1,
        "positions": pixel_offsets(name, layout, pools, order),
        "count_row": buffer["pixel"],
        "classes": pools.offsets.add(in_order(classes, order)),
        "class_count": count,
    }


def _tiles(width: int, ports: list[Row], at_points: int) -> Row:
    """What the population's tiles are like: whole stretches of matrix tiles where a port is read with these."""
    if at_points >= 0:
        return {"tile_rows": amx.ROWS} if ports[at_points]["point_dot"] == QUADS_IN_TILES else {}
    if all(port.get("dot") != QUADS_IN_TILES for port in ports):
        return {}
    rows = amx.rows_of(width)
    return {"tile_rows": rows, "tile_pixels": PIXELS // rows * rows}


def _keep(program: Program, rows: list[Row]) -> int:
    """Mark the loops, and place the states of their populations; returns the elements that these take per sample."""
    size, loops = 0, _loops(program)
    for first, last in loops:
        rows[first]["loop_end"] = last
        for row in rows[first : last + 1]:
            tiles = -(-row["pixels"] // row["tile_pixels"]) * -(-row["channels"] // LANES)
            row["kept"], states = size, tiles * min(row["pixels"], row["tile_pixels"]) * LANES
            size += 2 * states
    for first, last in loops:
        for row in rows[first : last + 1]:
            row["kept_sample"] = size
    return size


def _loops(program: Program) -> list[tuple[int, int]]:
    """Rows of populations, first and last, that must be computed step by step: a message goes back from one to another.

    Rows count the input as 0. Loops that overlap are one.
    """
    number = {population.name: row for row, population in enumerate(program.populations, start=1)}
    back = []
    for population in program.populations:
        for port in population.ports:
            synapse = program.by_name.get(port.source)
            if isinstance(synapse, Synapse) and synapse.delay:
                back.append((number[population.name], number[synapse.source]))
    loops: list[tuple[int, int]] = []
    for first, last in sorted((first, last) for first, last in back if first <= last):
        if loops and first <= loops[-1][1]:
            loops[-1] = loops[-1][0], max(last, loops[-1][1])
        else:
            loops.append((first, last))
    return loops


def _consumers(program: Program, layout: Layout, pools: Pools, name: str, row: Row) -> list[Row]:
    """The synapses counted on the messages of `name`; the row says how many."""
    classes, _ = pixel_classes(program, layout, name)
    found = [
        {
            "synapse": index,
            "delay": synapse.delay,
            "fanout": pools.fanouts.add(fanout_by_class(program, layout, synapse, classes)),
        }
        for index, synapse in enumerate(program.synapses)
        if synapse.source == name and program.carries_spikes(synapse)
    ]
    row["consumers"] = len(found)
    return found


def _neuron_fields(population: Population, layout: Layout, pools: Pools, proof: Ranges, narrow: Narrow | None) -> Row:
    channels, dynamics, proven = population.shape[0], population.dynamics, proof.populations[population.name]
    low, high = population.message.range
    row: Row = {"dynamics": NUMBERS[type(dynamics)], "states": len(dynamics.facts.states), "low": low, "high": high}
    row |= {"state_clamps": proven.state_clamps, "message_clamps": proven.message_clamps}
    row |= {"bias": _parameter(population.bias, channels, pools)}
    if narrow is not None:
        row |= {"narrow": True, "leak_split": narrow.leak, "gate_split": narrow.gate}
    if (gate := population.gate) is not None:
        row |= {"gate": layout.numbers[gate.source], "gate_shift": gate.shift}
        row |= {"gate_bias": _parameter(gate.bias, channels, pools)}
    if states := dynamics.facts.states:
        initial, places = population.initial(), {"v": states[-1], "d": states[0]}  # d is not read where there is one
        row |= {f"initial_{k}": _parameter(initial.get(state, _ZERO), channels, pools) for k, state in places.items()}
    for name, kind, value in fields_of(dynamics):
        if isinstance(kind, Parameter):
            row[name] = _parameter(value, channels, pools)
        else:
            row[name] = pools.lookups.add(value) if isinstance(kind, Table) else value
    return row


def _readout_row(program: Program, pools: Pools, proof: Ranges) -> Row:
    row: Row = {"dynamics": READOUT, "channels": program.classes, "pixels": 1, "width": 1, "gate": -1}
    row |= {"tile_pixels": PIXELS}
    row |= {"steps": program.time_steps, "narrow": narrow_readout(program, proof)}
    return row | {"bias": _parameter(_ZERO, program.classes, pools)}


def _parameter(array: np.ndarray, channels: int, pools: Pools) -> tuple[int, int]:
    """A row of PARAMETER."""
    rows = padded(np.broadcast_to(array, (len(array), channels)), rounded_up(channels, OUTPUTS))
    return pools.parameters.add(rows), rows.shape[1] if len(array) > 1 else 0


# ------------------------------------------------------------------------------- ports


def _port_rows(
    program: Program,
    population: Population,
    layout: Layout,
    pools: Pools,
    narrow: Narrow | None,
    order: Order,
    at_points: int,
) -> list[Row]:
    channels = population.shape[0]
    if narrow is None:
        return [_port(program, port, channels, layout, pools, narrow=False) for port in population.ports]
    return [
        _port(program, port, channels, layout, pools, True, order, index == at_points) | {"split": split}
        for index, (port, split) in enumerate(zip(population.ports, narrow.ports, strict=True))
    ]


def _readout_port(program: Program, layout: Layout, pools: Pools, narrow: bool) -> Row:
    port = Port(program.readout.source, np.ones((1, 1), np.int32), 0)
    return _port(program, port, program.classes, layout, pools, narrow)


def _port(
    program: Program,
    port: Port,
    channels: int,
    layout: Layout,
    pools: Pools,
    narrow: bool,
    order: Order = None,
    at_points: bool = False,
) -> Row:
    row: Row = {"shift": port.shift, "multiplier": _parameter(port.multiplier, channels, pools)}
    if port.source in layout.numbers:
        pixels = pixel_offsets(port.source, layout, pools, order)
        return row | {"kind": MESSAGE, "source": layout.numbers[port.source], "pixels": pixels}
    synapse = program.by_name[port.source]
    assert isinstance(synapse, Synapse)
    return row | synapse_fields(synapse, layout, pools, narrow, order, at_points)
