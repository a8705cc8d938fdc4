"""From an ANN of QCFS activations (LM-H, ICLR 2024, eq. 10) to a network of LM-H neurons (section 4.4, algorithm 1)."""

import dataclasses
import re
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import Checkpoint
from .errors import ModelError
from .networks import NetworkSpec, build

__all__ = ["convert"]


def convert(
    ann: Checkpoint, neuron: str = "lm-h", time_steps: int | None = None, norm: str | None = None
) -> tuple[NetworkSpec, dict[str, Tensor]]:
    """(spec, state_dict) of the network of LM-H neurons to go on training with.

    Weights and BatchNorms are the ANN's, a threshold is its theta, and the neurons start as mu_D = mu_S = 0,
    lambda_S = lambda_D = 1 with v_0 = theta / 2, whatever the ANN's initial_potential says. The mean over time of a
    neuron's spikes is then the ANN's activation for a current that does not change and T = L; layers behind the first
    see spikes, for which it is nearly so.

    Args:
        neuron: lm-h or lm-h-radical.
        time_steps: T; None is L.
        norm: what the BatchNorms normalise over from now on; None is what the ANN has.

    Raises ModelError for what cannot be converted, with the reason.
    """
    spec = ann.network
    if spec.neuron != "qcfs":
        raise ModelError(f"only an ANN of qcfs neurons is converted (got {spec.neuron}); train it with --neuron qcfs")
    if neuron not in ("lm-h", "lm-h-radical"):
        raise ModelError(f"a network of qcfs neurons becomes one of lm-h or lm-h-radical neurons (got {neuron})")
    if ann.slim:
        raise ModelError("a slim checkpoint has no real-valued weights to go on from; take the model.pt of the run")
    # theta of each layer is its own; that of the spec was where it started
    steps = spec.levels if time_steps is None else time_steps
    starts = {"threshold": None, "initial_potential": 0.5}
    changed: dict[str, Any] = {"neuron": neuron, "time_steps": steps, "norm": norm or spec.norm, **starts}
    converted = dataclasses.replace(spec, **changed)
    with torch.device("meta"):
        model = build(converted)
    if any(isinstance(module, nn.MaxPool2d) for module in model.modules()):
        problem = "a max-pool of spikes is not the max-pool of their mean"
        raise ModelError(f"{spec.name} has a max-pool, and {problem}: train the ANN with --pool average, --stem cifar")
    return converted, {name: _value(ann, name, wanted) for name, wanted in model.state_dict().items()}


def _value(ann: Checkpoint, name: str, wanted: Tensor) -> Tensor:
    layer, _, kind = name.rpartition(".spike.")
    if kind == "lsb":  # what a spike is worth
        return ann.state[f"{layer}.theta"].abs()
    name = re.sub(r"\.norms\.\d+\.", ".", name)  # the ANN has one step
    of_each = re.sub(r"(\w+)$", r"norms.0.\1", name)  # where the ANN's norm is "each"
    known = next((ann.state[n] for n in (name, of_each) if n in ann.state), None)
    return torch.zeros(wanted.shape, dtype=wanted.dtype) if known is None else known.clone()
