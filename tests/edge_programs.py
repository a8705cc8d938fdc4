"""Programs at the edges of the contract: one pixel, one channel, 16-bit messages, 63-bit registers, 2^20 neurons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hmdf.sim.contract import (
    INPUT,
    WEIGHT_RANGES,
    Conv2d,
    CurrentBasedLeakyIntegrateAndFire,
    Dynamics,
    Gate,
    HardResetIntegrateAndFire,
    HybridFiring,
    LeakyIntegrateAndFire,
    LeakyIntegrator,
    Linear,
    LookupTable,
    MaxPool,
    Message,
    MultiHierarchical,
    Op,
    ParallelFiring,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
)
from hmdf.sim.program import Input, Preprocessing, Program, Readout

ZERO = np.zeros((1, 1), np.int32)
KINDS = ("relay", "hybrid", "parallel", "lif", "hard_reset", "current", "hierarchical", "integrator", "table")
BINARY = ("lif", "hard_reset", "current", "hierarchical")


class _Chain:
    """A program made node by node; each reads the last one."""

    def __init__(self, shape: tuple[int, ...], message: Message, steps: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.input, self.steps, self.nodes = (
            Input(shape, message, "frames", Preprocessing(1.0, (0.0,), (1.0,))),
            steps,
            [],
        )
        self.shapes = {INPUT: shape}
        self.last = INPUT

    def synapse(self, op: Op, source: str = "", delay: int = 0) -> str:
        node = Synapse(f"synapse{len(self.nodes)}", source or self.last, op, delay)
        self.nodes.append(node)
        self.shapes[node.name] = node.output_shape(self.shapes[node.source])
        return node.name

    def conv(self, outputs: int, kernel: int = 3, bits: int = 8, **fields: object) -> str:
        inputs = self.shapes[self.last][0] // int(fields.get("groups", 1))
        return self.synapse(Conv2d(self.weights((outputs, inputs, kernel, kernel), bits), bits, **fields))

    def linear(self, outputs: int, bits: int = 8) -> str:
        return self.synapse(Linear(self.weights((outputs, int(np.prod(self.shapes[self.last]))), bits), bits))

    def weights(self, shape: tuple[int, ...], bits: int) -> np.ndarray:
        low, high = WEIGHT_RANGES[bits]
        return self.rng.integers(low, high + 1, shape, np.int8)

    def fire(
        self,
        kind: str,
        *sources: str,
        message: Message | None = None,
        gate: str = "",
        shift: int = 12,
        multiplier: np.ndarray | None = None,
    ) -> str:
        """A population that reads `sources`, with multipliers up to their limits and a bias unless they are given."""
        shape, limit = self.shapes[sources[0]], (1 << 15) - 1
        channels = shape[0]
        message = message or Message(1 if kind in BINARY else 4, False, 1.0)
        drawn = self.rng.integers(-limit, limit + 1, (len(sources), self.steps, channels))
        ports = [Port(s, d if multiplier is None else multiplier, shift) for s, d in zip(sources, drawn, strict=True)]
        bias = self.rng.integers(-4096, 4096, (self.steps, channels)) if multiplier is None else ZERO
        node = Population(
            f"fire{len(self.nodes)}", shape, tuple(ports), bias, self.dynamics(kind, channels, message), message,
            Gate(gate, 4, bias) if gate else None,
        )  # fmt: skip
        self.nodes.append(node)
        self.shapes[node.name] = shape
        self.last = node.name
        return node.name

    def dynamics(self, kind: str, channels: int, message: Message) -> Dynamics:
        rng, extents = self.rng, (self.steps, channels)
        leaks = [rng.integers(-(1 << 15), 1 << 15, extents) for _ in range(4)]
        threshold = rng.integers(0, 4096, extents)
        match kind:
            case "relay":
                return Relay()
            case "hybrid":
                return HybridFiring(leaks[0], 15, threshold, 6)
            case "parallel":
                return ParallelFiring(threshold, 6)
            case "lif":
                return LeakyIntegrateAndFire(leaks[0], 15, threshold)
            case "hard_reset":
                return HardResetIntegrateAndFire(leaks[0], 15, threshold, -threshold)
            case "current":
                return CurrentBasedLeakyIntegrateAndFire(abs(leaks[0]) >> 3, abs(leaks[1]) >> 3, *[threshold] * 3)
            case "integrator":
                return LeakyIntegrator(leaks[0], 15, 6)
            case "hierarchical":
                return MultiHierarchical(*leaks, 15, threshold)
        low, high = message.range
        return LookupTable(rng.integers(low, high + 1, 256), 4)

    def program(self, classes: int = 3, state_bits: int = 24, accumulator_bits: int = 32, bits: int = 8) -> Program:
        head = self.linear(classes, bits)
        bias = self.rng.integers(-1000, 1000, classes)
        nodes = tuple(self.nodes)
        return Program(self.steps, state_bits, accumulator_bits, self.input, nodes, Readout(head, bias, 1.0))


def _one_of_everything(kind: str) -> Program:
    """One pixel, one channel, one class; the kernel is larger than the image."""
    chain = _Chain((1, 1, 1), Message(8, True, 1.0), 2, 1)
    chain.fire(kind, chain.conv(1, 3, padding=(1, 1)), INPUT)
    chain.fire(kind, chain.conv(1, 5, padding=(4, 4), dilation=(2, 2)), chain.last)
    chain.fire("relay", chain.synapse(MaxPool((2, 2), (1, 1), (1, 1))), message=Message(4, False, 1.0))
    return chain.program(classes=1)


def _direct(kind: str) -> Program:
    """A port and a pool read one pixel of the input, which is alone in its arena and has no frame."""
    chain = _Chain((1, 1, 1), Message(8, True, 1.0), 2, 2)
    chain.fire(kind, INPUT, chain.synapse(MaxPool((1, 1), (1, 1))))
    return chain.program(classes=1)


def _channels(count: int, kind: str) -> Program:
    """As many channels as a vector or a tile has, one less and one more; 33 pixels in a row."""
    chain = _Chain((3, 1, 33), Message(8, False, 1.0), 2, count)
    first = chain.fire("hybrid", chain.conv(count, 3, padding=(1, 1)))
    pooled = chain.fire("relay", chain.synapse(SumPool((1, 33), (1, 33))), message=Message(9, False, 1.0))
    gate = chain.fire("table", pooled, message=Message(8, False, 1.0))
    chain.last = first
    chain.fire(kind, chain.conv(count, 3, 2, padding=(1, 1)), first, gate=gate)
    chain.fire(kind, chain.conv(count, 1, 8, groups=count))
    return chain.program()


def _sixteen_bits(kind: str) -> Program:
    """Messages, multipliers and leaks of 16 bits, the input's included; state and accumulators of 32."""
    chain = _Chain((2, 3, 3), Message(16, False, 1.0), 3, 3)
    unsigned, signed = Message(16, False, 1.0), Message(16, True, 1.0)
    chain.fire("relay", chain.conv(17, 3, padding=(1, 1)), shift=20, message=signed)
    chain.fire("relay", chain.conv(17, 3, padding=(1, 1)), chain.last, shift=20, message=unsigned)
    message = None if kind in BINARY else unsigned
    chain.fire(kind, chain.conv(5, 3, padding=(1, 1)), shift=20, message=message)
    return chain.program(state_bits=32)


