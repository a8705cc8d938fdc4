"""What a network has learned and how it behaves: its neurons' parameters, their membranes and spikes, its gradients.

    neurons = observe(model, x, time_steps=4)
    gradients = compare_gradients(model, [(x, labels)], time_steps=4)

Both leave the model as it was, state, statistics and mode included.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from .insights import GradientComparison, NeuronInsight
from .neurons import MembraneNeuron, Neuron, NormalisedNeuron, reset, set_step
from .online import backward_every, backward_stbp, frame_at
from .synapses import quantised_once

__all__ = ["BINS", "GradientComparison", "NeuronInsight", "compare_gradients", "observe"]

# Of the histograms of m - theta, which reach SPREADS standard deviations to either side of the mean.
BINS = 128
SPREADS = 4.0


def observe(model: nn.Module, x: Tensor, time_steps: int, batch_size: int = 64) -> list[NeuronInsight]:
    """What every neuron layer does, in eval mode, in the order in which the network calls them.

    ``x`` are normalised inputs, (N, C, H, W), or frames (N, T, C, H, W).
    """
    with _evaluating(model), torch.no_grad(), quantised_once(model):
        sketch = _watched(model, x[:batch_size], time_steps, batch_size, {})
        ranges = {name: watch.range_of_margins() for name, watch in sketch.items()}
        return [watch.insight() for watch in _watched(model, x, time_steps, batch_size, ranges).values()]


def compare_gradients(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], time_steps: int
) -> list[GradientComparison]:
    """Online and STBP gradients of the mean cross-entropy over the steps, per convolution and linear layer.

    ``batches`` are (normalised inputs, labels). BatchNorm uses each mini-batch's statistics, as in training.
    """
    trained = copy.deepcopy(model).train()
    layers = {name: m.weight for name, m in trained.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    cosines: dict[str, list[float | None]] = {name: [] for name in layers}
    ratios: dict[str, list[float | None]] = {name: [] for name in layers}
    for x, labels in batches:
        pair = []
        for backpropagate in (backward_every, backward_stbp):
            trained.zero_grad()
            with quantised_once(trained):
                backpropagate(trained, x, labels, time_steps, functional.cross_entropy, Tensor.backward)
            pair.append({name: weight.grad for name, weight in layers.items()})
        for name in layers:
            online, full = (_flat(gradients[name]) for gradients in pair)
            lengths = float(online.norm()), float(full.norm())
            cosines[name].append(float(online @ full) / (lengths[0] * lengths[1]) if min(lengths) > 0 else None)
            ratios[name].append(lengths[0] / lengths[1] if lengths[1] > 0 else None)
    return [GradientComparison(name, tuple(cosines[name]), tuple(ratios[name])) for name in layers]


def _flat(gradient: Tensor | None) -> Tensor:
    """In double precision; zero for a weight that has no part in the loss."""
    return torch.zeros(1, dtype=torch.float64) if gradient is None else gradient.double().flatten()


def _neurons(model: nn.Module) -> Iterator[tuple[str, Neuron]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, Neuron))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _watched(
    model: nn.Module, x: Tensor, time_steps: int, batch_size: int, ranges: Mapping[str, tuple[float, float]]
) -> "dict[str, _Watch]":
    """What the neurons do on ``x``, in the order of their first call; histograms over the given ranges."""
    watched: dict[str, _Watch] = {}
    handles = [handle for name, neuron in _neurons(model) for handle in _hooks(name, neuron, watched, ranges)]
    try:
        for part in x.split(batch_size):
            reset(model)
            for step in range(time_steps):
                set_step(model, step)
                model(frame_at(part, step))
            for watch in watched.values():
                watch.end_of_samples()
    finally:
        for handle in handles:
            handle.remove()
        reset(model)
    return watched


def _hooks(
    name: str, neuron: Neuron, watched: "dict[str, _Watch]", ranges: Mapping[str, tuple[float, float]]
) -> list[RemovableHandle]:
    """Record every call of ``neuron``; its entry in ``watched`` appears with the first one."""

    def before(_neuron: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        step = neuron.step
        assert step is not None
        if name not in watched:
            watched[name] = _Watch(name, neuron, ranges.get(name, (-1.0, 1.0)))
        watched[name].membrane(step, neuron.membrane(inputs[0], step))

    def after(_neuron: nn.Module, _inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
        assert neuron.step is not None
        watched[name].spikes(neuron.step, spikes)

    return [neuron.register_forward_pre_hook(before), neuron.register_forward_hook(after)]


class _Watch:
    """Sums over the calls of one neuron layer."""

    def __init__(self, name: str, neuron: Neuron, margin_range: tuple[float, float]) -> None:
        self.name, self.neuron, self.margin_range = name, neuron, margin_range
        steps = neuron.time_steps
        self.counts = torch.zeros(steps, BINS, dtype=torch.int64)
        # values, fired, sum and sum of squares of the margin, per step
        self.sums = torch.zeros(steps, 4, dtype=torch.float64)
        self.theta = neuron.threshold()
        self.above: list[list[Tensor]] = [[] for _ in range(steps)]
        self.steady = self.neurons = 0

    def membrane(self, step: int, m: Tensor) -> None:
        margin = (m - self.theta[step].to(m)).double().cpu()
        low, high = self.margin_range
        bins = ((margin - low) * (BINS / (high - low))).floor().clamp(0, BINS - 1).long()
        self.counts[step] += torch.bincount(bins.flatten(), minlength=BINS)
        self.sums[step, 0] += margin.numel()
        self.sums[step, 2] += margin.sum()
        self.sums[step, 3] += margin.square().sum()
        self.above[step].append(margin > 0)

    def spikes(self, step: int, spikes: Tensor) -> None:
        self.sums[step, 1] += int((spikes != 0).sum())

    def end_of_samples(self) -> None:
        """After the last step of a mini-batch."""
        for call in zip(*self.above, strict=True):  # a neuron without membrane may be called several times per step
            above = torch.stack(call)
            self.steady += int((above.all(0) | ~above.any(0)).sum())
            self.neurons += above[0].numel()
        self.above = [[] for _ in self.above]

    def range_of_margins(self) -> tuple[float, float]:
        """SPREADS standard deviations around the mean of all steps, the threshold itself included."""
        values, _, total, squares = self.sums.sum(0).tolist()
        mean = total / values
        reach = SPREADS * max(squares / values - mean**2, 0.0) ** 0.5
        low, high = min(mean - reach, 0.0), max(mean + reach, 0.0)
        return (low, high) if low < high else (-1.0, 1.0)

    def insight(self) -> NeuronInsight:
        neuron = self.neuron
        mixture = (neuron.alpha(), neuron.beta()) if isinstance(neuron, NormalisedNeuron) and neuron.mpbn else None
        values, fired, total, squares = self.sums.T
        mean = total / values
        return NeuronInsight(
            name=self.name,
            kind=type(neuron).__name__,
            leak=_numbers(neuron.leak()) if isinstance(neuron, MembraneNeuron) else None,
            threshold=_numbers(self.theta),
            alpha=None if mixture is None else _numbers(mixture[0]),
            beta=None if mixture is None else _numbers(mixture[1]),
            factors={name: _numbers(values) for name, values in neuron.factors().items()},
            spike_bits=neuron.spike.bits,
            spike_lsb=neuron.spike.lsb_value(),
            firing_rate=_numbers(fired / values),
            steady=self.steady / self.neurons,
            margin_mean=_numbers(mean),
            margin_std=_numbers((squares / values - mean.square()).clamp(min=0).sqrt()),
            margin_range=self.margin_range,
            margins=tuple(tuple(row) for row in self.counts.tolist()),
        )


def _numbers(values: Tensor) -> tuple[float, ...]:
    return tuple(values.tolist())
