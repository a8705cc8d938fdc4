"""Delay, of whole time-steps: a population each."""

from __future__ import annotations

import numpy as np

from ...graph import FiringLayer
from ...neurons import FloatLeakyIntegrateAndFire
from ..building import Building
from ..membranes import ZERO
from ..parameters import Unsupported, per_channel
from ..units import Unit

KINDS = ("Delay",)
MOST_DELAY = 64
"""Time steps of a Delay, each of which is a population."""


def layers(made: Building, unit: Unit, source: str) -> str:
    """A spike a step later: m = 2 v + x, a spike where m >= 2, v <- m - 2 spike, so v is always the last x.

    What is read of the step before has waited for one of the steps.
    """
    shape = made.shapes[source]
    delay = per_channel(unit, "delay", shape) / made.dialect.time_step
    steps = float(np.rint(delay[0]))
    if not np.allclose(delay, steps, atol=1e-3):
        problem = f"delays by {delay.min():g} to {delay.max():g} time steps"
        raise Unsupported(problem, "one whole number of time steps for all its values is possible")
    if not 0 <= steps <= MOST_DELAY:
        raise Unsupported(f"delays by {steps:g} time steps", f"0..{MOST_DELAY} are possible")
    if steps and source not in made.binary:
        raise Unsupported("delays what are no binary spikes", "put it right behind a layer of spiking neurons")
    two = np.full((1, 1), 2.0)
    count = int(steps) - (steps > 0 and source in made.before)
    for step in range(count):
        suffix = "" if step == count - 1 else f"_{step + 1}"
        neuron = FloatLeakyIntegrateAndFire(two, 1.0, ZERO, two)
        source = made.add(FiringLayer(made.names.of(unit, suffix), shape, (source,), neuron, None))
        made.binary.add(source)
    return source
