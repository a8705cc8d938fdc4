"""Loihi's own neuron, a current and a membrane with 12-bit decays: as Lava's own process where that has its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.type import LavaPyType
from lava.proc.lif.process import LIFReset

from hmdf_lava.arithmetic import clamp, toward_zero
from hmdf_lava.model import fixed_point_model_of
from hmdf_lava.processes.population import Population, PyPopulationModel

BITS = 12
UNIT = 1 << 6
"""Lava takes in a sum of weights, and is given a threshold, in units of 2^6."""
LIMIT = 1 << 23
"""Lava's u wraps from here on, and v is limited to less."""


class CurrentBasedLeakyIntegrateAndFire(Population):
    """u <- clamp(toward_zero(current_leak[t,c] * u, 12) + I, state range);

    m = clamp(toward_zero(leak[t,c] * v, 12) + u + membrane_bias[t,c], state range);  y = [m >= threshold[t,c]];
    v <- reset[t,c] where y, else m.

    Parameters: current_leak, leak, membrane_bias, threshold, reset (int64 (T or 1, C or 1)). Vars `u`: current,
    `v`: membrane.
    """

    STATES = ("u", "v")

    @staticmethod
    def lavas_own(entry: dict[str, Any], arrays: dict[str, np.ndarray], shapes: list[tuple[int, ...]]) -> Any:
        """Lava's LIFReset: its LIF, which begins anew with each sample."""
        numbers = _numbers(entry, arrays, shapes)
        if numbers is None:
            return None
        return lambda period: LIFReset(
            name=f"{entry['name']}.lif",
            shape=shapes[0],
            reset_interval=period,
            reset_offset=1 + entry["latency"],
            **numbers,
        )


def _numbers(
    entry: dict[str, Any], arrays: dict[str, np.ndarray], shapes: list[tuple[int, ...]]
) -> dict[str, Any] | None:
    """Lava's du, dv, vth and bias, or None where it cannot have what the population has.

    Lava's inputs are summed and shifted by 6 bits, none is left out; its decays and its threshold are one number each,
    v is reset to 0; u and v provably never reach the limits, at which Lava and the contract differ.
    """
    ports, (low, high) = entry["ports"], entry["proven"]["membrane"]
    scaled = [arrays[f"multiplier_{i}"] == UNIT << port["shift"] for i, port in enumerate(ports)]
    if entry["gate"] or entry["before"] or not all(s.all() for s in scaled) or arrays["bias"].any():
        return None
    if len(set(shapes)) > 1 or len({port["source"] for port in ports}) < len(ports):  # one connection between two ports
        return None
    if any(arrays[f"initial_{state}"].any() for state in entry["initial_states"]):
        return None
    if entry["proven"]["state_clamps"] or low <= -LIMIT or high >= LIMIT or arrays["reset"].any():
        return None
    single = [np.unique(arrays[name]) for name in ("current_leak", "leak", "threshold")]
    if any(len(values) > 1 for values in single) or len(arrays["membrane_bias"]) > 1:
        return None
    current_leak, leak, threshold = (int(values[0]) for values in single)
    bias = _mantissa_and_exponent(arrays["membrane_bias"][0])
    if current_leak > 4095 or leak < 1 or threshold < 1 or (threshold - 1) % UNIT or bias is None:
        return None
    mantissa, exponent = (_per_neuron(values, entry["shape"], shapes[0]) for values in bias)
    decays = {"du": 4095 - current_leak, "dv": 4096 - leak}
    return {**decays, "vth": (threshold - 1) // UNIT, "bias_mant": mantissa, "bias_exp": exponent}


def _mantissa_and_exponent(bias: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """bias = mantissa * 2^exponent with a signed mantissa of 13 bits and an exponent of 3, or None."""
    exponents = np.arange(8)
    mantissas = bias[:, np.newaxis] >> exponents
    exact = (mantissas << exponents == bias[:, np.newaxis]) & (mantissas >= -4096) & (mantissas <= 4095)
    first = exact.argmax(axis=1)
    return (mantissas[np.arange(len(bias)), first], first) if exact.any(axis=1).all() else None


def _per_neuron(values: np.ndarray, shape: list[int], as_sent: tuple[int, ...]) -> np.ndarray:
    """Values by channel for neurons of `shape`, (C, H, W) or (F,), in the order of (W, H, C) or of a flat message."""
    full = np.broadcast_to(values.reshape(-1, *(1,) * (len(shape) - 1)), shape)
    return np.ascontiguousarray(full.transpose() if len(as_sent) == 3 else full.reshape(as_sent))


@fixed_point_model_of(CurrentBasedLeakyIntegrateAndFire)
class PyCurrentBasedLeakyIntegrateAndFireModel(PyPopulationModel):
    u: np.ndarray = LavaPyType(np.ndarray, np.int64)
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)
    current_leak: np.ndarray = LavaPyType(np.ndarray, np.int64)
    leak: np.ndarray = LavaPyType(np.ndarray, np.int64)
    membrane_bias: np.ndarray = LavaPyType(np.ndarray, np.int64)
    threshold: np.ndarray = LavaPyType(np.ndarray, np.int64)
    reset: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        self.u = clamp(toward_zero(self.at(t, self.current_leak) * self.u, BITS) + current, self.state_range)
        decayed = toward_zero(self.at(t, self.leak) * self.v, BITS)
        membrane = clamp(decayed + self.u + self.at(t, self.membrane_bias), self.state_range)
        spike = membrane >= self.at(t, self.threshold)
        self.v = np.where(spike, self.at(t, self.reset), membrane)
        return spike.astype(np.int64)
