"""Layers onto cores: which slice of which layer lies where, what it takes, and how far its messages travel.

Slices come from `partition`, their cores from `assignment`, the places of these from `placement`. The same program and
events have the same mapping on every machine.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import INPUT
from hmdf.sim.errors import DoesNotFit
from hmdf.sim.program import Program

from ..events import EventCounts, checked
from ..schema import PURPOSES, Target
from .assignment import LowerBound, Needs, lower_bound, needs_of, pack
from .layers import READOUT, Ints
from .partition import RESOURCES, Cut, Partition, overlaps, partition
from .placement import Traffic, coordinates, mesh_of, place


class Slice(msgspec.Struct, frozen=True):
    """A block of one layer on one core: channels, rows and columns as [first, last).

    Attributes:
        input_axons, output_axons: different source neurons that it listens to; pairs of (neuron, core it sends to).
        fan_in, fan_out: most synapses that end in, and that start at, one neuron of the layer.
        messages_out: deliveries per sample, a message counted once for each core it goes to.
        bytes: by purpose.
    """

    layer: str
    core: int
    channels: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    neurons: int
    input_axons: int
    output_axons: int
    fan_in: int
    fan_out: int
    messages_out: float
    bytes: dict[str, int]


class CoreUse(msgspec.Struct, frozen=True):
    """One core: its place, what its slices take of it, and its traffic.

    Attributes:
        chip, x, y: chip number and tile of the mesh.
        bytes: by purpose.
        memory_use: bytes / limit of its fullest memory, 0 without a limit.
        messages_in, messages_out: per sample, to and from slices on any core, this one included.
    """

    core: int
    chip: int
    x: int
    y: int
    layers: tuple[str, ...]
    neurons: int
    input_axons: int
    output_axons: int
    bytes: dict[str, int]
    memory_use: float
    messages_in: float
    messages_out: float


class Travel(msgspec.Struct, frozen=True):
    """Messages of one layer (or of the input) per sample.

    Attributes:
        messages: sent; each is one spike, or one message of a dense current.
        deliveries: messages times destination cores.
        hops_x, hops_y, chip_crossings: mesh links, and borders of chips, summed over deliveries.
        hops_per_message: mesh links that a message takes on all its ways together.
    """

    messages: float
    deliveries: float
    hops_x: float
    hops_y: float
    chip_crossings: float
    hops_per_message: float


class Mapping(msgspec.Struct, frozen=True):
    """A program on a chip; plain data, ready for JSON.

    Attributes:
        cores: that hold a slice.
        chips: that they lie on.
        ratio: cores / lower_bound.cores, 1 is optimal.
        traffic: where the message counts come from.
        mesh_assumed: the target's mesh is not known; a square is assumed.
        slices: in the order of the layers.
        core_use: of every core up to the last that holds a slice.
        travel: by layer and "input".
        mean_hops: mesh links per delivery.
        longest_way: most links between two cores that exchange messages.
    """

    target: str
    cores: int
    chips: int
    lower_bound: LowerBound
    ratio: float
    traffic: str
    mesh_assumed: bool
    slices: list[Slice]
    core_use: list[CoreUse]
    travel: dict[str, Travel]
    mean_hops: float
    longest_way: int


def map_program(program: Program, target: Target, events: EventCounts | None = None) -> Mapping:
    """Map a program onto as many chips as it needs.

    Args:
        events: measured traffic; without it every neuron is taken to send at every step, and the result says so.

    Raises:
        DoesNotFit: the smallest slice of some layer breaks a limit of a core; `fit.check` says what to do.
    """
    events = checked(events, program)
    parts = partition(program, target)
    needs, core_of = _packed(parts, target)
    last = int(core_of.max()) + 1
    cores = len(np.unique(core_of))
    links = _links(parts.cuts, events)
    mesh = mesh_of(target, last)
    sources = np.where(links.source < 0, -1, core_of[links.source])
    traffic = Traffic(sources, core_of[links.destination], links.messages)
    places = place(mesh, last, _summed(traffic, last), _hop_weights(target))
    bound = lower_bound(program, target)
    x, y = coordinates(mesh, places)
    travel, longest = _travel(parts.cuts, events, links, traffic, (x, y), places // mesh.places)
    deliveries = sum(t.deliveries for t in travel.values())
    return Mapping(
        target=target.name,
        cores=cores,
        chips=-(-last // mesh.places),
        lower_bound=bound,
        ratio=cores / bound.cores,
        traffic=events.origin,
        mesh_assumed=mesh.assumed,
        slices=_slices(parts.cuts, core_of, links),
        core_use=_core_use(parts.cuts, target, needs, core_of, traffic, (x % mesh.width, y, places // mesh.places)),
        travel=travel,
        mean_hops=sum(t.hops_x + t.hops_y for t in travel.values()) / deliveries if deliveries else 0.0,
        longest_way=longest,
    )


def _packed(parts: Partition, target: Target) -> tuple[Needs, Ints]:
    """What each slice takes, and its core; raises DoesNotFit as `map_program`."""
    if parts.excesses:
        first = parts.excesses[0]
        more = f" ({len(parts.excesses) - 1} more)" if len(parts.excesses) > 1 else ""
        raise DoesNotFit(
            f"'{first.layer}' does not fit a core of {target.name}: {first.resource} {first.needed}, limit "
            f"{first.available}{more}"
        )
    needs = needs_of(parts)
    core_of = pack(needs, target)
    if core_of is None:
        raise DoesNotFit(f"no core of {target.name} has all the memory that some layer needs")
    return needs, core_of


# ----------------------------------------------------------------------------- traffic


class _Links(msgspec.Struct, frozen=True, eq=False):
    """Messages per sample from slice to slice; `layer` numbers the sending layer, -1 is the input."""

    layer: Ints
    source: Ints
    destination: Ints
    messages: NDArray[np.float64]


def _links(cuts: list[Cut], events: EventCounts) -> _Links:
    offsets = np.cumsum([0, *(cut.slices for cut in cuts)])
    numbers = {cut.layer.name: index for index, cut in enumerate(cuts)}
    parts = []
    for reader, cut in enumerate(cuts):
        for edge in cut.layer.edges:
            sender = numbers.get(edge.source, -1)
            blocks = cuts[sender].bounds if sender >= 0 else tuple(np.array([0, size]) for size in edge.source_shape)
            to, at, neurons = _joined(overlaps(edge, blocks, cut.bounds))  # type: ignore[arg-type]
            rate = float(np.mean(events.messages[edge.source])) / np.prod(edge.source_shape)
            source = at + offsets[sender] if sender >= 0 else np.full_like(at, -1)
            parts.append(_Links(np.full_like(at, sender), source, to + offsets[reader], neurons * rate))
    return _Links(*(np.concatenate([getattr(p, field) for p in parts]) for field in _Links.__struct_fields__))


def _joined(axes: list[NDArray[np.int64]]) -> tuple[Ints, Ints, NDArray[np.float64]]:
    """Reader slice, source slice and neurons of every pair that overlaps, from the overlaps per axis."""
    to, at, neurons = np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1)
    for axis in axes:
        reader, source = np.nonzero(axis)
        to = (to[:, None] * axis.shape[0] + reader).reshape(-1)
        at = (at[:, None] * axis.shape[1] + source).reshape(-1)
        neurons = (neurons[:, None] * axis[reader, source]).reshape(-1)
    return to, at, neurons


def _summed(traffic: Traffic, cores: int) -> Traffic:
    """One entry per pair of cores."""
    pairs, index = np.unique((traffic.source + 1) * cores + traffic.destination, return_inverse=True)
    return Traffic(pairs // cores - 1, pairs % cores, np.bincount(index, traffic.messages).astype(np.float64))


def _hop_weights(target: Target) -> tuple[int, int]:
    """Relative cost of a hop in x and y in whole numbers, (1, 1) where it is not known."""
    x, y = target.costs.hop_x_energy, target.costs.hop_y_energy
    if x is None or y is None or not x.typical or not y.typical:
        return 1, 1
    smaller = min(x.typical, y.typical)
    return round(12 * x.typical / smaller), round(12 * y.typical / smaller)


def _travel(
    cuts: list[Cut], events: EventCounts, links: _Links, traffic: Traffic, at: tuple[Ints, Ints], chip: Ints
) -> tuple[dict[str, Travel], int]:
    ends = []
    for axis in (*at, chip):
        start = np.where(traffic.source < 0, 0, axis[traffic.source])
        ends.append(np.abs(start - axis[traffic.destination]))
    names = [INPUT, *(cut.layer.name for cut in cuts)]

    def by_layer(weight: np.ndarray) -> np.ndarray:
        return np.bincount(links.layer + 1, weight, minlength=len(names))

    sums = [by_layer(links.messages), *(by_layer(links.messages * end) for end in ends)]
    travel = {}
    for name, *of_layer in zip(names, *sums, strict=True):
        sent = 0.0 if name == READOUT else float(events.messages[name].mean())
        deliveries, hops_x, hops_y, crossings = map(float, of_layer)
        travel[name] = Travel(sent, deliveries, hops_x, hops_y, crossings, (hops_x + hops_y) / sent if sent else 0.0)
    return travel, int((ends[0] + ends[1]).max(initial=0))


# ------------------------------------------------------------------------------ result


def _slices(cuts: list[Cut], core_of: Ints, links: _Links) -> list[Slice]:
    slices: list[Slice] = []
    sent = np.bincount(links.source + 1, links.messages, minlength=len(core_of) + 1)[1:]
    fan_out: dict[str, int] = {}
    for edge in (edge for cut in cuts for edge in cut.layer.edges):
        fan_out[edge.source] = fan_out.get(edge.source, 0) + edge.fan_out()
    for cut in cuts:
        fan_in = sum(edge.fan_in() for edge in cut.layer.edges)
        flat = {name: need.reshape(-1) for name, need in cut.needs.items()}
        for index, (c, y, x) in enumerate(np.ndindex(cut.grid)):
            spans = [(int(b[i]), int(b[i + 1])) for b, i in zip(cut.bounds, (c, y, x), strict=True)]
            slices.append(
                Slice(
                    layer=cut.layer.name,
                    core=int(core_of[len(slices)]),
                    channels=spans[0],
                    rows=spans[1],
                    columns=spans[2],
                    neurons=int(flat["neurons"][index]),
                    input_axons=int(flat["input_axons"][index]),
                    output_axons=int(flat["output_axons"][index]),
                    fan_in=fan_in,
                    fan_out=fan_out.get(cut.layer.name, 0),
                    messages_out=float(sent[len(slices)]),
                    bytes={p: int(flat[p][index]) // 8 for p in PURPOSES},
                )
            )
    return slices


def _core_use(
    cuts: list[Cut],
    target: Target,
    needs: Needs,
    core_of: Ints,
    traffic: Traffic,
    at: tuple[Ints, Ints, Ints],
) -> list[CoreUse]:
    cores = int(core_of.max()) + 1
    totals = np.zeros((cores, needs.shape[1]), np.int64)
    np.add.at(totals, core_of, needs)
    received = np.bincount(traffic.destination, traffic.messages, minlength=cores)
    sent = np.bincount(traffic.source + 1, traffic.messages, minlength=cores + 1)[1:]
    layers: list[list[str]] = [[] for _ in range(cores)]
    for cut, part in zip(cuts, np.split(core_of, np.cumsum([c.slices for c in cuts])[:-1]), strict=True):
        for core in np.unique(part):
            layers[core].append(cut.layer.name)
    uses = []
    for core in range(cores):
        row = dict(zip(RESOURCES, (int(v) for v in totals[core]), strict=True))
        shares = [sum(row[p] for p in m.holds) / 8 / m.of_core(core) for m in target.memories]
        uses.append(
            CoreUse(
                core=core,
                chip=int(at[2][core]),
                x=int(at[0][core]),
                y=int(at[1][core]),
                layers=tuple(layers[core]),
                neurons=row["neurons"],
                input_axons=row["input_axons"],
                output_axons=row["output_axons"],
                bytes={p: row[p] // 8 for p in PURPOSES},
                memory_use=max(shares, default=0.0),
                messages_in=float(received[core]),
                messages_out=float(sent[core]),
            )
        )
    return uses
