"""What becomes a table: the sigmoid of channel attention (eq. 9), and spikes rounded to powers of two."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2

import numpy as np
import torch
from torch import Tensor

from hmdf.sim.contract import LookupTable, Message
from hmdf.train.neurons import powers_of_two

from ..graph import AtStep, Fired, FloatDynamics, FoldedPopulation
from ..integers import HEAD_ROOM, ChosenIntegers, Settled, rounded

INDEX_SHIFT = 8
"""Fraction bits of the current below one table entry, where a multiplier of 16 bits can express them."""


@dataclass(frozen=True)
class FloatSigmoid(FloatDynamics):
    """y = 1 / (1 + exp(-I))."""

    integer = LookupTable

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        return Fired(torch.sigmoid(current), current)

    def to_integers(self, node: FoldedPopulation, settled: Settled) -> ChosenIntegers:
        """256 entries over the calibrated range, in a power-of-two raster."""
        bits = settled.config.bits.get(node.name, settled.config.gate_bits)
        reach = HEAD_ROOM * max(settled.statistics.peaks[node.name], 1 / 16)
        raster = 2.0 ** -floor(log2(128 / reach))
        message = Message(bits, False, 2.0**-bits)
        entries = 1 / (1 + np.exp(np.clip(-np.arange(-128, 128) * raster, -700, 700)))
        table = np.clip(rounded(entries / message.scale), *message.range)
        for shift in range(INDEX_SHIFT, -1, -1):
            population = settled.build(node, LookupTable(table, shift), message, raster * 2.0**-shift)
            if population is not None:
                return ChosenIntegers(population)
        # One unit of what it reads crosses the whole table.
        return settled.too_coarse(node, LookupTable(table, 0), message)


@dataclass(frozen=True)
class FloatPowerOfTwo(FloatDynamics):
    """y = lsb * powers_of_two(bits)[I / lsb], of a spike I of `bits` bits."""

    bits: int
    lsb: float

    integer = LookupTable

    @property
    def trained_bits(self) -> int:
        return self.bits

    def step(self, current: Tensor, state: tuple[Tensor, ...], at: AtStep) -> Fired:
        levels = torch.tensor(powers_of_two(self.bits), dtype=current.dtype)
        return Fired(levels[(current / self.lsb).round().long()] * self.lsb, current)

    def to_integers(self, node: FoldedPopulation, settled: Settled) -> ChosenIntegers:
        """An entry for each message that is read."""
        read = settled.messages[node.ports[0].source]

        def message(bits: int) -> Message:
            return Message(bits, False, self.lsb * 2.0 ** (self.bits - bits))

        fitted = settled.fit(node.name, message, settled.config.bits.get(node.name, self.bits), 1)
        sent, values = fitted.message, np.arange(2**read.bits)
        table = np.zeros(256, np.int64)
        powers = np.array(powers_of_two(read.bits)) * (read.scale / sent.scale)
        table[128 + values] = np.clip(rounded(powers), *sent.range)
        population = settled.build(node, LookupTable(table, 0), sent, read.scale)
        assert population is not None  # what it reads has a multiplier of 1
        return ChosenIntegers(population, fitted.findings)
