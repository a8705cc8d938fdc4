"""From a Program to the flat tables that the kernels walk: nothing about a network is compiled, all is data.

Messages are kept channels-last, (sample, step, row, column, channel), in three arenas by width (8-bit unsigned,
16-bit and 32-bit signed), each with a frame of zeros as wide as its convolutions pad. A convolution then has no
borders: its patch is a few contiguous runs of the source, the same ones at every output pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import integer_range
from ..contract import (
    INPUT,
    ChannelConv,
    Conv2d,
    Gate,
    HybridFiring,
    LeakyIntegrateAndFire,
    Linear,
    LookupTable,
    MaxPool,
    Message,
    MultiHierarchical,
    ParallelFiring,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
)
from ..program import Program
from ..ranges import prove
from .dot import OUTPUTS, QUADS, Path, dot_kind
from .lanes import WIDTH
from .pointers import rows_of
from .tiles import PIXELS
from .widths import narrow_readout, narrow_widths

MESSAGE, CONVOLUTION, CHANNEL_CONVOLUTION, SUM_POOL, MAX_POOL = range(5)
"""What a port reads."""
RELAY, HYBRID, PARALLEL, BINARY, HIERARCHICAL, TABLE, READOUT = range(7)
"""Dynamics of a population; the read-out is one that only adds up."""
ARENAS: tuple[type[np.integer], ...] = (np.uint8, np.int16, np.int32)
_DYNAMICS = {
    Relay: RELAY,
    HybridFiring: HYBRID,
    ParallelFiring: PARALLEL,
    LeakyIntegrateAndFire: BINARY,
    MultiHierarchical: HIERARCHICAL,
    LookupTable: TABLE,
}
_INPUT_ALIGNMENT = 4

BUFFER = np.dtype(
    [
        (n, np.int64)
        for n in ("arena", "offset", "sample", "step", "steps", "row", "pixel", "channels", "width", "plane", "corner")
    ]
)
"""Where messages are: `offset` of the first one, then strides in elements; `step` = 0 if all steps are equal.
`plane`: elements of one step with its frame, `corner` of them before the first message."""
PARAMETER = np.dtype([("offset", np.int64), ("step", np.int64)])
"""Where a (T or 1, C or 1) parameter is in the pool; `step` = 0 when it is the same at every step."""
PORT = np.dtype(
    [
        *(
            (n, np.int64)
            for n in ("kind", "source", "shift", "split", "dot", "pixels", "runs", "run_count", "run_length")
        ),
        *((n, np.int64) for n in ("group_inputs", "group_outputs", "weight", "weight_row")),
        *((n, np.int64) for n in ("kernel_y", "kernel_x", "stride_y", "stride_x", "padding_y", "padding_x")),
        *((n, np.int64) for n in ("source_height", "source_width")),
        ("multiplier", PARAMETER),
    ]
)
POPULATION = np.dtype(
    [
        *((n, np.int64) for n in ("narrow", "buffer", "dynamics", "first_port", "ports", "channels", "width", "steps")),
        *(
            (n, np.int64)
            for n in ("pixels", "positions", "state_clamps", "message_clamps", "count_row", "weight_bytes")
        ),
        *((n, np.int64) for n in ("classes", "class_count", "first_consumer", "consumers")),
        *((n, np.int64) for n in ("gate", "gate_shift", "gate_split", "leak_shift", "leak_split")),
        *((n, np.int64) for n in ("spike_shift", "low", "high", "table")),
        *((n, PARAMETER) for n in ("bias", "gate_bias", "threshold", "leak", "feedback", "soma_leak", "soma_drive")),
    ]
)
CONSUMER = np.dtype([("synapse", np.int64), ("fanout", np.int64)])


buffer_row, population_row, port_row, consumer_row = (rows_of(dtype) for dtype in (BUFFER, POPULATION, PORT, CONSUMER))


class Tables(NamedTuple):
    """A Program for the kernels; indices and offsets count elements. In the order of memory.Model.

    Fields:
        buffers: BUFFER rows, the input first, then the populations in order.
        populations: POPULATION rows: the input, the populations, the read-out.
        ports, consumers: what the populations read, and which synapses are counted on what they send.
        parameters, weights, offsets, fanouts, lookups: pools that the rows point into.
    """

    buffers: NDArray
    populations: NDArray
    ports: NDArray
    consumers: NDArray
    parameters: NDArray[np.int32]
    weights: NDArray[np.int8]
    offsets: NDArray[np.int64]
    fanouts: NDArray[np.int64]
    lookups: NDArray[np.int32]


class Plan(NamedTuple):
    """The tables and the memory that one sample takes.

    Fields:
        state_range: of the program.
        arena_sizes: elements per sample of the three arenas.
        patch_size: elements of the largest convolution's patch.
        events_size, firsts_size: elements of the longest list of events.
        counts_size: elements per sample that count the messages of the largest population.
    """

    tables: Tables
    state_range: tuple[int, int]
    arena_sizes: tuple[int, int, int]
    patch_size: int
    events_size: int
    firsts_size: int
    counts_size: int


def build_plan(program: Program, path: Path) -> Plan:
    """Lay a Program out for the kernels of `path`."""
    return _Builder(program, path).build()


class _Pool:
    """Arrays one after the other in one array."""

    def __init__(self, dtype: type) -> None:
        self.dtype, self.size, self.alignment = dtype, 0, 64 // np.dtype(dtype).itemsize
        self.parts: list[NDArray] = [np.zeros(0, dtype)]

    def add(self, array: NDArray) -> int:
        """Append an array, flattened, on a cache line of its own; gives its offset."""
        offset = _rounded_up(self.size, self.alignment)
        if offset > self.size:
            self.parts.append(np.zeros(offset - self.size, self.dtype))
        self.parts.append(np.ascontiguousarray(array, dtype=self.dtype).reshape(-1))
        self.size = offset + array.size
        return offset

    def array(self) -> NDArray:
        pool = aligned_zeros(self.size, self.dtype)
        np.concatenate(self.parts, out=pool)
        return pool


def aligned_zeros(size: int, dtype: type) -> NDArray:
    """Zeros that start on a cache line."""
    raw = np.zeros(size * np.dtype(dtype).itemsize + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * np.dtype(dtype).itemsize].view(dtype)


class _Builder:
    def __init__(self, program: Program, path: Path) -> None:
        self.program, self.path = program, path
        self.proof = prove(program)
        self.narrow = narrow_widths(program, self.proof)
        self.sources = [INPUT, *(p.name for p in program.populations)]
        self.index = {name: i for i, name in enumerate(self.sources)}
        self.shapes = {name: (*shape, 1, 1)[:3] for name, shape in program.shapes.items()}
        self.parameters, self.weights = _Pool(np.int32), _Pool(np.int8)
        self.offsets, self.fanouts, self.lookups = _Pool(np.int64), _Pool(np.int64), _Pool(np.int32)
        self.ports: list[dict] = []
        self.consumers: list[dict] = []
        self.constant = self._constant()
        self.buffers, self.arena_sizes = self._buffers()

    def build(self) -> Plan:
        rows = [self._input_row()]
        rows += [self._population_row(p) for p in self.program.populations]
        rows.append(self._readout_row())
        counts = max(self.program.time_steps * r.get("class_count", 0) * r.get("count_row", 0) for r in rows)
        tables = Tables(
            buffers=_records(BUFFER, self.buffers),
            populations=_records(POPULATION, rows),
            ports=_records(PORT, self.ports),
            consumers=_records(CONSUMER, self.consumers),
            parameters=self.parameters.array(),
            weights=self.weights.array(),
            offsets=self.offsets.array(),
            fanouts=self.fanouts.array(),
            lookups=self.lookups.array(),
        )
        patch = max((r.get("run_count", 0) * r.get("run_length", 0) for r in self.ports), default=0)
        of_bytes = [b for b in self.buffers if b["arena"] == 0]
        return Plan(
            tables=tables,
            state_range=integer_range(self.program.state_bits, signed=True),
            arena_sizes=self.arena_sizes,
            patch_size=patch,
            # One more: the list is written ahead of knowing whether an element belongs to it.
            events_size=1 + max((b["steps"] * b["plane"] // 4 for b in of_bytes), default=0),
            firsts_size=max((b["steps"] * (b["plane"] // b["pixel"] + 1) for b in of_bytes), default=0),
            counts_size=counts,
        )

    # --------------------------------------------------------------------- messages

    def _constant(self) -> dict[str, bool]:
        """Whether a node gives the same values at every step: then it is computed and stored once."""
        constant = {INPUT: self.program.input.timing == "constant"}
        for node in self.program.nodes:
            if isinstance(node, Synapse):
                constant[node.name] = constant[node.source]
            else:
                read = [port.source for port in node.ports] + ([node.gate.source] if node.gate else [])
                stateless = isinstance(node.dynamics, Relay | ParallelFiring | LookupTable)
                steady = all(len(array) == 1 for _, array, _ in node.parameters())
                constant[node.name] = stateless and steady and all(constant[name] for name in read)
        return constant

    def _buffers(self) -> tuple[list[dict], tuple[int, int, int]]:
        sizes = [0, 0, 0]
        rows = []
        for name in self.sources:
            channels, height, width = self.shapes[name]
            top, bottom, left, right = self._frame(name)
            pixel = _rounded_up(channels, _INPUT_ALIGNMENT if name == INPUT else WIDTH)
            row = (width + left + right) * pixel
            step = (height + top + bottom) * row
            steps = self._steps(name)
            arena = _arena(self.program.message_of(name))
            rows.append(
                {
                    "arena": arena,
                    "offset": sizes[arena] + top * row + left * pixel,
                    "step": step if steps > 1 else 0,
                    "steps": steps,
                    "row": row,
                    "pixel": pixel,
                    "channels": channels,
                    "width": width,
                    "plane": step,
                    "corner": top * row + left * pixel,
                }
            )
            sizes[arena] += steps * step
        for buffer in rows:
            buffer["sample"] = sizes[buffer["arena"]]
        return rows, (sizes[0], sizes[1], sizes[2])

    def _steps(self, name: str) -> int:
        return 1 if self.constant[name] else self.program.time_steps

    def _frame(self, name: str) -> tuple[int, int, int, int]:
        """Zeros that the convolutions which read `name` need above, below, left and right of it."""
        frame = [0, 0, 0, 0]
        for synapse in self.program.synapses:
            if synapse.source == name and isinstance(synapse.op, Conv2d):
                assert synapse.weight is not None
                for axis in (0, 1):
                    reach = (self.shapes[synapse.name][1 + axis] - 1) * synapse.op.stride[axis]
                    reach += (synapse.weight.shape[2 + axis] - 1) * synapse.op.dilation[axis] - synapse.op.padding[axis]
                    frame[2 * axis] = max(frame[2 * axis], synapse.op.padding[axis])
                    frame[2 * axis + 1] = max(frame[2 * axis + 1], reach - self.shapes[name][1 + axis] + 1)
        return frame[0], frame[1], frame[2], frame[3]

    # -------------------------------------------------------------------- populations

    def _input_row(self) -> dict:
        return self._common(INPUT) | {"dynamics": RELAY}

    def _readout_row(self) -> dict:
        source = self.program.readout.source
        narrow = narrow_readout(self.program, self.proof)
        port = self._port(Port(source, np.ones((1, 1), np.int32), 0), self.program.classes, 0 if narrow else None)
        row = {
            "dynamics": READOUT,
            "channels": self.program.classes,
            "pixels": 1,
            "width": 1,
            "gate": -1,
            "narrow": narrow,
        }
        row |= {"steps": self.program.time_steps, "first_port": len(self.ports), "ports": 1}
        self.ports.append(port)
        return row | {"bias": self._parameter(np.zeros((1, 1), np.int32), self.program.classes)}

    def _population_row(self, population: Population) -> dict:
        channels, ports = population.shape[0], population.ports
        weights_before = self.weights.size
        row = self._common(population.name) | {"first_port": len(self.ports), "ports": len(ports)}
        narrow = self.narrow.get(population.name)
        if narrow is None:
            self.ports += [self._port(port, channels, None) for port in ports]
        else:
            row |= {"narrow": True, "leak_split": narrow.leak, "gate_split": narrow.gate}
            self.ports += [self._port(port, channels, split) for port, split in zip(ports, narrow.ports, strict=True)]
        row["weight_bytes"] = self.weights.size - weights_before
        row["bias"] = self._parameter(population.bias, channels)
        low, high = population.message.range
        row |= {"dynamics": _DYNAMICS[type(population.dynamics)], "low": low, "high": high}
        proven = self.proof.populations[population.name]
        row |= {"state_clamps": proven.state_clamps, "message_clamps": proven.message_clamps}
        return row | self._gate(population.gate, channels) | self._dynamics(population)

    def _common(self, name: str) -> dict:
        channels, height, width = self.shapes[name]
        classes, count = self._pixel_classes(name)
        row = {"buffer": self.index[name], "channels": channels, "pixels": height * width, "width": width}
        row |= {"steps": self._steps(name), "gate": -1}
        row |= {"positions": self._pixels(name), "count_row": self.buffers[self.index[name]]["pixel"]}
        row |= {"classes": self.offsets.add(classes), "class_count": count, "first_consumer": len(self.consumers)}
        representatives = np.unique(classes, return_index=True)[1]
        for index, synapse in enumerate(self.program.synapses):
            if synapse.source == name and self.program.carries_spikes(synapse):
                per_message = synapse.op.fanout(self.program.shapes[name]).reshape(channels, -1)[:, representatives]
                per_class = self.fanouts.add(_padded(per_message.T, row["count_row"]))
                self.consumers.append({"synapse": index, "fanout": per_class})
        return row | {"consumers": len(self.consumers) - row["first_consumer"]}

    def _pixel_classes(self, name: str) -> tuple[NDArray, int]:
        """Pixels by what a message there causes: the same at every pixel of a class. (H*W,) and their number."""
        rows, columns = self._axis_classes(name, 0), self._axis_classes(name, 1)
        row_classes, column_classes = int(rows.max()) + 1, int(columns.max()) + 1
        return (rows[:, None] * column_classes + columns[None, :]).reshape(-1), row_classes * column_classes

    def _axis_classes(self, name: str, axis: int) -> NDArray:
        """Rows (axis 0) or columns (axis 1) of a population by the kernel taps that reach them, over its consumers."""
        size = self.shapes[name][1 + axis]
        reached = [np.zeros((size, 1), dtype=np.int64)]
        for synapse in self.program.synapses:
            if synapse.source != name or not self.program.carries_spikes(synapse):
                continue
            if isinstance(synapse.op, Linear):
                reached.append(np.eye(size, dtype=np.int64))
            elif isinstance(synapse.op, Conv2d | SumPool | MaxPool):
                reached.append(synapse.op.window.reaching_taps(axis, size))
        return np.unique(np.concatenate(reached, axis=1), axis=0, return_inverse=True)[1].reshape(-1)

    def _gate(self, gate: Gate | None, channels: int) -> dict:
        if gate is None:
            return {"gate": -1}
        bias = self._parameter(gate.bias, channels)
        return {"gate": self.index[gate.source], "gate_shift": gate.shift, "gate_bias": bias}

    def _dynamics(self, population: Population) -> dict:
        channels = population.shape[0]
        match population.dynamics:
            case HybridFiring() as n:
                return {
                    "leak": self._parameter(n.leak, channels),
                    "leak_shift": n.leak_shift,
                    "threshold": self._parameter(n.threshold, channels),
                    "spike_shift": n.spike_shift,
                }
            case ParallelFiring() as n:
                return {"threshold": self._parameter(n.threshold, channels), "spike_shift": n.spike_shift}
            case LeakyIntegrateAndFire() as n:
                return {
                    "leak": self._parameter(n.leak, channels),
                    "leak_shift": n.leak_shift,
                    "threshold": self._parameter(n.threshold, channels),
                }
            case MultiHierarchical() as n:
                return {
                    "leak": self._parameter(n.dendrite_leak, channels),
                    "feedback": self._parameter(n.dendrite_feedback, channels),
                    "soma_leak": self._parameter(n.soma_leak, channels),
                    "soma_drive": self._parameter(n.soma_drive, channels),
                    "leak_shift": n.leak_shift,
                    "threshold": self._parameter(n.threshold, channels),
                }
            case LookupTable() as n:
                return {"table": self.lookups.add(n.table), "spike_shift": n.index_shift}
        return {}

    def _parameter(self, array: NDArray, channels: int) -> tuple[int, int]:
        rows = _padded(np.broadcast_to(array, (len(array), channels)), _rounded_up(channels, OUTPUTS))
        return self.parameters.add(rows), rows.shape[1] if len(array) > 1 else 0

    # ------------------------------------------------------------------------- ports

    def _port(self, port: Port, channels: int, split: int | None) -> dict:
        """A row of PORT; `split` as in `Narrow`, None for a population in 64 bits."""
        row: dict = {"shift": port.shift, "multiplier": self._parameter(port.multiplier, channels)}
        row |= {"split": split or 0}
        if port.source in self.index:
            return row | {"kind": MESSAGE, "source": self.index[port.source], "pixels": self._pixels(port.source)}
        synapse = self.program.by_name[port.source]
        assert isinstance(synapse, Synapse)
        row["source"] = self.index[synapse.source]
        match synapse.op:
            case Conv2d():
                return row | self._convolution(synapse, synapse.op, narrow=split is not None)
            case Linear():
                return row | self._linear(synapse, narrow=split is not None)
            case ChannelConv(padding=padding):
                assert synapse.weight is not None
                row |= {"kind": CHANNEL_CONVOLUTION, "weight": self.weights.add(synapse.weight), "padding_x": padding}
                return row | {"kernel_x": len(synapse.weight)}
            case SumPool() | MaxPool():
                kind = SUM_POOL if isinstance(synapse.op, SumPool) else MAX_POOL
                height, width = self.shapes[synapse.source][1:]
                row |= {"kind": kind, "source_height": height, "source_width": width}
                for name, (y, x) in zip(("kernel", "stride", "padding"), _geometry(synapse.op), strict=True):
                    row |= {f"{name}_y": y, f"{name}_x": x}
                return row

    def _pixels(self, name: str) -> int:
        """Offsets of all pixels of a buffer from its first."""
        buffer, (_, height, width) = self.buffers[self.index[name]], self.shapes[name]
        rows = np.arange(height)[:, None] * buffer["row"]
        return self.offsets.add(rows + np.arange(width)[None, :] * buffer["pixel"])

    def _convolution(self, synapse: Synapse, op: Conv2d, narrow: bool) -> dict:
        """Patch offsets of all output pixels, the runs of a patch, and the weights in the order of the runs."""
        weight = synapse.weight
        assert weight is not None
        buffer, (_, height, width) = self.buffers[self.index[synapse.source]], self.shapes[synapse.name]
        corner = -op.padding[0] * buffer["row"] - op.padding[1] * buffer["pixel"]
        rows = corner + np.arange(height)[:, None] * op.stride[0] * buffer["row"]
        pixels = rows + np.arange(width)[None, :] * op.stride[1] * buffer["pixel"]
        inputs = weight.shape[1] if op.groups > 1 else buffer["pixel"]
        taps = np.zeros((*weight.shape[2:], inputs, weight.shape[0]), dtype=np.int8)
        taps[:, :, : weight.shape[1]] = weight.transpose(2, 3, 1, 0)
        contiguous = op.groups == 1 and op.dilation[1] == 1
        columns = 1 if contiguous else weight.shape[3]
        runs = np.arange(weight.shape[2])[:, None] * op.dilation[0] * buffer["row"]
        runs = runs + np.arange(columns)[None, :] * op.dilation[1] * buffer["pixel"]
        row = self._patches(pixels, runs, inputs * weight.shape[3] // columns)
        row |= {"group_inputs": inputs if op.groups > 1 else 0, "group_outputs": weight.shape[0] // op.groups}
        return row | self._weights(taps.reshape(-1, weight.shape[0]), buffer["arena"] == 0, narrow)

    def _linear(self, synapse: Synapse, narrow: bool) -> dict:
        """A convolution whose kernel is the whole frame: one run per row of the source."""
        weight = synapse.weight
        assert weight is not None
        buffer, (channels, height, width) = self.buffers[self.index[synapse.source]], self.shapes[synapse.source]
        outputs = weight.shape[0]
        taps = np.zeros((height, width, buffer["pixel"], outputs), dtype=np.int8)
        taps[:, :, :channels] = weight.reshape(outputs, channels, height, width).transpose(2, 3, 1, 0)
        row = self._patches(np.zeros(1), np.arange(height) * buffer["row"], width * buffer["pixel"])
        row |= {"group_inputs": 0, "group_outputs": outputs}
        return row | self._weights(taps.reshape(-1, outputs), buffer["arena"] == 0, narrow)

    def _patches(self, pixels: NDArray, runs: NDArray, run_length: int) -> dict:
        # Whole groups of pixels are computed at once: the table goes on with its last pixel.
        offsets = np.concatenate([pixels.reshape(-1), np.repeat(pixels.reshape(-1)[-1:], PIXELS)])
        row = {"kind": CONVOLUTION, "pixels": self.offsets.add(offsets), "runs": self.offsets.add(runs)}
        return row | {"run_count": runs.size, "run_length": run_length}

    def _weights(self, taps: NDArray[np.int8], bytes_: bool, narrow: bool) -> dict:
        """Weights (patch element, output); for narrow populations as dot.py reads them, in blocks of OUTPUTS."""
        if not narrow:
            return {"weight": self.weights.add(taps), "weight_row": taps.shape[1]}
        kind = dot_kind(self.path, bytes_)
        together, dtype = (4, np.int8) if kind == QUADS else (2, np.int16)
        blocks = _rounded_up(taps.shape[1], OUTPUTS) // OUTPUTS
        apart = _padded(taps, blocks * OUTPUTS).reshape(-1, together, blocks, OUTPUTS)
        packed = np.ascontiguousarray(apart.transpose(2, 0, 3, 1), dtype=dtype).view(np.int8)
        return {"dot": kind, "weight": self.weights.add(packed), "weight_row": packed.size // blocks}


def _rounded_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _padded(array: NDArray, columns: int) -> NDArray:
    """A matrix with zeros added on its right."""
    return np.pad(array, ((0, 0), (0, columns - array.shape[1])))


def _arena(message: Message) -> int:
    """The narrowest arena that holds a message."""
    low, high = message.range
    for arena, dtype in enumerate(ARENAS):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return arena
    raise AssertionError("a message has at most 16 bits")


def _geometry(op: SumPool | MaxPool) -> tuple[tuple[int, int], ...]:
    return op.kernel, op.stride, op.padding


def _records(dtype: np.dtype, rows: list[dict]) -> NDArray:
    records = np.zeros(len(rows), dtype=dtype)
    for record, row in zip(records, rows, strict=True):
        for field, value in row.items():
            record[field] = value
    return records
