"""Programs and chips to test targets with: a toy network and chip small enough for a pencil, and the big networks."""

from __future__ import annotations

import numpy as np

from hmdf.sim.contract import (
    INPUT,
    Conv2d,
    HybridFiring,
    LeakyIntegrateAndFire,
    Linear,
    MaxPool,
    Message,
    ParallelFiring,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
)
from hmdf.sim.program import Input, Preprocessing, Program, Readout

TOY_CHIP = """
name = "toy"
title = "Toy"
summary = "A chip with round numbers."
[sources]
s = "a document"
[capabilities]
state_bits = { value = 24, source = "s", status = "published" }
accumulator_bits = { value = 24, source = "s", status = "published" }
message_bits = { value = 16, source = "s", status = "published" }
signed_messages = { value = true, source = "s", status = "published" }
weight_bits = { value = [1, 2, 4, 8], source = "s", status = "published" }
shared_kernels = { value = true, source = "s", status = "published" }
multiplier = { value = true, source = "s", status = "published" }
leak = { value = true, source = "s", status = "published" }
per_step_parameters = { value = true, source = "s", status = "published" }
gates = { value = true, source = "s", status = "published" }
sum_pool = { value = true, source = "s", status = "published" }
max_pool = { value = true, source = "s", status = "published" }
dynamics = { value = ["relay", "hybrid_firing", "parallel_firing", "leaky_integrate_and_fire", "multi_hierarchical", \
"lookup_table", "hard_reset_integrate_and_fire", "leaky_integrator", \
"current_based_leaky_integrate_and_fire"], source = "s", status = "published" }
divisible_layers = { value = true, source = "s", status = "published" }
shared_cores = { value = true, source = "s", status = "published" }
[limits]
cores = { value = 16, source = "s", status = "published" }
neurons_per_core = { value = 32, source = "s", status = "published" }
input_axons_per_core = { value = 1000, source = "s", status = "published" }
output_axons_per_core = { value = 1000, source = "s", status = "published" }
mesh = { value = [4, 4], source = "s", status = "published" }
cores_per_tile = { value = 1, source = "s", status = "published" }
[costs]
synaptic_op_energy = { low = 1, typical = 2, high = 3, unit = "pJ", source = "s", status = "published" }
mac_energy = { low = 5, typical = 5, high = 5, unit = "pJ", source = "s", status = "published" }
port_energy = { low = 0.5, typical = 0.5, high = 0.5, unit = "pJ", source = "s", status = "published" }
neuron_active_energy = { low = 10, typical = 10, high = 10, unit = "pJ", source = "s", status = "published" }
neuron_inactive_energy = { low = 4, typical = 4, high = 4, unit = "pJ", source = "s", status = "published" }
message_energy = { low = 7, typical = 7, high = 7, unit = "pJ", source = "s", status = "published" }
hop_x_energy = { low = 1, typical = 1, high = 1, unit = "pJ", source = "s", status = "published" }
hop_y_energy = { low = 2, typical = 2, high = 2, unit = "pJ", source = "s", status = "published" }
static_power = { low = 1, typical = 1, high = 1, unit = "mW", source = "s", status = "published" }
synaptic_op_time = { low = 1, typical = 1, high = 1, unit = "ns", source = "s", status = "published" }
mac_time = { low = 2, typical = 2, high = 2, unit = "ns", source = "s", status = "published" }
port_time = { low = 1, typical = 1, high = 1, unit = "ns", source = "s", status = "published" }
neuron_active_time = { low = 3, typical = 3, high = 3, unit = "ns", source = "s", status = "published" }
neuron_inactive_time = { low = 2, typical = 2, high = 2, unit = "ns", source = "s", status = "published" }
message_time = { low = 1, typical = 1, high = 1, unit = "ns", source = "s", status = "published" }
hop_time = { low = 1, typical = 1, high = 1, unit = "ns", source = "s", status = "published" }
barrier_time = { low = 10, typical = 20, high = 30, unit = "ns", source = "s", status = "published" }
step_time = { low = 0, typical = 0, high = 0, unit = "ns", source = "s", status = "published" }
[memory.shared]
bytes = 4096
holds = ["weights", "state", "accumulators", "parameters", "axons", "buffers"]
source = "s"
status = "published"
"""
SPIKE = Message(4, False, 0.25)
CURRENT = Message(16, True, 0.01)


