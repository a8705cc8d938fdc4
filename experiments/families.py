"""One network of each family on every chip: what does not fit, as the table of docs/lm-h.md.

    python -m experiments.families docs/lm-h.md

The network takes binary events and has strided ternary convolutions, so that nothing but the neurons decides whether
a message is binary: HM-DF's spikes have 4 bits, LM-H's one. "LM-H at its start" has the factors with which training
starts, those of an integrate-and-fire neuron. Untrained, its BatchNorms have seen random events. For chips without
multipliers it is compiled with --absorb-multipliers.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

import hmdf
from hmdf.export.compiler import registers_of
from hmdf.export.config import Config
from hmdf.hw_targets.judge.fit import check
from hmdf.hw_targets.target import load_target, target_names
from hmdf.sim.program import Program
from hmdf.train.neurons import GradedSpike, HybridFiring, MultiHierarchical, Neuron, reset, set_step
from hmdf.train.synapses import TernaryConv2d, TernaryLinear

T, CHANNELS, SIZE = 4, 8, 16
FAMILIES = "HM-DF", "LM-H", "LM-H at its start"
FACTORS = {"dendrite_leak": 0.2, "dendrite_feedback": -0.1, "soma_leak": 0.9, "soma_drive": 1.1}
"""Of the LM-H network: any that are not those of the start."""
_TABLE = re.compile(r"(<!-- chips -->\n).*?(<!-- end -->)", re.DOTALL)


def network(family: str) -> tuple[nn.Module, Tensor]:
    """The network of a family, and its events (N, T, 2, H, W)."""

    def neuron() -> Neuron:
        if family == "HM-DF":
            return HybridFiring(CHANNELS, T, spike=GradedSpike(4, 0.25))
        lm_h = MultiHierarchical(CHANNELS, T)
        if family == "LM-H":
            lm_h.set_factors(FACTORS)
        return lm_h

    def layer(inputs: int) -> list[nn.Module]:
        return [TernaryConv2d(inputs, CHANNELS, 3, 2, 1), nn.BatchNorm2d(CHANNELS), neuron()]

    torch.manual_seed(0)
    size = SIZE // 8
    head = TernaryLinear(CHANNELS * size * size, 4)
    module = nn.Sequential(*layer(2), *layer(CHANNELS), *layer(CHANNELS), nn.Flatten(), head)
    events = (torch.rand(16, T, 2, SIZE, SIZE) < 0.2).float()
    with torch.no_grad():
        for _ in range(20):
            reset(module)
            for step in range(T):
                set_step(module, step)
                module(events[:, step])
    return module.eval(), events


def table(chips: Sequence[str]) -> str:
    """A row for each chip; what a chip lacks, and how often it is needed."""

    @cache
    def program(family: str, target: str) -> Program:
        module, events = network(family)
        absorb = not load_target(target).capabilities.multiplier
        config = Config(bits={"input": 1}, absorb_multipliers=absorb)
        return hmdf.compile(module, events[:1], target=target, calibration=events, config=config).program

    rows = ["| chip | " + " | ".join(FAMILIES) + " |", "|---" * (1 + len(FAMILIES)) + "|"]
    same: dict[object, str] = {}
    for name in chips:
        chip = load_target(name)
        like = same.setdefault((registers_of(chip), chip.capabilities.multiplier), name)  # it has the same integers
        cells = []
        for family in FAMILIES:
            lacks = Counter(finding.resource for finding in check(program(family, like), chip))
            named = [f"{resource.replace('_', ' ')} {count}" for resource, count in lacks.items()]
            cells.append(", ".join(named) or "fits")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def with_table(text: str) -> str:
    """A document with the table between its markers."""
    return _TABLE.sub(lambda m: f"{m[1]}{table(target_names())}\n{m[2]}", text)


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(with_table(document.read_text("utf-8")), "utf-8")
