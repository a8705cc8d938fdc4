"""Which core each slice gets: the first that has room for it, or one of its own; and the fewest cores that could do."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.program import Program

from ..schema import Target
from .layers import Ints
from .partition import RESOURCES, Limit, Partition, limits_of, whole

Needs = NDArray[np.int64]
"""What each slice takes, (slices, RESOURCES); memory in bits."""


class LowerBound(msgspec.Struct, frozen=True):
    """Fewest cores that any mapping needs: the largest of total need / limit of a core; `resource` says which."""

    cores: int
    resource: str


def needs_of(parts: Partition) -> Needs:
    """What each slice takes, (slices, RESOURCES), in the order of the layers."""
    return np.concatenate([np.stack([c.needs[r].reshape(-1) for r in RESOURCES], axis=1) for c in parts.cuts])


def pack(needs: Needs, target: Target) -> Ints | None:
    """The core of each slice: the first that has room for it, or its own where a core takes one layer only.

    None when cores differ and some layer fits none of them.
    """
    limits = limits_of(target)
    if not target.capabilities.divisible_layers:
        return _assign(needs, target)
    if not target.capabilities.shared_cores:
        return np.arange(len(needs))
    if not limits:
        return np.zeros(len(needs), np.int64)
    takes = _by_limit(needs, limits)
    room = np.tile(np.array([limit.available for limit in limits]), (len(needs), 1))
    core_of = np.empty(len(needs), np.int64)
    for index, take in enumerate(takes):
        core_of[index] = np.argmax((room[: index + 1] >= take).all(axis=1))
        room[core_of[index]] -= take
    return core_of


def lower_bound(program: Program, target: Target) -> LowerBound:
    """Fewest cores of a target that could hold a program, from its total needs with every layer in one piece."""
    limits = limits_of(target)
    cuts = whole(program, target)
    if not limits:
        return LowerBound(1, "none")
    takes = np.stack([_by_limit(np.array([[c.needs[r].sum() for r in RESOURCES]]), limits)[0] for c in cuts])
    available = np.array([limit.available for limit in limits])
    if target.capabilities.shared_cores:
        cores = -(-takes.sum(axis=0) // available)
        tightest = int(np.argmax(cores))
        return LowerBound(max(1, int(cores[tightest])), limits[tightest].name)
    per_layer = np.maximum(1, -(-takes // available).max(axis=1))
    tightest = int(np.argmax((takes / available).sum(axis=0)))
    return LowerBound(int(per_layer.sum()), limits[tightest].name)


def _by_limit(needs: Needs, limits: list[Limit]) -> NDArray[np.int64]:
    columns = [needs[:, [RESOURCES.index(r) for r in limit.resources]].sum(axis=1) for limit in limits]
    return np.stack(columns, axis=1)


def core_shares(needs: Needs, target: Target) -> NDArray[np.float64]:
    """How much of each slice each core of a chip holds, by the memory that is tightest there: 1 or more is all of it.

    Returns:
        (slices, cores).
    """
    cores = np.arange(target.limits.cores or len(needs))
    shares = np.full((len(needs), len(cores)), np.inf)
    for memory in target.memories:
        take = needs[:, [RESOURCES.index(p) for p in memory.holds]].sum(axis=1)
        room = 8 * np.array([memory.of_core(int(core)) for core in cores])
        shares = np.minimum(shares, room / np.maximum(take, 1)[:, None])
    return shares


def _assign(needs: Needs, target: Target) -> Ints | None:
    """One layer per core where cores differ: a matching, on as few chips as it can be made."""
    fits = core_shares(needs, target) >= 1
    if not fits.any(axis=1).all():
        return None
    # With as many chips as layers each has its own, so one of these succeeds.
    for chips in range(-(-len(needs) // fits.shape[1]), len(needs) + 1):
        core_of = _matching(np.tile(fits, chips))
        if core_of is not None:
            return core_of
    return None


def _matching(fits: NDArray[np.bool_]) -> Ints | None:
    """A core for each layer, no two alike, from fits (layers, cores); None when there is none."""
    holder = np.full(fits.shape[1], -1)

    def settle(layer: int, tried: set[int]) -> bool:
        for core in np.flatnonzero(fits[layer]):
            if core not in tried:
                tried.add(int(core))
                if holder[core] < 0 or settle(int(holder[core]), tried):
                    holder[core] = layer
                    return True
        return False

    if not all(settle(layer, set()) for layer in range(len(fits))):
        return None
    core_of = np.empty(len(fits), np.int64)
    core_of[holder[holder >= 0]] = np.flatnonzero(holder >= 0)
    return core_of
