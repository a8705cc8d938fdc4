"""The kinds of nodes of NIR, one file each: the layers that they become."""

from collections.abc import Callable, Mapping

from ..building import Building
from ..units import Unit
from . import (
    convolution,
    current_based,
    delay,
    ends,
    flatten,
    integrate_and_fire,
    integrator,
    linear,
    pool,
    scale,
    threshold,
)

_LINEAR = (linear, convolution, pool, flatten, scale)
_NEURONS = (threshold, delay, integrate_and_fire, current_based, integrator)
MAKERS: Mapping[str, Callable[[Building, Unit, str], str]] = {
    kind: file.layers for file in (ends, *_LINEAR, *_NEURONS) for kind in file.KINDS
}
"""By kind, adds the layers of a node that reads the layer named last; returns the name of the last of them."""
