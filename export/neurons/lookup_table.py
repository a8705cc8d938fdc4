"""The sigmoid of channel attention (eq. 9), which becomes a table."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2

import numpy as np
import torch
from torch import Tensor

from hmdf.sim.contract import LookupTable, Message

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
