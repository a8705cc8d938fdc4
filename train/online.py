"""Running a network over time, and the four ways to train through time.

* every: cross-entropy at each step, one backward pass per step, membranes detached: memory does not grow with T.
* random: one step is drawn per mini-batch and only that step is differentiated ("random BP").
* stbp: the whole unrolled graph is differentiated at once: memory grows with T.
* slices: as stbp for K steps at a time, then an update of the weights: memory grows with K.

The loss of stbp and slices may also be the cross-entropy of the logits' mean over the steps.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .errors import ModelError, TrainingError
from .neurons import Neuron, NormalisedNeuron, detach, reset, set_online, set_step, temporal_modules
from .step_norm import StepBatchNorm2d
from .synapses import quantised_once

__all__ = [
    "backward_every",
    "backward_random",
    "backward_slices",
    "backward_stbp",
    "find_divergence",
    "frame_at",
    "loss_of_mean",
    "run",
    "run_folded",
    "tet",
]

Criterion = Callable[[Tensor, Tensor], Tensor]
Backward = Callable[[Tensor], None]
Runner = Callable[[nn.Module, Tensor, int], Tensor]
# From the loss of one step's logits and the logits (T, N, classes) to the loss of all steps.
SequenceLoss = Callable[[Criterion, Tensor, Tensor], Tensor]


def tet(criterion: Criterion, logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the steps of each step's loss (temporal efficient training, Deng 2022, without its MSE term)."""
    return torch.stack([criterion(step, labels) for step in logits]).mean()


def loss_of_mean(criterion: Criterion, logits: Tensor, labels: Tensor) -> Tensor:
    """Loss of the logits' mean over the steps."""
    return criterion(logits.mean(0), labels)


def run(model: nn.Module, x: Tensor, time_steps: int) -> Tensor:
    """Logits (T, N, classes) of all time-steps, one after the other, from cleared membranes.

    ``x`` is an image (N, C, H, W), shown at every step, or frames (N, T, C, H, W). Uses the model's own train or eval
    mode and the caller's gradient mode.
    """
    reset(model)
    logits = []
    for step in range(time_steps):
        set_step(model, step)
        logits.append(model(frame_at(x, step)))
    return torch.stack(logits)


def run_folded(model: nn.Module, x: Tensor, time_steps: int) -> Tensor:
    """The same as ``run``, layer by layer: each has all steps in one batch of T*N, neurons with a state one by one.

    In training, BatchNorm then normalises over time and batch together.
    """
    reset(model)
    set_step(model, None)
    steps = x.transpose(0, 1) if x.dim() == 5 else x.expand(time_steps, *x.shape)
    try:
        return model(steps.flatten(0, 1)).unflatten(0, (time_steps, -1))
    finally:
        set_step(model, 0)


def frame_at(x: Tensor, step: int) -> Tensor:
    """The input of one time-step: (N, C, H, W) or (N, F) itself, or frame ``step`` of (N, T, C, H, W) or (N, T, F)."""
    if x.dim() in (2, 4):
        return x
    if step >= x.shape[1]:
        raise ModelError(f"time-step {step} needs more frames than the {x.shape[1]} of the input")
    return x[:, step]


def backward_every(
    model: nn.Module, x: Tensor, labels: Tensor, time_steps: int, criterion: Criterion, backward: Backward
) -> tuple[Tensor, Tensor]:
    """Accumulate the online gradient of the mean loss over the steps; returns (loss, logits summed over T)."""
    reset(model)
    set_online(model, True)
    # sums in place: a small tensor kept from every step would lie among its activations and leave the heap in pieces
    total_loss = x.new_zeros((), dtype=torch.float32)
    total: Tensor | None = None
    for step in range(time_steps):
        set_step(model, step)
        logits = model(frame_at(x, step))
        loss = criterion(logits, labels)
        backward(loss / time_steps)
        total_loss += loss.detach()
        total = logits.detach().clone() if total is None else total.add_(logits.detach())
    assert total is not None
    return total_loss / time_steps, total


