"""Builds the Lava Processes of a bundle from `graph.json` and `arrays.npz` and connects them."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

from hmdf_lava.processes.delay import Delay
from hmdf_lava.processes.max_pool import MaxPool
from hmdf_lava.processes.population import Population
from hmdf_lava.processes.readout import Readout
from hmdf_lava.processes.source import Source

GRADED = 16
"""num_message_bits: on the CPU only zero (binary spikes) or not matters."""


def process_of(dynamics: str) -> type[Population]:
    """The Process of a kind of neuron, from the file of that name: "lookup_table" is LookupTable."""
    if not dynamics.isidentifier():
        raise ValueError(f"'{dynamics}' is no kind of neuron")
    module = import_module(f"hmdf_lava.processes.{dynamics}")
    return getattr(module, "".join(word.capitalize() for word in dynamics.split("_")))


class Network:
    """The Processes of a bundle by name, connected.

    Args:
        folder: of the bundle.
        messages: path of the input messages (N, 1 or T, *input shape).
        logits: path of an .npy file, int64 (N, classes), zeros, to be filled.
        taps: by population, path of an .npy file, int32 (N, T, *shape), to be filled; may be empty.
    """

    def __init__(self, folder: Path, messages: Path, logits: Path, taps: dict[str, Path]) -> None:
        self.graph = json.loads((folder / "graph.json").read_text())
        self.messages, self.logits, self.taps = messages, logits, taps
        self.processes: dict[str, AbstractProcess] = {}
        self._later: list[tuple[str, str, InPort]] = []
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            self.arrays = dict(arrays)
        for entry in self.graph["processes"]:
            self.processes[entry["name"]] = getattr(self, f"_{entry['kind']}")(entry)
        for name, port, target in self._later:
            getattr(self.processes[name], port).connect(target)

    @property
    def base(self) -> AbstractProcess:
        """The process from which Lava finds all others."""
        return self.processes[self.graph["processes"][0]["name"]]

    # ------------------------------------------------------------- input and read-out

    def _source(self, entry: dict[str, Any]) -> Source:
        shape = tuple(entry["shape"])
        return Source(name=entry["name"], shape=shape, messages=str(self.messages), period=self.graph["time_steps"])

    def _readout(self, entry: dict[str, Any]) -> Readout:
        process = Readout(
            name=entry["name"],
            bias=self._array(entry, "bias"),
            period=self.graph["time_steps"],
            latency=entry["latency"],
            before=entry["before"],
            logits=str(self.logits),
        )
        self._output(entry["source"]).connect(process.a_in)
        return process

    # ------------------------------------------------------------------- connections

    def _conv(self, entry: dict[str, Any]) -> Conv:
        """Lava's Conv is a true convolution in (x, y): the kernel (C_out, C_in, y, x) is transposed and flipped."""
        weight = self._array(entry, "weight").transpose(0, 3, 2, 1)[:, ::-1, ::-1, :]
        process = Conv(
            name=entry["name"],
            weight=np.ascontiguousarray(weight),
            input_shape=tuple(entry["input_shape"]),
            stride=tuple(entry["stride"]),
            padding=tuple(entry["padding"]),
            dilation=tuple(entry["dilation"]),
            groups=entry["groups"],
            num_message_bits=GRADED,
        )
        self._later.append((entry["source"], "s_out", process.s_in))
        return process

    def _max_pool(self, entry: dict[str, Any]) -> MaxPool:
        geometry = {key: tuple(entry[key]) for key in ("input_shape", "output_shape", "kernel", "stride", "padding")}
        process = MaxPool(name=entry["name"], **geometry)
        self._later.append((entry["source"], "s_out", process.s_in))
        return process

    def _dense(self, entry: dict[str, Any]) -> Dense:
        return self._matrix(entry, Dense, self._array(entry, "weight"))

    def _sparse(self, entry: dict[str, Any]) -> Sparse:
        parts = [self._array(entry, part) for part in ("data", "indices", "indptr")]
        return self._matrix(entry, Sparse, csr_matrix(tuple(parts), shape=tuple(entry["shape"])))

    def _matrix(self, entry: dict[str, Any], process_class: type[Any], weights: Any) -> Any:
        """Dense and Sparse drop bit 0 of mixed-sign weights: twice the weight and half the result is exact.

        The sign mode is given because Lava clips a matrix of only negative weights at -255.
        """
        process = process_class(
            name=entry["name"],
            weights=weights * 2,
            weight_exp=-1,
            sign_mode=SignMode.MIXED,
            num_message_bits=GRADED,
        )
        self._later.append((entry["source"], "flat_out", process.s_in))
        return process

    def _delay(self, entry: dict[str, Any]) -> Delay:
        source = self._output(entry["source"])
        process = Delay(name=entry["name"], shape=source.shape, steps=entry["steps"])
        source.connect(process.s_in)
        return process

    # ------------------------------------------------------------------- populations

    def _population(self, entry: dict[str, Any]) -> Population:
        sources = [self._output(port["source"]) for port in entry["ports"]]
        kind, shapes = process_of(entry["dynamics"]), [source.shape for source in sources]
        own = kind.lavas_own(entry, self._arrays(entry), shapes)
        if own is not None:
            return self._lavas_own(entry, own(self.graph["time_steps"]), sources)
        multipliers = [self._array(entry, f"multiplier_{index}") for index in range(len(sources))]
        gate = entry["gate"]
        process = kind(
            name=entry["name"],
            shape=tuple(entry["shape"]),
            latency=entry["latency"],
            period=self.graph["time_steps"],
            state_range=tuple(self.graph["state_range"]),
            message_range=tuple(entry["message_range"]),
            ports=[(m, port["shift"]) for m, port in zip(multipliers, entry["ports"], strict=True)],
            port_shapes=shapes,
            before=entry["before"],
            bias=self._array(entry, "bias"),
            gate=gate and (gate["shift"], self._array(entry, "gate_bias")),
            tap=str(self.taps.get(entry["name"], "")),
            initial={state: self._array(entry, f"initial_{state}") for state in entry["initial_states"]},
            parameters={
                **entry["parameters"],
                **{name: self._array(entry, name) for name in entry["parameter_arrays"]},
            },
        )
        for index, source in enumerate(sources):
            source.connect(getattr(process, f"in_{index}"))
        if gate:
            self._output(gate["source"]).connect(process.gate_in)
        return process

    def _lavas_own(self, entry: dict[str, Any], neurons: AbstractProcess, sources: list[OutPort]) -> Population:
        """The neurons of Lava's library, and a relay under the population's name that records and passes on."""
        for source in sources:
            source.connect(neurons.a_in)
        self.processes[neurons.name] = neurons
        zero, one = np.zeros((1, 1), np.int64), np.ones((1, 1), np.int64)
        relay = process_of("relay")(
            name=entry["name"],
            shape=tuple(entry["shape"]),
            latency=entry["latency"],
            period=self.graph["time_steps"],
            state_range=tuple(self.graph["state_range"]),
            message_range=tuple(entry["message_range"]),
            ports=[(one, 0)],
            port_shapes=[neurons.s_out.shape],
            before=[],
            bias=zero,
            gate=None,
            initial={},
            tap=str(self.taps.get(entry["name"], "")),
            parameters={},
        )
        neurons.s_out.connect(relay.in_0)
        return relay

    def _output(self, name: str) -> OutPort:
        """What a process sends to all but Conv and MaxPool: an accumulator as it is, a message flat."""
        process = self.processes[name]
        return process.a_out if hasattr(process, "a_out") else process.flat_out

    def _arrays(self, entry: dict[str, Any]) -> dict[str, np.ndarray]:
        """All arrays of a process, by part."""
        start = f"{entry['name']}/"
        return {
            name.removeprefix(start): self._array(entry, name.removeprefix(start))
            for name in self.arrays
            if name.startswith(start)
        }

    def _array(self, entry: dict[str, Any], part: str) -> np.ndarray:
        array = self.arrays[f"{entry['name']}/{part}"]
        return array.astype(np.int32 if part in ("weight", "data", "indices", "indptr") else np.int64)
