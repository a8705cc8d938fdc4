"""Integer programs of the paper's networks with random weights, for timing: no training, no compiler.

Weights are random ternary. Multipliers bring every current to a standard deviation of about 2^12, and thresholds are
set, layer by layer, to quantiles of the currents of a few calibration samples, so that a wanted share of the neurons
spikes.
"""

from __future__ import annotations

import os

import numpy as np

from hmdf.sim.contract import (
    INPUT,
    Conv2d,
    HybridFiring,
    Linear,
    MaxPool,
    Message,
    Node,
    ParallelFiring,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
)
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.simulator import Simulator

CURRENT = 1 << 12
"""Wanted standard deviation of currents and residual messages."""
SPIKE_SHIFT = 10
SPIKES = Message(4, False, 0.25)
RESIDUAL = Message(16, True, 1.0)
LEAK_SHIFT = 12
CONTRAST = 40
"""Message of an input one standard deviation above the mean."""


def resnet(
    blocks: tuple[int, ...],
    width: int,
    size: int,
    steps: int,
    samples: np.ndarray,
    density: float = 0.2,
    classes: int = 10,
    imagenet_stem: bool = False,
) -> Program:
    """Pre-activation ResNet with 4-bit spikes, the second activation of a block parallel, the residual stream 16 bit.

    Args:
        samples: integer messages (n, 1, 3, size, size), signed 8 bit, to calibrate on.
    """
    build = _Builder(Input((3, size, size), Message(8, True, 1.0), "constant", _AS_IS), steps, samples, density)
    if imagenet_stem:
        stem = build.conv("stem", INPUT, width, 7, 2, bits=8)
        x = build.relay("stem.current", [stem])
        build.add(Synapse("stem.pool", x, MaxPool((3, 3), (2, 2), (1, 1))))
        x = build.relay("stem.pooled", ["stem.pool"])
    else:
        x = build.relay("stem.current", [build.conv("stem", INPUT, width, 3, 1, bits=8)])
    for stage, count in enumerate(blocks):
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            x = build.block(f"stage{stage}.{index}", x, width << stage, stride)
    build.add(Synapse("pool", x, SumPool(*[build.shapes[x][1:]] * 2)))
    pooled = build.relay("features", ["pool"], Message(9, True, 1.0), spread=32)
    return build.program(pooled, classes)


def vgg_snn(size: int, steps: int, frames: np.ndarray, density: float, classes: int = 10) -> Program:
    """VGG-SNN: 64 | 128 M | 256 256 M | 512 512 M | 512 512 M on two channels of event frames, M = average pool 2.

    Args:
        frames: integer messages (n, steps, 2, size, size), unsigned 4 bit.
    """
    build = _Builder(Input((2, size, size), Message(4, False, 1.0), "frames", _AS_IS), steps, frames, density)
    x = INPUT
    for stage, widths in enumerate([(64, 128), (256, 256), (512, 512), (512, 512)]):
        for index, width in enumerate(widths):
            conv = build.conv(f"conv{stage}.{index}", x, width, 3, 1)
            x = build.fire(f"spikes{stage}.{index}", conv, parallel=False)
        build.add(Synapse(f"pool{stage}", x, SumPool((2, 2), (2, 2))))
        x = build.population(f"pooled{stage}", [Port(f"pool{stage}", _ONE, 0)], Relay(), Message(6, False, 0.0625))
    return build.program(x, classes)


def images(count: int, seed: int = 0) -> tuple[np.ndarray, str]:
    """32x32 images as messages (n, 1, 3, 32, 32), and what they are: CIFAR-10's where HMDF_DATA has them, or synthetic.

    Count no more than CIFAR-10's test set has.
    """
    if not os.environ.get("HMDF_DATA"):
        return natural_images(count, 32, seed), "synthetic images (1/f spectrum)"
    from hmdf.train.data import load

    pixels = load("cifar10", "test").inputs
    chosen = np.random.default_rng(seed).choice(len(pixels), count, replace=False)
    raw = np.asarray(pixels[np.sort(chosen)], dtype=np.float64)
    scaled = (raw - raw.mean(axis=(0, 2, 3), keepdims=True)) / raw.std(axis=(0, 2, 3), keepdims=True)
    return _messages(scaled), "CIFAR-10 test images"