def backward_random(
    model: nn.Module, x: Tensor, labels: Tensor, drawn: int, criterion: Criterion, backward: Backward
) -> tuple[Tensor, Tensor]:
    """Accumulate the gradient of the loss at step ``drawn`` alone; returns (loss, logits) of that step, detached.

    Earlier steps run without a graph, only for their membranes (not at all if the model has none). They update the
    statistics of their own MPBN norms; the BatchNorms that all steps share take theirs from the drawn step only, so
    that each step has the same weight in them. Later steps cannot change the loss and are left out.
    """
    reset(model)
    set_online(model, True)
    if any(module.has_state for _, module in temporal_modules(model)):
        with torch.no_grad(), _shared_statistics_frozen(model):
            for step in range(drawn):
                set_step(model, step)
                model(frame_at(x, step))
    set_step(model, drawn)
    logits = model(frame_at(x, drawn))
    loss = criterion(logits, labels)
    backward(loss)
    return loss.detach(), logits.detach()


def backward_stbp(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    time_steps: int,
    criterion: Criterion,
    backward: Backward,
    loss_of: SequenceLoss = tet,
    runner: Runner = run,
) -> tuple[Tensor, Tensor]:
    """Accumulate the gradient through time of the loss of all steps; returns (loss, logits summed over T), detached.

    ``runner`` is ``run``, or ``run_folded``: BatchNorm then normalises over time and batch together.
    """
    set_online(model, False)
    logits = runner(model, x, time_steps)
    loss = loss_of(criterion, logits, labels)
    backward(loss)
    reset(model)
    return loss.detach(), logits.detach().sum(0)


def backward_slices(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    time_steps: int,
    length: int,
    criterion: Criterion,
    update: Callable[[Tensor], None],
    loss_of: SequenceLoss = tet,
) -> tuple[Tensor, Tensor]:
    """Differentiate slices of ``length`` time-steps one after the other, the state detached between them.

    ``update`` takes the loss of a slice, to differentiate it and to change the weights before the next one; memory is
    that of one slice. Returns (mean loss of the slices, logits summed over T), detached.
    """
    reset(model)
    set_online(model, False)
    losses: list[Tensor] = []
    total: Tensor | None = None
    for start in range(0, time_steps, length):
        logits = []
        with quantised_once(model):
            for step in range(start, min(start + length, time_steps)):
                set_step(model, step)
                logits.append(model(frame_at(x, step)))
            sequence = torch.stack(logits)
            loss = loss_of(criterion, sequence, labels)
        update(loss)
        detach(model)
        losses.append(loss.detach())
        total = sequence.detach().sum(0) if total is None else total + sequence.detach().sum(0)
    reset(model)
    assert total is not None
    return torch.stack(losses).mean(), total


def find_divergence(model: nn.Module, x: Tensor, time_steps: int) -> TrainingError:
    """Run ``x`` once more and say at which time-step and in which layer the first value is not finite."""
    origin: list[str] = []

    def watch(name: str, module: nn.Module) -> None:
        def check(_module: nn.Module, _inputs: object, output: object) -> None:
            if not origin and isinstance(output, Tensor) and not bool(output.isfinite().all()):
                origin.append(f"layer {name}")

        handles.append(module.register_forward_hook(check))

    handles: list[RemovableHandle] = []
    for name, module in model.named_modules():
        if not list(module.children()) or isinstance(module, Neuron):
            watch(name, module)
    reset(model)
    try:
        with torch.no_grad(), _shared_statistics_frozen(model):
            for step in range(time_steps):
                set_step(model, step)
                model(frame_at(x, step))
                if origin:
                    return TrainingError(f"the output of {origin[0]} is not finite at time-step {step}")
    finally:
        for handle in handles:
            handle.remove()
    return TrainingError("the loss is not finite although every layer's output is")


@contextmanager
def _shared_statistics_frozen(model: nn.Module) -> Iterator[None]:
    """BatchNorms outside the neurons keep their running statistics (they still normalise by the batch)."""
    kinds = NormalisedNeuron, StepBatchNorm2d
    own = {id(norm) for _, module in temporal_modules(model) if isinstance(module, kinds) for norm in module.norms}
    shared = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and id(module) not in own
    ]
    momenta = [norm.momentum for norm in shared]
    for norm in shared:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(shared, momenta, strict=True):
            norm.momentum = momentum
