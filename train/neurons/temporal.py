"""Modules that behave differently at each time-step, and what tells them which one it is."""

from collections.abc import Iterator

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
