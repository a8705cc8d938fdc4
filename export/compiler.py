"""The compiler's passes in order: trace, fold, merge_pools, calibrate, quantize, serialize, absorb, prove; the fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from hmdf.hw_targets.judge.fit import check
from hmdf.hw_targets.schema import Target
from hmdf.hw_targets.target import load_target
from hmdf.sim.errors import InputError
from hmdf.sim.finding import Finding
from hmdf.sim.program import Metadata, Preprocessing, Program
from hmdf.sim.ranges import Ranges, prove, unproven

from .c import cortex
from .config import Config
from .errors import CompileError, NarrowAccumulators
from .graph import FoldedGraph, LayerGraph, Pass
from .integers import Registers
from .nir import Dialect, dialect_of, is_graph
from .nir.read import read_graph
from .passes.absorb import absorb_multipliers
from .passes.calibrate import affordable, calibrate
from .passes.fold import fold
from .passes.merge_pools import merge_pools
from .passes.quantize import quantize
from .passes.serialize import serialize
from .passes.trace import trace

if TYPE_CHECKING:
    from nir import NIRGraph

IDENTITY = Preprocessing(1.0, (0.0,), (1.0,))
WIDEST_ACCUMULATOR = 32
"""Bits of the widest accumulator of the integer contract."""

Watch = Callable[[Pass, LayerGraph | FoldedGraph | Program], None]
"""Called with the name of a pass that has run, and with what it made."""


@dataclass(frozen=True)
class Compilation:
    """A program with everything that was learned on the way.

    Attributes:
        program: the integers.
        folded: the float network that the program is measured against.
        findings: what the compiler changed (notes), then every reason why the target cannot hold it (errors).
    """

    program: Program
    folded: FoldedGraph
    findings: tuple[Finding, ...]

    @property
    def ranges(self) -> Ranges:
        """The proof of every register."""
        return prove(self.program)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What the compiler changed, and why."""
        return tuple(finding for finding in self.findings if finding.severity == "note")

    @property
    def misfits(self) -> tuple[Finding, ...]:
        """Why the target cannot hold the program; empty when it can."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def fits(self) -> bool:
        """Whether the target can hold the program."""
        return not self.misfits


def compile(
    module: nn.Module | NIRGraph,
    example_input: Tensor | np.ndarray | tuple[Tensor, ...],
    *,
    target: str | Target = "generic",
    chips: int = 1,
    calibration: np.ndarray | Tensor | None = None,
    preprocessing: Preprocessing = IDENTITY,
    config: Config | None = None,
    metadata: Metadata | None = None,
    calibration_macs: float = inf,
    progress: Callable[[int, int], None] | None = None,
    watch: Watch | None = None,
    dialect: str | Dialect = "nir",
    time_step: float | None = None,
    time_steps: int | None = None,
) -> Compilation:
    """Compile a trained network.

    Args:
        module: made of the layers that `hmdf.export.passes.trace` lists; its forward computes one time-step. Or a
            graph of the package nir, of the nodes that `hmdf.export.nir.nodes` has.
        example_input: normalised input, (N, *shape) shown at every step or (N, T, *shape) as frames; a tuple for a
            forward with several inputs.
        target: name of a chip, or a Target; gives the widths of registers and messages, and what must fit.
        chips: how many chips may be used.
        calibration: normalised samples in the form of `example_input` (several inputs stacked along the channels);
            the example itself when absent.
        preprocessing: how raw values became normalised ones; stored in the program.
        calibration_macs: calibrate on no more of the samples than this many multiply-accumulates allow.
        progress: called with (calibration samples done since the last call, their total).
        watch: called after each pass with its name and what it made; `hmdf.export.listing` has that as text.
        dialect: of a NIR graph: "snntorch", "sinabs", "norse" or "spikingjelly", which wrote it, "nir" or a
            `hmdf.export.nir.Dialect`: how its continuous time becomes time-steps.
        time_step: of a NIR graph, in the unit of its time constants [default: the dialect's].
        time_steps: T of a NIR graph whose samples are shown at every step; frames have their own.

    Raises:
        CompileError: with every reason why the network cannot become a program. That a target cannot hold the program
            is none: `Compilation.misfits` has why.
        TargetError: there is no such target.
        InputError: the calibration holds a value that is not a number.
    """
    watch, config = watch or (lambda _pass, _graph: None), config or Config()
    chip = load_target(target) if isinstance(target, str) else target
    if is_graph(module):
        spoken = dialect_of(dialect, time_step)
        read = read_graph(module, example_input if calibration is None else calibration, spoken, time_steps)
        layers, samples, framed, remarks = read
    else:
        layers, samples, framed = _traced(module, example_input)
        samples, remarks = samples if calibration is None else np.asarray(calibration), ()
    watch("trace", layers)
    folded = fold(layers)
    watch("fold", folded)
    if config.merge_pools:
        folded = merge_pools(folded)
        watch("merge_pools", folded)
    samples = _checked(samples, folded, framed)
    samples = samples[: affordable(folded, calibration_macs) if isfinite(calibration_macs) else None]
    statistics = calibrate(folded, samples, progress=progress)
    integers = partial(
        quantize,
        folded,
        statistics,
        framed=framed,
        preprocessing=preprocessing,
        config=config,
        metadata=msgspec.structs.replace(
            metadata or Metadata(), target=chip.name, calibration_samples=statistics.samples
        ),
    )
    try:
        program, notes = integers(registers=registers_of(chip))
    except CompileError as error:
        if any(finding.resource != "accumulator_bits" for finding in error.findings):
            raise
        roomy = _with_widest_accumulators(chip)
        program = integers(registers=registers_of(roomy)).program
        others = check(serialize(program) if config.serialize_spikes else program, roomy, chips)
        raise NarrowAccumulators([*error.findings, *others]) from None
    watch("quantize", program)
    if config.serialize_spikes:
        program = serialize(program)
        watch("serialize", program)
    if config.absorb_multipliers:
        program = absorb_multipliers(program)
        watch("absorb", program)
    if findings := unproven(program, prove(program)):  # Every pass chose its integers so that there is none.
        raise CompileError(findings)
    misfits = check(program, chip, chips)
    if chip.processor is not None:
        misfits += cortex.measure(program, chip)[1]
    return Compilation(program, folded, (*remarks, *notes, *misfits))


def compile_network(*arguments: Any, **options: Any) -> Compilation:
    """`compile` under its former name; goes with version 0.3."""
    warnings.warn("hmdf.compile_network is now hmdf.compile", DeprecationWarning, stacklevel=2)
    return compile(*arguments, **options)


def _with_widest_accumulators(target: Target) -> Target:
    wide = msgspec.structs.replace(target.capabilities, accumulator_bits=WIDEST_ACCUMULATOR)
    return msgspec.structs.replace(target, capabilities=wide)


def registers_of(target: Target) -> Registers:
    """The widths of integers that a program for this target gets."""
    c = target.capabilities
    carried, taken = _message_bits(c.message_bits), _message_bits(c.input_message_bits or c.message_bits)
    return Registers(c.state_bits, c.accumulator_bits, carried, taken)


def _message_bits(carried: int) -> int:
    # A chip with binary messages carries no graded one at all: the fit says so, coarse spikes would hide it.
    return min(16, carried) if carried > 1 else 16


def _traced(
    module: nn.Module, example_input: Tensor | np.ndarray | tuple[Tensor, ...]
) -> tuple[LayerGraph, np.ndarray, bool]:
    """(layers, the example with channels stacked, whether it comes as frames)."""
    steps = max((int(getattr(m, "time_steps", 1)) for m in module.modules()), default=1)
    example = torch.from_numpy(example_input) if isinstance(example_input, np.ndarray) else example_input
    one_step, stacked, framed = _example(example, steps)
    return trace(module, one_step), stacked, framed


def _example(
    example_input: Tensor | tuple[Tensor, ...], steps: int
) -> tuple[Tensor | tuple[Tensor, ...], np.ndarray, bool]:
    """(input of one time-step, the whole input with channels stacked, whether it comes as frames)."""
    parts = example_input if isinstance(example_input, tuple) else (example_input,)
    framed = parts[0].dim() in (3, 5)
    if framed and any(p.shape[1] != steps for p in parts):
        problem = f"the example has {parts[0].shape[1]} frames, the network {steps} time-steps"
        raise CompileError([Finding("input", problem, "give (N, T, *shape) with one frame per step")])
    stacked = torch.cat([p.detach() for p in parts], dim=2 if framed else 1).cpu().numpy()
    one_step = tuple(p[:, 0] for p in parts) if framed else parts
    return (one_step if isinstance(example_input, tuple) else one_step[0]), stacked, framed


def _checked(samples: np.ndarray, folded: FoldedGraph, framed: bool) -> np.ndarray:
    wanted = (folded.time_steps, *folded.input_shape) if framed else folded.input_shape
    if samples.shape[1:] != wanted or not len(samples):
        extents = ", ".join(map(str, wanted))
        raise InputError(f"calibration samples must have the shape (N, {extents}), got {samples.shape}")
    bad = ~np.isfinite(samples)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(f"calibration sample {where[0]} is {samples[where]} at {where[1:]}")
    return samples