def toy_network() -> Program:
    """2x4x4 input of frames -> 3x3 conv to 4x4x4 HM-DF neurons -> 3 classes, two time-steps.

    The convolution has 72 weights, every third of them 0; the classifier's 192 are all 1.
    """
    kernel = (np.arange(72) % 3 - 1).astype(np.int8).reshape(4, 2, 3, 3)
    nodes = (
        Synapse("conv", INPUT, Conv2d(kernel, 2, (1, 1), (1, 1))),
        neurons("fire", (4, 4, 4), ["conv"]),
        Synapse("classes", "fire", Linear(np.ones((3, 64), np.int8), 1)),
    )
    return program(nodes, (2, 4, 4), SPIKE, "frames", "classes", 3, steps=2)


def mixed_network() -> Program:
    """Spikes, a dense current with a convolution of its own and a shortcut around it: every kind of event."""
    kernel = (np.arange(72) % 3 - 1).astype(np.int8).reshape(4, 2, 3, 3)
    nodes = (
        Synapse("conv", INPUT, Conv2d(kernel, 2, (1, 1), (1, 1))),
        relay("current", (4, 4, 4), ["conv"]),
        Synapse("dense", "current", Conv2d(np.ones((4, 4, 1, 1), np.int8), 1)),
        relay("sum", (4, 4, 4), ["dense", "current"]),
        neurons("fire", (4, 4, 4), ["sum"]),
        Synapse("classes", "fire", Linear(np.ones((3, 64), np.int8), 1)),
    )
    return program(nodes, (2, 4, 4), SPIKE, "frames", "classes", 3, steps=2)


def neurons(name: str, shape: tuple[int, ...], sources: list[str]) -> Population:
    """HM-DF neurons with per-channel multipliers."""
    channels = shape[0]
    dynamics = HybridFiring(column([2048]), 12, column([20] * channels), 6)
    return Population(name, shape, ports(sources, channels), column([0] * channels), dynamics, SPIKE)


def parallel(name: str, shape: tuple[int, ...], sources: list[str]) -> Population:
    dynamics = ParallelFiring(column([20] * shape[0]), 6)
    return Population(name, shape, ports(sources, shape[0]), column([0] * shape[0]), dynamics, SPIKE)


def binary(name: str, shape: tuple[int, ...], sources: list[str]) -> Population:
    """Leak 1, threshold 4, multiplier 1: integrate-and-fire as the simplest chips have it."""
    dynamics = LeakyIntegrateAndFire(column([1]), 0, column([4]))
    identity = tuple(Port(source, column([1]), 0) for source in sources)
    return Population(name, shape, identity, column([0]), dynamics, Message(1, False, 1.0))


def relay(name: str, shape: tuple[int, ...], sources: list[str], message: Message = CURRENT) -> Population:
    return Population(name, shape, ports(sources, shape[0]), column([0] * shape[0]), Relay(), message)


def ports(sources: list[str], channels: int) -> tuple[Port, ...]:
    return tuple(Port(source, column([20000] * channels), 12) for source in sources)


def column(values: list[int]) -> np.ndarray:
    return np.array([values], dtype=np.int32)


