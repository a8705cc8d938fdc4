"""What neurons that fire above a threshold share in the compiler: thresholds, spikes, the LSB of the membrane."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmdf.sim.arithmetic import integer_range
from hmdf.sim.contract import Dynamics, Message, Population
from hmdf.sim.finding import Finding
from hmdf.train.neurons import Neuron

from ..graph import Array, AtStep, FloatDynamics, FoldedPopulation
from ..integers import ChosenIntegers, Fitted, Settled, largest_shift, rounded
from ..passes.calibrate import best_lsb

MAX_SPIKE_SHIFT = 12
LEAST_PROVEN_SHIFT = 6
"""Below 64 membrane steps per spike LSB, precision is worth more than a proof that no state can saturate."""
MOST_LEAK_SHIFT = 15
MARGIN = 4
"""How many times the calibrated peak of a membrane fits its register where no clamp is proven away."""


@dataclass(frozen=True)
class SpikeFormat:
    """The training-time quantiser of a graded spike: unsigned, `bits` bits, LSB worth `lsb`."""

    bits: int
    lsb: float


@dataclass(frozen=True)
class FloatMembrane(FloatDynamics):
    """A neuron whose message is made from a membrane in steps of 1 / 2^shift."""

    @abstractmethod
    def message(self, name: str, settled: Settled) -> Fitted:
        """The message that population `name` sends."""

    @abstractmethod
    def in_units(self, unit: float, spike_shift: int, state_bits: int) -> Dynamics:
        """The neurons with `unit` as the real value of one LSB of the membrane."""

    def to_integers(self, node: FoldedPopulation, settled: Settled) -> ChosenIntegers:
        """One LSB of the membrane is that of the spike / 2^shift, with the largest shift for which no clamp can fire.

        If that is below LEAST_PROVEN_SHIFT, the largest with a margin over the calibrated peak.
        """
        state_bits, peak = settled.registers.state_bits, settled.statistics.peaks[node.name]
        fitted = self.message(node.name, settled)
        message, findings = fitted.message, (*fitted.findings, *self._too_large_leaks(node.name))
        chosen: Population | None = None
        for shift in range(MAX_SPIKE_SHIFT, -1, -1):
            unit = message.scale * 2.0**-shift
            population = settled.build(node, self.in_units(unit, shift, state_bits), message, unit)
            if population is None:
                continue
            proven = not settled.prove(population)[1].state_clamps
            if proven and (chosen is None or shift >= LEAST_PROVEN_SHIFT):
                return ChosenIntegers(population, findings)
            if chosen is None and MARGIN * peak / unit < 2 ** (state_bits - 1):
                chosen = population
        if chosen is not None:
            return ChosenIntegers(chosen, findings)
        coarse = settled.too_coarse(node, self.in_units(np.inf, 0, state_bits), message)
        return ChosenIntegers(coarse.population, (*findings, *coarse.findings))

    def _too_large_leaks(self, name: str) -> Iterator[Finding]:
        for leak in self.integer.facts.leaks:
            if largest_shift(values := getattr(self, leak), MOST_LEAK_SHIFT) < 0:
                problem = f"its {leak} reaches {np.abs(values).max():g}, beyond 16 bits"
                yield Finding(name, problem, "its membrane normalisation has a vanishing variance")


@dataclass(frozen=True)
class FloatFiring(FloatMembrane):
    """A neuron with a threshold, (T or 1, C or 1)."""

    threshold: Array

    module: ClassVar[type[Neuron]]
    """The class that it is trained as, if it is."""

    @classmethod
    def from_module(cls, module: Any) -> FloatFiring:
        """The neurons of a trained layer, without its membrane normalisation."""
        raise NotImplementedError(f"{cls.__name__} is trained as no module")

    def threshold_in(self, unit: float, state_bits: int) -> NDArray[np.int64]:
        """The threshold in units, within the state range."""
        return np.clip(rounded(self.threshold / unit), *integer_range(state_bits, signed=True))


@dataclass(frozen=True)
class FloatGradedFiring(FloatFiring):
    """A neuron that sends what lies above its threshold; `spike` None means spikes that are not quantised."""

    spike: SpikeFormat | None

    @property
    def trained_bits(self) -> int | None:
        return None if self.spike is None else self.spike.bits

    def graded(self, m: Tensor, at: AtStep) -> Tensor:
        """s = ReLU(m - threshold), quantised as in training."""
        s = torch.relu(m - at(self.threshold))
        if self.spike is None:
            return s
        return (s / self.spike.lsb).round().clamp(0, 2**self.spike.bits - 1) * self.spike.lsb

    def message(self, name: str, settled: Settled) -> Fitted:
        """Bits and LSB of training; of fewer bits, the range is kept. Else the LSB of least squared error."""
        trained = self.spike
        if trained is not None:
            return settled.fit(
                name,
                lambda bits: Message(bits, False, trained.lsb * 2.0 ** (trained.bits - bits)),
                settled.config.bits.get(name, trained.bits),
                1,
            )
        values = settled.statistics.spikes.get(name, np.empty(0))
        values = values if values.size else np.ones(1)
        wanted = settled.config.bits.get(name, settled.config.spike_bits)
        return settled.fit(name, lambda bits: Message(bits, False, best_lsb(values, bits)), wanted, 1)


@dataclass(frozen=True)
class FloatBinaryFiring(FloatFiring):
    """A neuron that sends `worth` where its membrane v reaches the threshold, which it then takes off.

    initial: of v, (1, C or 1).
    """

    worth: float
    initial: Array

    def initial_state(self) -> Mapping[str, Array]:
        return {"v": self.initial} if self.initial.any() else {}

    def fired(self, m: Tensor, at: AtStep) -> tuple[Tensor, Tensor]:
        """The spikes of a membrane, and what it keeps."""
        threshold = at(self.threshold)
        s = (m >= threshold).to(m.dtype)
        return s * self.worth, m - s * threshold

    @property
    def only_message(self) -> Message:
        return Message(1, False, self.worth)

    def message(self, name: str, settled: Settled) -> Fitted:
        return settled.fit(name, lambda _: self.only_message, 1, 1)


@dataclass(frozen=True)
class FloatResetToZero(FloatFiring):
    """A binary neuron whose membrane is 0 after a spike; `above`: it fires above its threshold, not at it."""

    above: bool

    def fires(self, m: Tensor, at: AtStep) -> Tensor:
        """[m > threshold] or [m >= threshold]."""
        threshold = at(self.threshold)
        return ((m > threshold) if self.above else (m >= threshold)).to(m.dtype)

    @property
    def only_message(self) -> Message:
        return Message(1, False, 1.0)

    def message(self, name: str, settled: Settled) -> Fitted:
        return settled.fit(name, lambda _: self.only_message, 1, 1)

    def threshold_in(self, unit: float, state_bits: int) -> NDArray[np.int64]:
        """The least membrane that fires, within the state range."""
        real = self.threshold / unit
        least = np.floor(real) + 1 if self.above else np.ceil(real)
        return np.clip(least, *integer_range(state_bits, signed=True)).astype(np.int64)


def per_step(values: Tensor) -> Array:
    """(T,) as (T, 1)."""
    return values.detach().to("cpu", torch.float64).numpy().reshape(-1, 1)


def spike_format(module: Any) -> SpikeFormat | None:
    """The quantiser of a trained neuron's graded spikes."""
    return None if module.spike.bits is None else SpikeFormat(module.spike.bits, module.spike.lsb_value())


def scaled_leaks(*leaks: Array) -> tuple[list[NDArray[np.int64]], int]:
    """Leaks as multipliers with the largest shift for which all fit; zeros if there is none."""
    shift = min(largest_shift(leak, MOST_LEAK_SHIFT) for leak in leaks if leak.any()) if any(map(np.any, leaks)) else 0
    if shift < 0:
        return [np.zeros(leak.shape, np.int64) for leak in leaks], 0
    return [rounded(leak * 2.0**shift) for leak in leaks], shift