def widest_registers() -> Program:
    """The product with a gate needs 63 bits: 258 x 127 x (2^16 - 1) x (2^15 - 1) x (2^16 - 1) is just below 2^62."""
    unsigned = Message(16, False, 1.0)
    chain = _Chain((258,), unsigned, 2, 4)
    sign = np.where(np.arange(5) % 2, 1, -1)
    wide = chain.synapse(Linear(np.full((5, 258), 127, np.int8), 8))
    gate = chain.fire("relay", wide, message=unsigned, multiplier=np.ones((1, 1), np.int32), shift=15)
    chain.fire("hybrid", wide, gate=gate, message=unsigned, multiplier=sign[None] * ((1 << 15) - 1), shift=0)
    return chain.program(state_bits=32)


def _million(shape: tuple[int, ...]) -> Program:
    """2^20 neurons in one population."""
    if len(shape) == 1:
        chain = _Chain((1,), Message(8, True, 1.0), 2, 5)
        chain.fire("hybrid", chain.linear(shape[0], 2))
    else:
        chain = _Chain((1, *shape[1:]), Message(8, True, 1.0), 2, 5)
        chain.fire("hybrid", chain.conv(shape[0], 3, padding=(1, 1)))
        chain.fire("relay", chain.synapse(SumPool((8, 8), (8, 8))), message=Message(10, False, 1.0))
    return chain.program(classes=2, bits=2)


def _long(kind: str) -> Program:
    """4096 time-steps."""
    chain = _Chain((2,), Message(8, True, 1.0), 4096, 6)
    chain.fire(kind, chain.linear(3))
    return chain.program()


def _loop(kind: str, channels: int, width: int) -> Program:
    """Two populations in a ring, each of which reads itself too; in the frame of a convolution, or of one pixel."""
    chain = _Chain((1, 1, width), Message(8, True, 1.0), 5, channels)
    shape = (channels, 1, width)
    chain.shapes |= {"fire3": shape, "fire7": shape}

    def back(source: str, kernel: int) -> str:
        weights = chain.weights((channels, channels, kernel, kernel), 2)
        return chain.synapse(Conv2d(weights, 2, padding=(kernel // 2, kernel // 2)), source, delay=1)

    chain.fire("relay", chain.conv(channels, 1), back("fire7", 5), back("fire3", 1), message=Message(16, True, 1.0))
    ports = chain.conv(channels, 1), back("fire3", 1), back("fire7", 3)
    chain.fire(kind, *ports, message=None if kind in BINARY else Message(8, False, 1.0))
    return chain.program()


EDGES: dict[str, Callable[[], Program]] = {
    **{f"one of everything, {kind}": lambda kind=kind: _one_of_everything(kind) for kind in KINDS},
    **{f"one pixel read directly, {kind}": lambda kind=kind: _direct(kind) for kind in KINDS},
    **{
        f"{count} channels, {KINDS[i % len(KINDS)]}": lambda count=count, i=i: _channels(count, KINDS[i % len(KINDS)])
        for i, count in enumerate((1, 15, 16, 17, 31, 32, 33, 65))
    },
    **{f"16 bits, {kind}": lambda kind=kind: _sixteen_bits(kind) for kind in KINDS},
    **{
        f"a loop of {n} channels, {k}": lambda n=n, k=k: _loop(k, n, 1 if n == 1 else 33)
        for n in (1, 65)
        for k in KINDS
    },
    "63-bit registers": widest_registers,
    **{f"4096 time-steps, {kind}": lambda kind=kind: _long(kind) for kind in ("hybrid", "hierarchical")},
    "2^20 neurons, an image": lambda: _million((1, 1024, 1024)),
    "2^20 neurons, 64 channels": lambda: _million((64, 128, 128)),
    "2^20 neurons, features": lambda: _million((1 << 20,)),
}
"""By what is special about them."""