def natural_images(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Synthetic images with the 1/f spectrum of natural ones, 3 correlated channels: messages (n, 1, 3, size, size)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = 1 / size
    noise = rng.normal(size=(count, 3, size, size))
    noise = 0.8 * noise[:, :1] + 0.6 * noise
    images = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    images /= images.std(axis=(1, 2, 3), keepdims=True)
    return _messages(images)


def event_frames(count: int, steps: int, size: int, density: float, seed: int = 0) -> np.ndarray:
    """Frames of moving edges, about `density` of the pixels active: unsigned 4-bit messages (n, T, 2, size, size)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    frames = np.zeros((count, steps, 2, size, size), dtype=np.int32)
    for n in range(count):
        angle, offset, speed = rng.uniform(0, np.pi), rng.uniform(-size / 4, size / 4), rng.uniform(-2, 2)
        for t in range(steps):
            distance = np.abs((x - size / 2) * np.cos(angle) + (y - size / 2) * np.sin(angle) - offset - speed * t)
            for polarity in (0, 1):
                edge = np.abs(distance - 3 * polarity) < density * size / 2
                frames[n, t, polarity] = edge * rng.integers(0, 4, (size, size))
    return frames


def _messages(images: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(images * CONTRAST), -128, 127).astype(np.int32)[:, None]


_AS_IS = Preprocessing(1.0, (0.0,), (1.0,))
_ONE = np.ones((1, 1), dtype=np.int32)
_ZERO = np.zeros((1, 1), dtype=np.int32)


class _Builder:
    """Adds nodes one by one, and looks at the currents of the calibration samples as it goes."""

    def __init__(self, source: Input, steps: int, samples: np.ndarray, density: float) -> None:
        self.input, self.steps, self.samples, self.density = source, steps, samples, density
        self.rng = np.random.default_rng(1)
        self.nodes: list[Node] = []
        self.shapes = {INPUT: source.shape}
        self.simulator = Simulator()

    def add(self, node: Node) -> str:
        self.nodes.append(node)
        self.shapes[node.name] = (
            node.shape if isinstance(node, Population) else node.output_shape(self.shapes[node.source])
        )
        return node.name

    def population(self, name: str, ports: list[Port], dynamics, message: Message, bias: np.ndarray = _ZERO) -> str:
        return self.add(Population(name, self.shapes[ports[0].source], tuple(ports), bias, dynamics, message))

    def conv(self, name: str, source: str, outputs: int, kernel: int, stride: int, bits: int = 2) -> str:
        reach = 127 if bits == 8 else 1
        weight = self.rng.integers(-reach, reach + 1, (outputs, self.shapes[source][0], kernel, kernel))
        op = Conv2d(weight.astype(np.int8), bits, (stride, stride), (kernel // 2, kernel // 2))
        return self.add(Synapse(name, source, op))

    def block(self, name: str, x: str, width: int, stride: int) -> str:
        """h = conv1(act1(x)); y = conv2(act2(h)) + (x or conv1x1(x))."""
        spikes = self.fire(f"{name}.act1", x, parallel=False)
        hidden = self.conv(f"{name}.conv1", spikes, width, 3, stride)
        spikes = self.fire(f"{name}.act2", hidden, parallel=True)
        ports = [self.conv(f"{name}.conv2", spikes, width, 3, 1)]
        ports.append(x if stride == 1 else self.conv(f"{name}.shortcut", x, width, 1, stride))
        return self.relay(f"{name}.current", ports)

    def relay(self, name: str, sources: list[str], message: Message = RESIDUAL, spread: int = CURRENT) -> str:
        return self.population(name, [self.port(s, spread / len(sources) ** 0.5) for s in sources], Relay(), message)

    def fire(self, name: str, source: str, parallel: bool) -> str:
        """Neurons of which the wanted share spikes; parameters differ by channel and, with a leak, by step."""
        channels, steps = self.shapes[source][0], 1 if parallel else self.steps
        gains = self.rng.uniform(0.7, 1.3, (steps, channels))
        port = self.port(source, CURRENT, gains)
        currents = self.observe(port, Message(16, True, 1.0))
        bias = self.rng.integers(-CURRENT // 8, CURRENT // 8, (steps, channels))
        theta = np.full((steps, 1), int(np.quantile(currents, 1 - self.density)))
        if parallel:
            return self.population(name, [port], ParallelFiring(theta, SPIKE_SHIFT), SPIKES, bias)
        leak = np.full((steps, 1), (1 << LEAK_SHIFT) // 2)
        return self.population(name, [port], HybridFiring(leak, LEAK_SHIFT, theta, SPIKE_SHIFT), SPIKES, bias)

    def port(self, source: str, spread: float, gains: np.ndarray | None = None) -> Port:
        """A port that brings its source to a standard deviation of `spread`, times a gain per step and channel."""
        gains = np.ones((1, 1)) if gains is None else gains
        coarse = 0
        seen = self.observe(Port(source, _ONE, 0), Message(16, True, 1.0))
        while np.abs(seen).max() >= (1 << 15) - 1:
            coarse += 4
            seen = self.observe(Port(source, _ONE, coarse), Message(16, True, 1.0))
        scale = gains * spread / (float(seen.std()) * 2.0**coarse)
        shift = int(np.floor(np.log2(((1 << 15) - 1) / scale.max())))
        return Port(source, np.rint(scale * 2.0**shift).astype(np.int64), max(shift, 0))

    def observe(self, port: Port, message: Message) -> np.ndarray:
        """What a relay behind `port` would send for the calibration samples."""
        probe = Population("probe", self.shapes[port.source], (port,), _ZERO, Relay(), message)
        taps = self.simulator.run(self._finished([*self.nodes, probe], "probe", probe.shape, 2), self.samples)
        return taps.messages["probe"]

    def program(self, source: str, classes: int) -> Program:
        return self._finished(self.nodes, source, self.shapes[source], classes)

    def _finished(self, nodes: list[Node], source: str, shape: tuple[int, ...], classes: int) -> Program:
        weight = self.rng.integers(-127, 128, (classes, int(np.prod(shape)))).astype(np.int8)
        return Program(
            time_steps=self.steps,
            state_bits=24,
            accumulator_bits=32,
            input=self.input,
            nodes=(*nodes, Synapse("classifier", source, Linear(weight, 8))),
            readout=Readout("classifier", np.zeros(classes, np.int64), 1.0),
        )
