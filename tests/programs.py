"""Random programs that use every node kind of the contract, and inputs for them. Deterministic in the seed."""

from __future__ import annotations

import msgspec
import numpy as np

from hmdf.sim.arithmetic import integer_range
from hmdf.sim.contract import (
    INPUT,
    WEIGHT_RANGES,
    ChannelConv,
    Conv2d,
    CurrentBasedLeakyIntegrateAndFire,
    Gate,
    HardResetIntegrateAndFire,
    HybridFiring,
    InitialState,
    LeakyIntegrateAndFire,
    LeakyIntegrator,
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
    WeightedOp,
)
from hmdf.sim.program import Input, Preprocessing, Program, Readout

ACCUMULATOR_BITS = 24


def random_program(seed: int, stages: int | None = None) -> Program:
    """A random program of 2..6 stages with residual ports, merges, gates, pools, every dynamics and initial states."""
    program, rng = _Builder(np.random.default_rng(seed)).build(stages), np.random.default_rng([seed, 2])
    nodes = tuple(
        msgspec.structs.replace(node, initial_state=_initial_state(node, program.state_bits, rng))
        if isinstance(node, Population)
        else node
        for node in program.nodes
    )
    return msgspec.structs.replace(program, nodes=nodes)


def program_of(seed: int) -> Program:
    """A random program; each third is recurrent, such that Lava has it too."""
    return recurrent_program(seed, own=True) if seed % 3 == 2 else random_program(seed)


def recurrent_program(seed: int, own: bool = False) -> Program:
    """A random program with up to three synapses that read what a population sent at the step before: their reader
    itself, an earlier or a later one.

    Args:
        own: only such that a population reads itself, or an earlier one.
    """
    program, rng = random_program(seed), np.random.default_rng([seed, 3])
    for index in range(int(rng.integers(1, 4))):
        places = [place for place, node in enumerate(program.nodes) if isinstance(node, Population)]
        place = int(rng.choice(places))
        reader = program.nodes[place]
        sources = [program.nodes[at] for at in places if not own or at <= place]
        source = reader if rng.random() < 0.4 else sources[int(rng.integers(len(sources)))]
        node = _back(f"back{index}", source, reader, rng)
        if node is None:
            continue
        size = int(rng.integers(4, min(program.state_bits, 24)))
        reach = max(1, max(source.message.range) * 2)
        shift = int(np.clip(np.floor(np.log2(2.0**14 * reach / 2.0**size)), 0, 30))
        multiplier = rng.integers(-(1 << 15), 1 << 15, (1, int(rng.choice([1, reader.shape[0]]))))
        port = Port(node.name, multiplier, shift)
        reader = msgspec.structs.replace(reader, ports=(*reader.ports, port))
        nodes = (*program.nodes[:place], node, reader, *program.nodes[place + 1 :])
        program = msgspec.structs.replace(program, nodes=nodes)
    if rng.random() < 0.2:  # the read-out reads the step before
        at = program.nodes.index(head := program.by_name[program.readout.source])
        if isinstance(program.by_name.get(head.source), Population):
            nodes = (*program.nodes[:at], msgspec.structs.replace(head, delay=1), *program.nodes[at + 1 :])
            program = msgspec.structs.replace(program, nodes=nodes)
    return program


def _back(name: str, source: Population, reader: Population, rng: np.random.Generator) -> Synapse | None:
    """A synapse from `source` at the step before to the shape of `reader`; None where accumulators are too large."""
    largest, bits = max(abs(v) for v in source.message.range), int(rng.choice([1, 2, 4]))
    low, high = WEIGHT_RANGES[bits]
    if len(reader.shape) == 1:
        extents: tuple[int, ...] = (reader.shape[0], int(np.prod(source.shape)))
    elif source.shape[1:] == reader.shape[1:]:
        extents = (reader.shape[0], source.shape[0], 3, 3)
    else:
        return None
    if largest * high * int(np.prod(extents[1:])) >= 1 << (ACCUMULATOR_BITS - 1):
        return None
    weight = rng.integers(low, high + 1, extents)
    if bits == 1:
        weight = np.where(weight == 0, 1, weight)
    weight = weight.astype(np.int8)
    op = Linear(weight, bits) if len(extents) == 2 else Conv2d(weight, bits, padding=(1, 1))
    return Synapse(name, source.name, op, delay=1)


