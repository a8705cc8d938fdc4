"""Where cores lie on the mesh, so that messages travel short ways. Deterministic: integer traffic, first minimum."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..schema import Target

LARGEST_IMPROVED = 1024
"""Places of a chip up to which swaps are tried; the matrices of a larger chip would not fit the caches."""

Ints = NDArray[np.int64]


class Mesh(msgspec.Struct, frozen=True, eq=False):
    """Places of cores, chips side by side in x.

    Attributes:
        x, y: of each place of one chip, in an order in which neighbours are close (a snake through the tiles).
        width: tiles of one chip in x.
        assumed: the target does not say how its cores are arranged, so they are taken as a square.
    """

    x: Ints
    y: Ints
    width: int
    assumed: bool

    @property
    def places(self) -> int:
        return len(self.x)


class Traffic(msgspec.Struct, frozen=True, eq=False):
    """Messages per sample between cores; `source` -1 is the input, which enters at the first place of chip 0."""

    source: Ints
    destination: Ints
    messages: NDArray[np.float64]


def mesh_of(target: Target, cores: int) -> Mesh:
    """The mesh of a target; `cores` says how many places are wanted where the target has no limit."""
    per_tile = target.limits.cores_per_tile or 1
    places = target.limits.cores or cores
    if target.limits.mesh is not None:
        width, height = target.limits.mesh
    else:
        tiles = -(-places // per_tile)
        width = int(np.ceil(np.sqrt(tiles)))
        height = -(-tiles // width)
    tile_x = np.repeat(np.arange(width), height)
    upward = np.tile(np.arange(height), width)
    tile_y = np.where(tile_x % 2 == 0, upward, height - 1 - upward)
    return Mesh(
        np.repeat(tile_x, per_tile)[:places],
        np.repeat(tile_y, per_tile)[:places],
        width,
        target.limits.mesh is None and places > 1,
    )


def coordinates(mesh: Mesh, places: Ints) -> tuple[Ints, Ints]:
    """x and y of places, numbered through all chips; -1 is where the input enters."""
    inside = np.maximum(places, 0)
    chip, place = np.divmod(inside, mesh.places)
    return mesh.x[place] + chip * mesh.width, mesh.y[place]


def place(mesh: Mesh, cores: int, traffic: Traffic, weights: tuple[int, int]) -> Ints:
    """The place of each core: the order of the layers along a snake, then the best swap until none helps.

    Args:
        weights: relative cost of a hop in x and in y.
    """
    places = np.arange(cores)
    if mesh.places > LARGEST_IMPROVED or mesh.places < 3:
        return places
    # Whole numbers keep every sum exact, so that the result does not depend on the order of additions.
    whole = np.rint(traffic.messages * 16)
    inside = traffic.source != traffic.destination
    links = Traffic(traffic.source[inside], traffic.destination[inside], whole[inside])
    for chip in range(-(-cores // mesh.places)):
        _improve(mesh, places, chip, links, weights)
    return places


def _improve(mesh: Mesh, places: Ints, chip: int, links: Traffic, weights: tuple[int, int]) -> None:
    """Place the cores of one chip; the empty places take part in the swaps."""
    size, first = mesh.places, chip * mesh.places
    own = np.arange(first, min(first + size, len(places)))
    distance = weights[0] * np.abs(mesh.x[:, None] - mesh.x) + weights[1] * np.abs(mesh.y[:, None] - mesh.y)
    distance = distance.astype(np.float64)
    traffic = np.zeros((size, size))
    starts, ends = links.source - first, links.destination - first
    in_start, in_end = (starts >= 0) & (starts < size), (ends >= 0) & (ends < size)
    both = in_start & in_end
    np.add.at(traffic, (starts[both], ends[both]), links.messages[both])
    traffic += traffic.T
    outside = _outside_cost(mesh, places, chip, links, weights, (in_start, in_end))
    # Two starts, a snake along y and one along x; swaps alone can stop short from either.
    along_x = np.lexsort((np.where(mesh.y % 2 == 0, mesh.x, -mesh.x), mesh.y))
    tried = [_swapped(start, traffic, distance, outside) for start in (np.arange(size), along_x)]
    best = min(tried, key=lambda found: found[0])[1]
    places[own] = first + best[: len(own)]


def _swapped(
    start: Ints, traffic: NDArray[np.float64], distance: NDArray[np.float64], outside: NDArray[np.float64]
) -> tuple[float, Ints]:
    """Traffic times distance after the best swaps from a start, and the place of each core."""
    here = start.copy()
    cost = traffic @ distance[here] + outside
    for _ in range(4 * len(here)):
        at = cost[:, here]
        stay = np.diagonal(at)
        gain = at + at.T - stay[:, None] - stay + 2 * traffic * distance[here][:, here]
        a, b = np.unravel_index(np.argmin(gain), gain.shape)
        if gain[a, b] >= 0:
            break
        change = distance[here[b]] - distance[here[a]]
        cost += np.outer(traffic[:, a], change) - np.outer(traffic[:, b], change)
        here[[a, b]] = here[[b, a]]
    own = np.arange(len(here))
    # Links inside the chip are in the cost of both their ends.
    return float((cost[own, here] + outside[own, here]).sum() / 2), here


def _outside_cost(
    mesh: Mesh, places: Ints, chip: int, links: Traffic, weights: tuple[int, int], inside: tuple[np.ndarray, np.ndarray]
) -> NDArray[np.float64]:
    """What the links to other chips and the input cost each core of a chip at each place, (core, place)."""
    size, first = mesh.places, chip * mesh.places
    x, y = mesh.x + chip * mesh.width, mesh.y
    cost = np.zeros((size, size))
    for mine, other, own in ((links.source, links.destination, 0), (links.destination, links.source, 1)):
        crossing = inside[own] & ~inside[1 - own]
        core = mine[crossing] - first
        elsewhere = np.where(other[crossing] < 0, 0, places[other[crossing]])
        far_x, far_y = coordinates(mesh, elsewhere)
        messages = links.messages[crossing]
        # Summed per axis coordinate first: a chip has few different x and y.
        for far, near, weight in ((far_x, x, weights[0]), (far_y, y, weights[1])):
            for value in np.unique(near):
                total = np.bincount(core, messages * np.abs(far - value), minlength=size)
                cost[:, near == value] += weight * total[:, None]
    return cost