def program(nodes, shape, message, timing, readout, classes, steps=4, state_bits=24) -> Program:
    return Program(
        time_steps=steps,
        state_bits=state_bits,
        accumulator_bits=24,
        input=Input(shape, message, timing, Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=tuple(nodes),
        readout=Readout(readout, np.zeros(classes, np.int64), 1.0),
    )


class ResNet:
    """A random ternary pre-activation ResNet as the compiler makes them: relays carry the residual stream."""

    def __init__(self, blocks: list[int], shape: tuple[int, int, int], classes: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Synapse | Population] = []
        self.blocks, self.shape, self.classes = blocks, shape, classes

    def build(self) -> Program:
        large = self.shape[1] > 64
        if large:
            size = (self.shape[1] - 1) // 2 + 1
            self.conv("stem", INPUT, 64, self.shape[0], 7, 2, 3, 8)
            self.nodes.append(relay("stem.current", (64, size, size), ["stem"]))
            self.nodes.append(Synapse("pool", "stem.current", MaxPool((3, 3), (2, 2), (1, 1))))
            size = (size - 1) // 2 + 1
            self.nodes.append(relay("x", (64, size, size), ["pool"]))
        else:
            size = self.shape[1]
            self.conv("stem", INPUT, 64, self.shape[0], 3, 1, 1, 8)
            self.nodes.append(relay("x", (64, size, size), ["stem"]))
        stream, width = "x", 64
        for stage, count in enumerate(self.blocks):
            for index in range(count):
                out, stride = 64 << stage, 2 if stage and index == 0 else 1
                new = (size - 1) // stride + 1
                stream = self.block(f"s{stage}b{index}", stream, (width, size), (out, new), stride)
                width, size = out, new
        self.nodes.append(Synapse("mean", stream, SumPool((size, size), (size, size))))
        self.nodes.append(relay("features", (width, 1, 1), ["mean"], Message(8, True, 0.01)))
        head = self.rng.integers(-128, 128, (self.classes, width)).astype(np.int8)
        self.nodes.append(Synapse("head", "features", Linear(head, 8)))
        return program(self.nodes, self.shape, Message(8, True, 0.01), "constant", "head", self.classes)

    def block(self, name, stream, before, after, stride) -> str:
        (width, size), (out, new) = before, after
        self.nodes.append(neurons(f"{name}.act1", (width, size, size), [stream]))
        self.conv(f"{name}.conv1", f"{name}.act1", out, width, 3, stride, 1, 2)
        self.nodes.append(parallel(f"{name}.act2", (out, new, new), [f"{name}.conv1"]))
        self.conv(f"{name}.conv2", f"{name}.act2", out, out, 3, 1, 1, 2)
        shortcut = stream
        if width != out:
            shortcut = f"{name}.down"
            self.conv(shortcut, stream, out, width, 1, stride, 0, 2)
        self.nodes.append(relay(f"{name}.y", (out, new, new), [f"{name}.conv2", shortcut]))
        return f"{name}.y"

    def conv(self, name, source, outputs, inputs, kernel, stride, padding, bits) -> None:
        low, high = (-1, 2) if bits == 2 else (-128, 128)
        weight = self.rng.integers(low, high, (outputs, inputs, kernel, kernel)).astype(np.int8)
        self.nodes.append(Synapse(name, source, Conv2d(weight, bits, (stride, stride), (padding, padding))))


def spiking_chain() -> Program:
    """Binary spikes, integrate-and-fire, 8-bit weights: what the simplest chips are made for."""
    rng = np.random.default_rng(0)
    kernel = rng.integers(-3, 4, (4, 1, 3, 3)).astype(np.int8)
    nodes = (
        Synapse("conv", INPUT, Conv2d(kernel, 4, (2, 2), (1, 1))),
        binary("fire", (4, 4, 4), ["conv"]),
        Synapse("classes", "fire", Linear(rng.integers(-3, 4, (3, 64)).astype(np.int8), 4)),
    )
    return program(nodes, (1, 8, 8), Message(1, False, 1.0), "frames", "classes", 3, state_bits=16)


def resnet18() -> Program:
    return ResNet([2, 2, 2, 2], (3, 32, 32), 10).build()


def resnet34() -> Program:
    return ResNet([3, 4, 6, 3], (3, 224, 224), 1000).build()
