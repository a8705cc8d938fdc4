"""Layers of called modules: what each module of torch.nn and of hmdf becomes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from hmdf.sim.contract import Conv2d, Linear, MaxPool, SumPool
from hmdf.train.attention import SECA
from hmdf.train.neurons import Neuron, NormalisedNeuron, QuantisedActivation
from hmdf.train.step_norm import StepBatchNorm2d
from hmdf.train.synapses import LowBit

from ..graph import (
    Array,
    AttentionLayer,
    FiringLayer,
    FlattenLayer,
    Layer,
    MembraneNorm,
    NormLayer,
    PoolLayer,
    WeightLayer,
)
from ..neurons import TRAINED, FloatPowerOfTwo
from ..neurons.firing import spike_format
from .calls import Call, Refused, array, pair, shape_of


def layers_of_module(call: Call, module: nn.Module) -> tuple[Layer, ...]:
    """The layers that a call of `module` becomes, its value the last one's; none where it is its first argument's.

    Raises:
        Refused: there is none.
    """
    for kind, make in _LAYERS.items():
        if isinstance(module, kind):
            made = make(call, module)
            return made if isinstance(made, tuple) else () if made is None else (made,)
    raise Refused(f"{type(module).__name__} is not supported", "replace it by a supported layer")


def flatten(call: Call, start: Any, end: Any) -> Layer:
    """The layer of a flattening of the axes start..end."""
    if (start, end) not in ((1, -1), (1, 3), (-3, -1)):
        raise Refused(f"flattening axes {start}..{end} is not supported", "use torch.flatten(x, 1)")
    return FlattenLayer(call.function_name("flat"), call.shape, call.source)


# ------------------------------------------------------------------------------ weights


def _low_bit(call: Call, module: Any) -> Layer:
    _check_finite(module)
    integer, scale = module.quantized()
    return _weighted(call, module, array(integer), array(scale), module.weight_bits)


def _full_precision(call: Call, module: Any) -> Layer:
    _check_finite(module)
    weight = array(module.weight)
    return _weighted(call, module, weight, np.ones(len(weight)), 0)


def _weighted(call: Call, module: Any, weight: Array, scale: Array, weight_bits: int) -> Layer:
    op: Conv2d | Linear = Linear(weight, weight_bits)
    if isinstance(module, nn.Conv2d):
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            problem = f"padding {module.padding!r} in mode {module.padding_mode!r} is not supported"
            raise Refused(problem, "use a number of zeros")
        geometry = (pair(module.stride), pair(module.padding), pair(module.dilation))
        op = Conv2d(weight, weight_bits, *geometry, module.groups)
    elif call.source != ("",) and len(given := shape_of(call.operand)) != 1:
        raise Refused(f"a linear layer on {given}", "flatten first: torch.flatten(x, 1)")
    bias = np.zeros(len(weight)) if module.bias is None else array(module.bias)
    return WeightLayer(call.module_name(), call.shape, call.source, op, scale, bias)


# -------------------------------------------------------------- normalisations, neurons


def _norm(call: Call, module: Any) -> Layer:
    return NormLayer(call.module_name(), call.shape, call.source, *_gain_and_offset(module))


def _norm_of_steps(call: Call, module: Any) -> Layer:
    gains, offsets = zip(*(_gain_and_offset(norm) for norm in module.norms), strict=True)
    return NormLayer(call.module_name(), call.shape, call.source, np.stack(gains), np.stack(offsets))


def _gain_and_offset(module: Any) -> tuple[Array, Array]:
    """Of a BatchNorm with its running statistics, (C,)."""
    if module.running_mean is None:
        raise Refused("BatchNorm without running statistics depends on the batch", "track_running_stats=True")
    _check_finite(module)
    _check_variance(module)
    gain = 1 / np.sqrt(array(module.running_var) + module.eps)
    if module.affine:
        gain = gain * array(module.weight)
    offset = -gain * array(module.running_mean)
    if module.affine:
        offset = offset + array(module.bias)
    return gain, offset


def _neuron(call: Call, module: Neuron) -> Layer | tuple[Layer, ...]:
    if isinstance(module, QuantisedActivation):
        problem = "an ANN's QCFS activation sends no spikes"
        raise Refused(problem, "make a spiking network of the ANN: hmdf-train --from model.pt --neuron lm-h")
    kind = TRAINED.get(type(module))
    if kind is None:
        raise Refused(f"{type(module).__name__} is not a neuron the compiler knows", "use a supported one")
    if call.calls > 1 and kind.integer.facts.states:
        problem = f"a neuron with a membrane is called {call.calls} times in one time-step"
        raise Refused(problem, "give each call a neuron of its own")
    _check_finite(module)
    norm = _membrane_norm(module) if isinstance(module, NormalisedNeuron) and module.mpbn else None
    neuron = kind.from_module(module)
    for state, values in neuron.initial_state().items():
        if not np.isfinite(values).all():
            raise Refused(f"its state {state} is {values.flat[0]:g} before the first step", "give it a finite one")
    layer = FiringLayer(call.module_name(), call.shape, call.source, neuron, norm)
    spike = spike_format(module)
    if spike is None or module.spike.activation != "power-of-two":
        return layer
    steps = FloatPowerOfTwo(spike.bits, spike.lsb)
    return layer, FiringLayer(call.function_name("powers"), call.shape, (layer.name,), steps, None)


def _membrane_norm(module: NormalisedNeuron) -> MembraneNorm:
    norms: list[Any] = list(module.norms)
    for norm in norms:
        _check_variance(norm)

    def stacked(name: str) -> Array:
        return np.stack([array(getattr(norm, name)) for norm in norms])

    return MembraneNorm(
        alpha=array(module.alpha()),
        beta=array(module.beta()),
        gamma=stacked("weight"),
        mean=stacked("running_mean"),
        variance=stacked("running_var"),
        shift=stacked("bias"),
        eps=norms[0].eps,
    )


def _attention(call: Call, module: Any) -> Layer:
    _check_finite(module)
    pooled = call.argument(1, "pooled_from")
    sources = (*call.source, *(call.source if pooled is None else (call.layer_of(pooled),)))
    taps, bias = array(module.conv.weight).reshape(-1), float(array(module.conv.bias)[0])
    return AttentionLayer(call.module_name(), call.shape, sources, taps, bias)


# -------------------------------------------------------------------------------- pools


def _average_pool(call: Call, module: Any) -> Layer:
    kernel, padding = pair(module.kernel_size), pair(module.padding)
    if module.ceil_mode or (any(padding) and not module.count_include_pad):
        problem = "average pooling with ceil_mode, or padding that is not counted, is not supported"
        raise Refused(problem, "use ceil_mode=False and count_include_pad=True")
    factor = 1 / (module.divisor_override or math.prod(kernel))
    return _pool(call, SumPool(kernel, pair(module.stride), padding), factor)


def _adaptive_pool(call: Call, module: Any) -> Layer:
    size, wanted = shape_of(call.operand)[1:], call.shape[1:]
    if any(s % w for s, w in zip(size, wanted, strict=True)):
        raise Refused(f"adaptive pooling from {size} to {wanted} has unequal windows", "use a divisor")
    kernel = pair(tuple(s // w for s, w in zip(size, wanted, strict=True)))
    return _pool(call, SumPool(kernel, kernel), 1 / math.prod(kernel))


def _max_pool(call: Call, module: Any) -> Layer:
    if module.ceil_mode or module.return_indices or pair(module.dilation) != (1, 1):
        raise Refused("max-pooling with ceil_mode, dilation or indices is not supported", "use the plain form")
    return _pool(call, MaxPool(pair(module.kernel_size), pair(module.stride), pair(module.padding)), 1.0)


def _pool(call: Call, op: SumPool | MaxPool, factor: float) -> Layer:
    return PoolLayer(call.module_name(), call.shape, call.source, op, factor)


# ------------------------------------------------------------------------------- checks


def _check_finite(module: nn.Module) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        # The logits of mixture coefficients are infinite where a coefficient is exactly 0 or 1.
        bad = torch.isnan(tensor) if name.endswith("_logit") else ~torch.isfinite(tensor.float())
        if bad.any():
            index = tuple(int(i) for i in bad.nonzero()[0])
            value = float(tensor.detach()[index])
            raise Refused(f"{name}{list(index)} is {value}", "train again from the last good checkpoint")


def _check_variance(norm: Any) -> None:
    variance = array(norm.running_var) + norm.eps
    if not (variance > 0).all():
        channel = int(np.argmin(variance))
        problem = f"the variance of channel {channel} plus eps is {variance[channel]:g}"
        raise Refused(problem, "give the BatchNorm a positive eps, or train its statistics again")


_LAYERS: dict[type | tuple[type, ...], Callable[[Call, Any], Layer | tuple[Layer, ...] | None]] = {
    LowBit: _low_bit,
    (nn.Conv2d, nn.Linear): _full_precision,
    (nn.BatchNorm1d, nn.BatchNorm2d): _norm,
    StepBatchNorm2d: _norm_of_steps,
    Neuron: _neuron,
    SECA: _attention,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_pool,
    nn.MaxPool2d: _max_pool,
    nn.Flatten: lambda call, module: flatten(call, module.start_dim, module.end_dim),
    (nn.Identity, nn.Dropout, nn.Dropout2d): lambda call, module: None,
}
"""The first that a module is an instance of says what it becomes."""