def _initial_state(population: Population, state_bits: int, rng: np.random.Generator) -> tuple[InitialState, ...]:
    """Of every third state, of a small value or any that the state holds."""
    bits = int(rng.integers(2, state_bits + 1))
    low, high = integer_range(bits, signed=True)
    extents = 1, int(rng.choice([1, population.shape[0]]))
    states = [state for state in population.dynamics.facts.states if rng.random() < 1 / 3]
    return tuple(InitialState(state, rng.integers(low, high, extents, endpoint=True)) for state in states)


def random_messages(program: Program, samples: int, seed: int) -> np.ndarray:
    """Input messages (samples, 1 or T, *shape): uniform, sparse, and at both limits."""
    rng = np.random.default_rng([seed, 1])
    low, high = program.input.message.range
    messages = rng.integers(low, high + 1, (samples, program.input_steps, *program.input.shape))
    for index in range(samples):
        match index % 4:
            case 1:
                messages[index] *= rng.random(messages[index].shape) < 0.1
            case 2:
                messages[index] = np.where(rng.random(messages[index].shape) < 0.5, low, high)
            case 3:
                messages[index] = high
    return messages


class _Builder:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[Synapse | Population] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.messages: dict[str, Message] = {}
        self.steps = int(rng.integers(1, 7))
        self.state_bits = int(rng.choice([12, 16, 24, 24, 24, 32]))

    def build(self, stages: int | None) -> Program:
        rng = self.rng
        shape = (int(rng.integers(1, 5)), int(rng.integers(3, 10)), int(rng.integers(3, 10)))
        signed = bool(rng.integers(2))
        message = Message(int(rng.integers(2 if signed else 1, 17 if rng.random() < 0.3 else 9)), signed, 0.1)
        self.shapes[INPUT], self.messages[INPUT] = shape, message
        last = INPUT
        for index in range(stages or int(rng.integers(2, 7))):
            last = self.stage(f"s{index}", last)
        flat = self.synapse("head", last, "linear", outputs=int(rng.integers(2, 6)))
        bias = rng.integers(-1000, 1000, self.shapes[flat][0])
        return Program(
            time_steps=self.steps,
            state_bits=self.state_bits,
            accumulator_bits=ACCUMULATOR_BITS,
            input=Input(shape, message, str(rng.choice(["constant", "frames"])), Preprocessing(1.0, (0.0,), (1.0,))),
            nodes=tuple(self.nodes),
            readout=Readout(flat, bias, 1.0),
        )

    def stage(self, name: str, source: str) -> str:
        """One or two synapses from `source` (a second branch merges), perhaps a residual port and a gate."""
        rng = self.rng
        spatial = len(self.shapes[source]) == 3
        kind = rng.choice(["conv", "conv", "conv", "sum_pool", "max_pool", "linear"]) if spatial else "linear"
        ports = [self.synapse(f"{name}.conv", source, str(kind))]
        shape = self.shapes[ports[0]]
        if kind == "conv" and rng.random() < 0.3:
            ports.append(self.synapse(f"{name}.branch", source, "conv", like=ports[0]))
        same = [n for n, s in self.shapes.items() if s == shape and n in self.messages]
        if same and rng.random() < 0.5:
            ports.append(str(rng.choice(same)))
        gate = self.gate(name, source, shape[0]) if spatial and rng.random() < 0.3 else None
        return self.population(name, shape, ports, gate, self.dynamics())

    def dynamics(self) -> str:
        kinds = [
            "relay",
            "hybrid",
            "hybrid",
            "parallel",
            "lif",
            "hard_reset",
            "current",
            "hierarchical",
            "integrator",
            "table",
        ]
        return str(self.rng.choice(kinds))

    # ------------------------------------------------------------------ synapses

    def synapse(self, name: str, source: str, kind: str, outputs: int = 0, like: str = "") -> str:
        rng, shape = self.rng, self.shapes[source]
        if kind in ("sum_pool", "max_pool"):
            kernel = tuple(int(k) for k in rng.integers(1, [min(4, s) + 1 for s in shape[1:]]))
            geometry = {
                "kernel": kernel,
                "stride": tuple(int(s) for s in rng.integers(1, 3, 2)),
                "padding": tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel),
            }
            largest = max(abs(v) for v in self.messages[source].range)
            if kind == "sum_pool" and largest * kernel[0] * kernel[1] >= 1 << (ACCUMULATOR_BITS - 1):
                kind = "max_pool"
            node = Synapse(name, source, SumPool(**geometry) if kind == "sum_pool" else MaxPool(**geometry))
        else:
            node = self.weighted(name, source, kind, outputs, like)
        self.nodes.append(node)
        self.shapes[name] = node.output_shape(shape)
        return name

    def weighted(self, name: str, source: str, kind: str, outputs: int, like: str) -> Synapse:
        rng, shape = self.rng, self.shapes[source]
        if kind == "linear":
            geometry, extents = (Linear, {}), (outputs or int(rng.integers(1, 9)), int(np.prod(shape)))
        elif kind == "channel":
            padding = int(rng.integers(0, 3))
            geometry, extents = (ChannelConv, {"padding": padding}), (2 * padding + 1,)
        elif like:
            first = next(n for n in self.nodes if n.name == like).op
            same = {f: getattr(first, f) for f in ("stride", "padding", "dilation", "groups")}
            geometry, extents = (Conv2d, same), first.weight.shape
        else:
            geometry, extents = self.convolution(shape)
        largest = max(abs(v) for v in self.messages[source].range)
        bits = int(rng.choice([1, 2, 2, 4, 8]))
        fan_in = int(np.prod(extents[1:])) if kind != "channel" else extents[0]
        while largest * max(abs(v) for v in WEIGHT_RANGES[bits]) * fan_in >= 1 << (ACCUMULATOR_BITS - 1) and bits > 2:
            bits //= 2
        low, high = WEIGHT_RANGES[bits]
        weight = rng.integers(low, high + 1, extents)
        if bits == 1:
            weight = np.where(weight == 0, 1, weight)
        if largest * fan_in * max(-low, high) >= 1 << (ACCUMULATOR_BITS - 1):
            bits, weight = 2, np.where(np.arange(weight.size).reshape(extents) % fan_in < 64, np.sign(weight), 0)
        kind, fields = geometry
        return Synapse(name, source, kind(weight.astype(np.int8), bits, **fields))

    def convolution(self, shape: tuple[int, ...]) -> tuple[tuple[type[Conv2d], dict], tuple[int, ...]]:
        rng = self.rng
        groups = shape[0] if shape[0] > 1 and rng.random() < 0.25 else 1
        kernel = [int(k) for k in rng.integers(1, 4, 2)]
        dilation = [int(d) for d in rng.integers(1, 3, 2)]
        padding = [int(p) for p in rng.integers(0, 3, 2)]
        for axis, size in enumerate(shape[1:]):
            if size + 2 * padding[axis] < dilation[axis] * (kernel[axis] - 1) + 1:
                kernel[axis] = 1
        outputs = groups * int(rng.integers(1, 3)) if groups > 1 else int(rng.integers(1, 7))
        stride = tuple(int(s) for s in rng.integers(1, 3, 2))
        fields = {"stride": stride, "padding": tuple(padding), "dilation": tuple(dilation), "groups": groups}
        return (Conv2d, fields), (outputs, shape[0] // groups, *kernel)

    # --------------------------------------------------------------- populations

    def gate(self, name: str, source: str, channels: int) -> Gate:
        """The SECA chain: global sum pool, relay, banded channel convolution, lookup table."""
        shape = self.shapes[source]
        largest = max(abs(v) for v in self.messages[source].range)
        op = SumPool(shape[1:], shape[1:]) if largest * shape[1] * shape[2] < 1 << 23 else MaxPool(shape[1:], shape[1:])
        pool = Synapse(f"{name}.pool", source, op)
        self.nodes.append(pool)
        self.shapes[pool.name] = (shape[0], 1, 1)
        pooled = self.population(f"{name}.pooled", (shape[0], 1, 1), [pool.name], None, "relay")
        if shape[0] == channels:
            band = self.synapse(f"{name}.band", pooled, "channel")
            target = self.shapes[band]
        else:
            band = self.synapse(f"{name}.band", pooled, "linear", outputs=channels)
            target = (channels,)
        table = self.population(f"{name}.sigmoid", target, [band], None, "table")
        return Gate(table, int(self.rng.integers(0, 9)), self.parameter(channels, 10))

    def population(self, name: str, shape: tuple[int, ...], ports: list[str], gate: Gate | None, dynamics: str) -> str:
        rng, channels = self.rng, shape[0]
        message = self.message(dynamics)
        size = int(rng.integers(4, min(self.state_bits, 24)))
        node = Population(
            name=name,
            shape=shape,
            ports=tuple(self.port(p, channels, size) for p in ports),
            bias=self.parameter(channels, size - 2),
            dynamics=self.make(dynamics, channels, size, message),
            message=message,
            gate=gate,
        )
        self.nodes.append(node)
        self.shapes[name], self.messages[name] = shape, message
        return name

    def message(self, dynamics: str) -> Message:
        if dynamics in ("lif", "hard_reset", "current", "hierarchical"):
            return Message(1, False, 1.0)
        signed = dynamics in ("relay", "table", "integrator") and bool(self.rng.integers(2))
        bits = int(self.rng.integers(2 if signed else 1, 17 if dynamics in ("relay", "integrator") else 9))
        return Message(bits, signed, 0.25)

    def port(self, source: str, channels: int, size: int) -> Port:
        """A port that brings a typical input to about 2^size; now and then one that saturates or is the identity."""
        if self.rng.random() < 0.15:
            return Port(source, np.ones((1, 1), np.int32), 0)
        node = next((n for n in self.nodes if n.name == source), None)
        if isinstance(node, Synapse):
            fan_in = weight = 1
            if isinstance(node.op, WeightedOp):
                fan_in = max(1, node.op.weight.size // self.shapes[source][0])
                weight = max(abs(v) for v in WEIGHT_RANGES[node.op.weight_bits])
            typical = max(self.messages[node.source].range[1], 1) * weight * fan_in**0.5 / 2
        else:
            typical = max(self.messages[source].range[1], 1) / 2
        shift = int(np.clip(np.floor(np.log2(2.0**14 * typical / 2.0**size)), 0, 30))
        multiplier = self.rng.integers(-(1 << 15), 1 << 15, self.extents(channels))
        return Port(source, multiplier, shift)

    def make(self, dynamics: str, channels: int, size: int, message: Message):
        rng = self.rng
        shift = int(np.clip(size - message.bits + int(rng.integers(-1, 2)), 0, 20))
        match dynamics:
            case "relay":
                return Relay()
            case "hybrid":
                return HybridFiring(self.leak(channels), 12, self.parameter(channels, size), shift)
            case "parallel":
                return ParallelFiring(self.parameter(channels, size), shift)
            case "lif":
                return LeakyIntegrateAndFire(self.leak(channels), 12, np.abs(self.parameter(channels, size)))
            case "hard_reset":
                theta = self.parameter(channels, size)
                return HardResetIntegrateAndFire(self.leak(channels), 12, theta, self.parameter(channels, size))
            case "current":
                leaks = [rng.integers(0, 4097, self.extents(channels)) for _ in range(2)]
                given = [self.parameter(channels, size) for _ in range(3)]
                return CurrentBasedLeakyIntegrateAndFire(*leaks, given[0], np.abs(given[1]), given[2])
            case "hierarchical":
                leaks = [self.leak(channels) for _ in range(4)]
                return MultiHierarchical(*leaks, 12, np.abs(self.parameter(channels, size)))
            case "integrator":
                return LeakyIntegrator(self.leak(channels), 12, shift)
            case _:
                low, high = message.range
                return LookupTable(rng.integers(low, high + 1, 256), int(np.clip(size - 7, 0, 20)))

    def leak(self, channels: int) -> np.ndarray:
        """Leaks of about -1..1 in units of 2^-12, sometimes at the 16-bit limits."""
        reach = (1 << 15) - 1 if self.rng.random() < 0.1 else 4096
        return self.rng.integers(-reach, reach + 1, self.extents(channels))

    def parameter(self, channels: int, size: int) -> np.ndarray:
        """Integers of magnitude up to 2^size; now and then at the limits of the state."""
        extents = self.extents(channels)
        if self.rng.random() < 0.05:
            low, high = integer_range(self.state_bits, signed=True)
            return np.where(self.rng.random(extents) < 0.5, low + 1, high)
        return self.rng.integers(-(1 << max(size, 1)), 1 << max(size, 1), extents)

    def extents(self, channels: int) -> tuple[int, int]:
        return int(self.rng.choice([1, self.steps])), int(self.rng.choice([1, channels]))
