"""Do executors agree, bit for bit? Every message of every population at every step, and the logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import numpy as np

from .encoder import blocks
from .errors import HmdfError
from .executor import Executor, Taps
from .program import Program
from .reference import Reference

READOUT = "readout"
"""Name under which a mismatch of the logits is reported."""


class Difference(msgspec.Struct, frozen=True):
    """One integer on which an executor differs.

    Attributes:
        population: its name, or "readout" for a logit.
        position: (y, x), empty where a population has no positions.
    """

    population: str
    sample: int
    time_step: int
    channel: int
    position: tuple[int, ...]
    expected: int
    got: int

    def __str__(self) -> str:
        where = f", position {self.position}" if self.position else ""
        return (
            f"population '{self.population}', sample {self.sample}, time-step {self.time_step}, "
            f"channel {self.channel}{where}: expected {self.expected}, got {self.got}"
        )


class Comparison(msgspec.Struct, frozen=True):
    """Comparison of one executor with the one that is right.

    Attributes:
        compared: number of integers.
        populations: number of populations whose messages were compared.
        first_mismatch: the earliest in time-step, then node order, then sample, channel, position: the cause, as far
            as there is one, not its consequences. None when bit-exact.
    """

    executor: str
    bit_exact: bool
    compared: int
    samples: int
    populations: int
    first_mismatch: Difference | None


def compare(
    program: Program,
    messages: np.ndarray | Iterable[np.ndarray],
    executors: Sequence[Executor],
    against: Executor | None = None,
    block: int = 16,
    progress: Callable[[int], None] | None = None,
    start: int = 0,
) -> list[Comparison]:
    """Run all executors on the same samples, `block` at a time, and compare them.

    Args:
        messages: the input's, integers (N, 1 or T, *input shape), or an iterable of such blocks.
        against: the executor that is right; the NumPy reference unless another is given.
        progress: called with the number of samples done since the last call.
        start: number of the first sample.

    Raises:
        HmdfError: an executor leaves out a population, or gives it another shape.
    """
    against = against or Reference()
    populations = len(program.populations)
    compared = [Comparison(executor.name, True, 0, 0, populations, None) for executor in executors]
    for part in (p for array in ([messages] if isinstance(messages, np.ndarray) else messages)
                 for p in blocks(array, block)):  # fmt: skip
        expected = against.run(program, part)
        for i, executor in enumerate(executors):
            got = executor.run(program, part)
            pairs = list(_pairs(program, executor.name, expected, got))
            found = _first_mismatch(program, pairs, start)
            size = sum(a.size for _, a, _ in pairs)
            one = Comparison(executor.name, found is None, size, len(part), populations, found)
            compared[i] = joined(program, compared[i], one)
        start += len(part)
        if progress is not None:
            progress(len(part))
    return compared


def joined(program: Program, a: Comparison, b: Comparison) -> Comparison:
    """Two comparisons of the same executor, on different samples, as one."""
    first = _earlier(program, a.first_mismatch, b.first_mismatch)
    return Comparison(a.executor, first is None, a.compared + b.compared, a.samples + b.samples, a.populations, first)


def _pairs(program: Program, name: str, expected: Taps, got: Taps) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(population, expected, got) as (N, T, ...) arrays in node order; the logits last, shown at the last step."""
    for population in program.populations:
        right, other = expected.messages[population.name], got.messages.get(population.name)
        if other is None or other.shape != right.shape:
            gave = "no messages" if other is None else f"messages of shape {other.shape} instead of {right.shape}"
            raise HmdfError(f"executor '{name}' gave {gave} for population '{population.name}'; it cannot be compared")
        yield population.name, right, other
    if got.logits.shape != expected.logits.shape:
        raise HmdfError(f"executor '{name}' gave logits {got.logits.shape} instead of {expected.logits.shape}")
    yield READOUT, expected.logits[:, None], got.logits[:, None]


def _first_mismatch(program: Program, pairs: list[tuple[str, np.ndarray, np.ndarray]], start: int) -> Difference | None:
    """The first of a block whose first sample is number `start`."""
    found: Difference | None = None
    for name, expected, got in pairs:
        differs = expected != got
        if not differs.any():
            continue
        step = int(np.argmax(differs.any(axis=tuple(i for i in range(differs.ndim) if i != 1))))
        sample, channel, *position = (int(i) for i in np.argwhere(differs[:, step])[0])
        index = (sample, step, channel, *position)
        at = program.time_steps - 1 if name == READOUT else step
        values = int(expected[index]), int(got[index])
        found = _earlier(program, found, Difference(name, start + sample, at, channel, tuple(position), *values))
    return found


def _earlier(program: Program, a: Difference | None, b: Difference | None) -> Difference | None:
    if a is None or b is None:
        return a or b
    order = [p.name for p in program.populations] + [READOUT]
    return min(a, b, key=lambda m: (m.time_step, order.index(m.population), m.sample, m.channel, m.position))
