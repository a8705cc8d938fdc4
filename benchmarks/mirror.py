"""A Program of LIF neurons as a torch module that NeuroBench can look into: the same integers, held in float64.

Synapses with weights become Conv2d and Linear, which NeuroBench counts as connections; LIF populations become spiking
neurons of snnTorch; pools and relays are plain functions, as they are in networks written by hand. Every intermediate
is below 2^53, so float64 is exact; the caller compares the spikes with the simulator's.
"""

from __future__ import annotations

import snntorch
import torch
from torch import Tensor, nn
from torch.nn import functional

from hmdf.sim.arithmetic import integer_range
from hmdf.sim.contract import INPUT, Conv2d, LeakyIntegrateAndFire, Linear, MaxPool, Population, Relay, SumPool, Synapse
from hmdf.sim.program import Program


class Mirror(nn.Module):
    """One time-step of a Program: messages (N, C, H, W) -> (accumulators of the read-out with their bias, None).

    Raises:
        ValueError: the program has a node that the mirror does not know.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.parts = nn.ModuleDict({key(node.name): _module(node, program) for node in program.nodes})
        self.sent: dict[str, list[Tensor]] = {population.name: [] for population in program.populations}
        self.step = 0

    def reset(self) -> None:
        """Before each batch, called by NeuroBench."""
        self.step = 0
        for sent in self.sent.values():
            sent.clear()
        for part in self.parts.values():
            if isinstance(part, IntegerLIF):
                part.mem = torch.zeros(1, dtype=torch.float64)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        values = {INPUT: x}
        for node in self.program.nodes:
            part = self.parts[key(node.name)]
            if isinstance(node, Synapse):
                source = values[node.source]
                values[node.name] = part(source.flatten(1) if isinstance(node.op, Linear) else source)
                continue
            values[node.name] = part(self._current(node, values))
            self.sent[node.name].append(values[node.name])
        self.step += 1
        return values[self.program.readout.source] + _tensor(self.program.readout.bias), None

    def _current(self, population: Population, values: dict[str, Tensor]) -> Tensor:
        shape = (1, -1, *(1,) * (len(population.shape) - 1))
        low, high = integer_range(self.program.state_bits, signed=True)

        def now(array) -> Tensor:
            return _tensor(array[self.step % len(array)]).reshape(shape)

        total = now(population.bias)
        for port in population.ports:
            taken = values[port.source].reshape(len(values[port.source]), *population.shape)
            total = total + _rshift(now(port.multiplier) * taken, port.shift)
        return total.clamp(low, high)


class IntegerLIF(snntorch.SpikingNeuron):
    """m = leak v + I; a spike where m reaches the threshold, which is then subtracted (docs/numerics.md)."""

    def __init__(self, population: Population, state_bits: int) -> None:
        super().__init__(init_hidden=True)
        dynamics = population.dynamics
        assert isinstance(dynamics, LeakyIntegrateAndFire)
        self.dynamics, self.range = dynamics, integer_range(state_bits, signed=True)
        self.per_channel = (1, -1, *(1,) * (len(population.shape) - 1))
        self.mem = torch.zeros(1, dtype=torch.float64)
        self.step = 0

    def forward(self, current: Tensor) -> Tensor:
        if self.mem.dim() == 1:  # the first step of a batch
            self.step = 0
        leak, threshold = self._now(self.dynamics.leak), self._now(self.dynamics.threshold)
        charged = (_rshift(leak * self.mem, self.dynamics.leak_shift) + current).clamp(*self.range)
        spikes = (charged >= threshold).double()
        self.mem = charged - spikes * threshold
        self.step += 1
        return spikes

    def _now(self, array) -> Tensor:
        return _tensor(array[self.step % len(array)]).reshape(self.per_channel)


class Pool(nn.Module):
    """Sum or maximum over windows; no connection for NeuroBench."""

    def __init__(self, op: SumPool | MaxPool) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        op = self.op
        if isinstance(op, MaxPool):
            return functional.max_pool2d(x, op.kernel, op.stride, op.padding)
        return functional.avg_pool2d(x, op.kernel, op.stride, op.padding, divisor_override=1)


class Clamp(nn.Module):
    """A relay: its current within the range of its message."""

    def __init__(self, population: Population) -> None:
        super().__init__()
        self.range = population.message.range

    def forward(self, current: Tensor) -> Tensor:
        return current.clamp(*self.range)


def key(name: str) -> str:
    """A node's name as the key of a ModuleDict, which takes no dots."""
    return name.replace(".", "/")


def _module(node: Synapse | Population, program: Program) -> nn.Module:
    match node:
        case Synapse(op=SumPool() | MaxPool()):
            return Pool(node.op)
        case Synapse(op=Conv2d(weight=weight) as op):
            outputs, inputs, *kernel = weight.shape
            sizes = inputs * op.groups, outputs, tuple(kernel)
            conv = nn.Conv2d(*sizes, op.stride, op.padding, op.dilation, op.groups, bias=False, dtype=torch.float64)
            conv.weight.data = _tensor(weight)
            return conv
        case Synapse(op=Linear(weight=weight)):
            linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64)
            linear.weight.data = _tensor(weight)
            return linear
        case Population(dynamics=LeakyIntegrateAndFire(), gate=None):
            return IntegerLIF(node, program.state_bits)
        case Population(dynamics=Relay(), gate=None):
            return Clamp(node)
    raise ValueError(f"'{node.name}' has no mirror: LIF neurons, relays, convolutions, linear layers and pools have")


def _tensor(array) -> Tensor:
    return torch.from_numpy(array.astype("float64"))


def _rshift(x: Tensor, bits: int) -> Tensor:
    """Round half up, as the integer contract does."""
    return torch.floor((x + 2.0 ** (bits - 1)) / 2.0**bits) if bits else x
