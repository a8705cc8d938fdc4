"""What all populations share: ports with multipliers, bias, gate, time and the recording of messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var

from hmdf_lava.arithmetic import clamp, rshift

MAX_PORTS = 32
"""In-ports of a population. Lava wants every port of a model declared, so there is a limit."""


class Population(AbstractProcess):
    """Neurons: at logical step n = time_step - 1 - latency, t = n mod period, channel c:

        I = sum over ports of rshift(multiplier[t,c] * in, shift) + bias[t,c]
        I = rshift(I * gate[c], gate_shift) + gate_bias[t,c]              only with a gate
        I = clamp(I, state_range)

    then the dynamics of the subclass. At t = 0 the state starts from `initial`. No step is added: what arrives in a
    step leaves in the same step.

    Args:
        shape: (C, H, W) or (F,).
        latency: number of connections and delays between the input and this population, on every path.
        period: T, steps of a sample.
        state_range, message_range: smallest and largest integer of membrane and current, and of the message.
        ports: (multiplier, shift) by port; the port i is `in_{i}`. A multiplier is int64 (T or 1, C or 1).
        port_shapes: what each port takes in: (W, H, C), or (size,) in C order of `shape`.
        before: numbers of the ports that bring what was sent at the step before; at t = 0 they are taken for 0.
        bias: int64 (T or 1, C or 1).
        gate: (shift, bias), or None; the gate's message (C,) comes in at `gate_in`.
        initial: int64 (1, C or 1) by state, its value before the first step of a sample; 0 where it has none.
        tap: path of an .npy file, int32 (N, T, *shape), that the model fills with its messages; "" = none.
        parameters: of the dynamics; every array becomes a Var.

    Ports: `in_0` ... and `gate_in`; `s_out` (W, H, C) and `flat_out` (size,) in C order of `shape`.
    """

    STATES: tuple[str, ...] = ()
    """Vars (*shape) that the dynamics keep from step to step."""

    @staticmethod
    def lavas_own(entry: dict[str, Any], arrays: dict[str, np.ndarray], shapes: list[tuple[int, ...]]) -> Any:
        """Makes, of the period T, the process of Lava's library that has these neurons; None where none has.

        Args:
            entry: of graph.json.
            arrays: its arrays by name.
            shapes: what each port takes in.
        """
        return None

    def __init__(
        self,
        *,
        name: str,
        shape: tuple[int, ...],
        latency: int,
        period: int,
        state_range: tuple[int, int],
        message_range: tuple[int, int],
        ports: list[tuple[np.ndarray, int]],
        port_shapes: list[tuple[int, ...]],
        before: list[int],
        bias: np.ndarray,
        gate: tuple[int, np.ndarray] | None,
        tap: str,
        initial: dict[str, np.ndarray],
        parameters: dict[str, Any],
    ) -> None:
        super().__init__(
            name=name,
            shape=shape,
            latency=latency,
            period=period,
            state_range=state_range,
            message_range=message_range,
            ports=ports,
            before=before,
            gate=gate,
            tap=tap,
            initial={state: initial.get(state, np.zeros((1, 1), np.int64)) for state in self.STATES},
            **{key: value for key, value in parameters.items() if not isinstance(value, np.ndarray)},
        )
        for index in range(MAX_PORTS):
            setattr(self, f"in_{index}", InPort(shape=port_shapes[index] if index < len(ports) else (1,)))
        self.gate_in = InPort(shape=(shape[0],))
        self.s_out = OutPort(shape=tuple(reversed(shape)))
        self.flat_out = OutPort(shape=(int(np.prod(shape)),))
        self.bias = Var(shape=bias.shape, init=bias)
        for state in self.STATES:
            setattr(self, state, Var(shape=shape, init=0))
        for key, value in parameters.items():
            if isinstance(value, np.ndarray):
                setattr(self, key, Var(shape=value.shape, init=value))


class PyPopulationModel(PyLoihiProcessModel):
    """Base of the models: a subclass has `fire` (one step of its dynamics)."""

    gate_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    flat_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    bias: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.shape: tuple[int, ...] = proc_params["shape"]
        self.latency: int = proc_params["latency"]
        self.period: int = proc_params["period"]
        self.state_range: tuple[int, int] = proc_params["state_range"]
        self.message_range: tuple[int, int] = proc_params["message_range"]
        self.ports: list[tuple[np.ndarray, int]] = proc_params["ports"]
        self.before: list[int] = proc_params["before"]
        self.gate: tuple[int, np.ndarray] | None = proc_params["gate"]
        path = proc_params["tap"]
        self.tap = np.load(path, mmap_mode="r+", allow_pickle=False) if path else None

    def fire(self, t: int, current: np.ndarray) -> np.ndarray:
        """Update the state at step t of a sample by the current, int64 (*shape); return the message, same shape."""
        raise NotImplementedError

    def at(self, t: int, parameter: np.ndarray) -> np.ndarray:
        """Row t of a (T or 1, C or 1) parameter, shaped to broadcast over `shape`."""
        return parameter[t % len(parameter)].reshape(-1, *(1,) * (len(self.shape) - 1))

    def leaked(self, t: int, leak: np.ndarray, state: np.ndarray) -> np.ndarray:
        """rshift(leak[t,c] * state, leak_shift)."""
        return rshift(self.at(t, leak) * state, self.proc_params["leak_shift"])

    def run_spk(self) -> None:
        current, step = self._receive(), self.time_step - 1 - self.latency
        if step < 0:
            message = np.zeros(self.shape, np.int64)
        else:
            sample, t = divmod(step, self.period)
            if t == 0:
                for state, value in self.proc_params["initial"].items():
                    getattr(self, state)[:] = self.at(0, value)
            message = self.fire(t, self._current(t, *current))
            if self.tap is not None and sample < len(self.tap):
                self.tap[sample, t] = message
        self._send(message.astype(np.int32))

    def _receive(self) -> tuple[list[np.ndarray], np.ndarray | None]:
        inputs = [getattr(self, f"in_{index}").recv() for index in range(len(self.ports))]
        # (W, H, C) becomes (C, H, W); a flat input is in that order already.
        arrays = [array.transpose().reshape(self.shape).astype(np.int64) for array in inputs]
        return arrays, None if self.gate is None else self.gate_in.recv().astype(np.int64)

    def _current(self, t: int, inputs: list[np.ndarray], gate: np.ndarray | None) -> np.ndarray:
        current = np.zeros(self.shape, np.int64) + self.at(t, self.bias)
        for index, (array, (multiplier, shift)) in enumerate(zip(inputs, self.ports, strict=True)):
            if t == 0 and index in self.before:
                continue
            current += rshift(self.at(t, multiplier) * array, shift)
        if self.gate is not None and gate is not None:
            shift, bias = self.gate
            current = rshift(current * self.at(0, gate[np.newaxis]), shift) + self.at(t, bias)
        return clamp(current, self.state_range)

    def _send(self, message: np.ndarray) -> None:
        self.s_out.send(message.transpose())
        self.flat_out.send(message.reshape(-1))


for _index in range(MAX_PORTS):
    setattr(PyPopulationModel, f"in_{_index}", LavaPyType(PyInPort.VEC_DENSE, np.int32))
