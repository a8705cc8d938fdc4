"""How the models of the Processes are declared to Lava."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


def fixed_point_model_of(process: type[AbstractProcess]) -> Callable[[type[Any]], type[Any]]:
    """Declares a class as the fixed-point model of `process` on the CPU."""

    def declared(model: type[Any]) -> type[Any]:
        return implements(proc=process, protocol=LoihiProtocol)(requires(CPU)(tag("fixed_pt")(model)))

    return declared
