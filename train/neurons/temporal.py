"""Modules that behave differently at each time-step, and what tells them which one it is."""

from collections.abc import Iterator

import torch
from torch import nn

from ..errors import ModelError


class Temporal(nn.Module):
    """A module that behaves differently at each time-step.

    ``time_steps`` is T; ``step`` the current index in 0..T-1, or None: all T steps folded into the batch, input
    (T*N, ...) with time as the slow axis.

    Attributes:
        has_state: whether a step depends on those before it.
    """

    has_state: bool = False

    def __init__(self, time_steps: int) -> None:
        super().__init__()
        if time_steps < 1:
            raise ModelError(f"time_steps must be at least 1 (got {time_steps})")
        self.time_steps = time_steps
        self.step: int | None = 0

    def reset(self) -> None:
        """Back to step 0 with empty state, as before the first step of every sample."""
        self.step = 0

    def extend(self, steps: int) -> None:
        """Go on to ``steps`` time-steps with what each step has: parameters (T,) and lists of T modules.

        Raises ModelError, naming it, for one that is not the same at all T steps.
        """
        trained = self.time_steps
        if steps <= trained:
            return
        for name, values in self.named_parameters(recurse=False):
            if values.shape == (trained,):
                if bool((values != values[0]).any()):
                    raise ModelError(f"{name} changes from step to step, and there are {trained}")
                values.data = values.detach()[:1].repeat(steps)
        for name, modules in self.named_children():
            if isinstance(modules, nn.ModuleList) and len(modules) == trained:
                states = [list(module.state_dict().values()) for module in modules]
                if not all(torch.equal(*pair) for other in states[1:] for pair in zip(states[0], other, strict=True)):
                    raise ModelError(f"{name} change from step to step, and there are {trained}")
                modules.extend(modules[0] for _ in range(steps - trained))
        self.time_steps = steps


def temporal_modules(model: nn.Module) -> Iterator[tuple[str, Temporal]]:
    """All (module path, module) of ``model`` that depend on the time-step."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, Temporal))


def reset(model: nn.Module) -> None:
    """Clear every membrane and set step 0: to be called before each mini-batch."""
    for _, module in temporal_modules(model):
        module.reset()


def set_step(model: nn.Module, step: int | None) -> None:
    """Tell every temporal module which time-step comes next; None folds all steps into the batch.

    Raises ModelError for a step outside 0..T-1.
    """
    for name, module in temporal_modules(model):
        if step is not None and not 0 <= step < module.time_steps:
            raise ModelError(f"{name}: time-step {step} is outside 0..{module.time_steps - 1}")
        module.step = step
