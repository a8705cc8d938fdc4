"""Cutting layers into slices that fit a core: blocks of channels, rows and (only where one row is too much) columns.

A layer is cut into the fewest equal slices that fit every limit; among equals, the cut that receives the fewest
different messages. The consumers of a layer are cut before it, so that its output axons are known.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from hmdf.sim.contract import INPUT
from hmdf.sim.program import Program

from ..schema import PURPOSES, Capabilities, Target
from .layers import ChipEdge, ChipLayer, Extents, Ints, layers_of

Bounds = tuple[Ints, Ints, Ints]
"""Where the blocks of a layer start along channels, rows and columns, the extent itself last."""
Grid = NDArray[np.int64]
"""One number per slice of a layer, (channel blocks, row blocks, column blocks)."""

RESOURCES = ("neurons", "input_axons", "output_axons", *PURPOSES)
"""What a core has: neurons, axons, and bits of memory by purpose."""


class Cut(msgspec.Struct, frozen=True, eq=False):
    """A layer in slices.

    Attributes:
        bounds: of its blocks.
        needs: by resource, what every slice takes; memory in bits.
    """

    layer: ChipLayer
    bounds: Bounds
    needs: dict[str, Grid]

    @property
    def grid(self) -> Extents:
        return len(self.bounds[0]) - 1, len(self.bounds[1]) - 1, len(self.bounds[2]) - 1

    @property
    def slices(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2]


class Excess(msgspec.Struct, frozen=True):
    """A limit that even the smallest slice of a layer breaks; memory in bytes, `resource` names the memory then."""

    layer: str
    resource: str
    needed: int
    available: int


class Partition(msgspec.Struct, frozen=True, eq=False):
    """All cuts in topological order. A layer with an excess is left whole."""

    cuts: list[Cut]
    excesses: list[Excess]


MOST_ROUNDS = 4
"""Times that layers of a loop are cut again."""


class Limit(msgspec.Struct, frozen=True):
    """What one core offers of the sum of some resources; memory in bits."""

    name: str
    resources: tuple[str, ...]
    available: int


def limits_of(target: Target) -> list[Limit]:
    """Limits of the largest core of a target."""
    named = {
        "neurons": target.limits.neurons_per_core,
        "input_axons": target.limits.input_axons_per_core,
        "output_axons": target.limits.output_axons_per_core,
    }
    limits = [Limit(name, (name,), value) for name, value in named.items() if value is not None]
    return limits + [Limit(f"{m.name} memory", m.holds, 8 * max(m.bytes)) for m in target.memories]


def partition(program: Program, target: Target) -> Partition:
    """Cut every layer of a program for the cores of a target."""
    return cut_layers(layers_of(program), target, limits_of(target))


def whole(program: Program, target: Target) -> list[Cut]:
    """Every layer in one piece, whatever the limits: its least need."""
    return cut_layers(layers_of(program), target, []).cuts


def cut_layers(layers: list[ChipLayer], target: Target, limits: list[Limit]) -> Partition:
    """Cut layers, given in topological order, under these limits.

    A layer is cut after its readers. One that goes back to an earlier layer, or to itself, is cut again when that is.
    """
    order = {layer.name: number for number, layer in enumerate(layers)}
    back = [(n, edge) for n, layer in enumerate(layers) for edge in layer.edges if order.get(edge.source, -1) >= n]
    parts = _cut_once(layers, target, limits, {})
    for _ in range(MOST_ROUNDS if back else 0):
        readers: dict[str, list[tuple[ChipEdge, Cut]]] = {}
        for number, edge in back:
            readers.setdefault(edge.source, []).append((edge, parts.cuts[number]))
        before, parts = parts, _cut_once(layers, target, limits, readers)
        if [[b.tolist() for b in cut.bounds] for cut in before.cuts] == [
            [b.tolist() for b in cut.bounds] for cut in parts.cuts
        ]:
            break
    return parts


def _cut_once(
    layers: list[ChipLayer], target: Target, limits: list[Limit], back: dict[str, list[tuple[ChipEdge, Cut]]]
) -> Partition:
    """`back`: by layer, its readers that come no later, as they were cut before."""
    order = {layer.name: number for number, layer in enumerate(layers)}
    readers = {name: [*found] for name, found in back.items()}
    cuts: list[Cut] = []
    excesses: list[Excess] = []
    for layer in reversed(layers):
        cutter = _Cutter(layer, target, limits, readers.get(layer.name, []))
        cut, broken = cutter.cut()
        cuts.append(cut)
        excesses = broken + excesses
        for edge in layer.edges:
            if edge.source != INPUT and order.get(edge.source, -1) < order[layer.name]:
                readers.setdefault(edge.source, []).append((edge, cut))
    return Partition(cuts[::-1], excesses)


def overlaps(edge: ChipEdge, source: Bounds, reader: Bounds) -> list[NDArray[np.int64]]:
    """How many source positions of each source block each reader block needs, per axis (reader blocks, blocks)."""
    low, high = _channel_span(edge, reader[0])
    starts, stops = source[0][:-1], source[0][1:]
    channels = np.minimum(high[:, None], stops) - np.maximum(low[:, None], starts)
    rows, columns = _cover(edge.rows, reader[1], source[1]), _cover(edge.columns, reader[2], source[2])
    return [np.maximum(channels, 0), rows, columns]


def _channel_span(edge: ChipEdge, bounds: Ints) -> tuple[Ints, Ints]:
    """Input channels [low, high) that each block of output channels reads."""
    return np.minimum.reduceat(edge.first, bounds[:-1]), np.maximum.reduceat(edge.last, bounds[:-1])


def _cover(reach: NDArray[np.bool_], bounds: Ints, source: Ints) -> NDArray[np.int64]:
    needed = np.logical_or.reduceat(reach, bounds[:-1], axis=0)
    return np.add.reduceat(needed.astype(np.int64), source[:-1], axis=1)


class _Cutter:
    """Finds the cut of one layer."""

    def __init__(
        self, layer: ChipLayer, target: Target, limits: list[Limit], readers: list[tuple[ChipEdge, Cut]]
    ) -> None:
        self.layer = layer
        self.capabilities: Capabilities = target.capabilities
        self.limits = limits
        self.divisible = target.capabilities.divisible_layers
        self.whole_first = target.capabilities.shared_cores
        self.readers = [self._reader(edge, cut) for edge, cut in readers]

    def cut(self) -> tuple[Cut, list[Excess]]:
        """The fewest slices that fit, and what even the smallest slice breaks."""
        _, height, width = self.layer.shape
        if not self.divisible or not self.limits:
            whole = self._make(self.layer.shape)
            return whole, self._excesses(whole)
        best: Cut | None = None
        for rows, columns in _tiles(height, width):
            spatial = -(-height // rows) * -(-width // columns)
            if best is not None and spatial > best.slices:
                break
            found = self._widest(rows, columns)
            if found is not None and (best is None or self._rank(found) < self._rank(best)):
                best = found
        if best is not None:
            return best, []
        return self._make(self.layer.shape), self._excesses(self._make((1, 1, 1)))

    def _rank(self, cut: Cut) -> tuple[float, int]:
        """Cores that the cut takes (parts of cores where the rest can be used), then messages it receives."""
        received = int(cut.needs["input_axons"].sum())
        if not self.whole_first:
            return cut.slices, received
        shares = np.stack([np.asarray(sum(cut.needs[r] for r in x.resources)) / x.available for x in self.limits])
        return float(shares.max(axis=0).sum()), received

    def _widest(self, rows: int, columns: int) -> Cut | None:
        """The cut into the widest channel blocks that fit beside these rows and columns."""
        low, high = 0, self.layer.shape[0]
        found = None
        while low < high:
            width = (low + high + 1) // 2
            cut = self._make((width, rows, columns))
            if self._fits(cut):
                low, found = width, cut
            else:
                high = width - 1
        if found is None or self.whole_first:
            # Full blocks and one remainder: the remainder can share its core with another layer's.
            return found
        even = self._make((-(-self.layer.shape[0] // found.grid[0]), rows, columns))
        return even if self._fits(even) else found

    def _make(self, block: Extents) -> Cut:
        bounds = tuple(
            np.append(np.arange(0, size, step), size) for size, step in zip(self.layer.shape, block, strict=True)
        )
        return Cut(self.layer, bounds, self._needs(bounds))  # type: ignore[arg-type]

    def _fits(self, cut: Cut) -> bool:
        return all(
            int(sum(cut.needs[r] for r in limit.resources).max()) <= limit.available  # type: ignore[union-attr]
            for limit in self.limits
        )

    def _excesses(self, cut: Cut) -> list[Excess]:
        found = []
        for limit in self.limits:
            needed = int(sum(cut.needs[r] for r in limit.resources).max())  # type: ignore[union-attr]
            if needed > limit.available:
                unit = 8 if limit.name.endswith(" memory") else 1
                found.append(Excess(self.layer.name, limit.name, -(-needed // unit), limit.available // unit))
        return found

    # ---------------------------------------------------------------- what slices need

    def _needs(self, bounds: tuple[Ints, ...]) -> dict[str, Grid]:
        layer, c = self.layer, self.capabilities
        blocks = [np.diff(b) for b in bounds]
        neurons = _outer(*blocks)
        ones = np.ones_like(neurons)
        weights, axons, buffers = 0 * ones, 0 * ones, 0 * ones
        for edge in layer.edges:
            edge_axons = self._axons(edge, bounds)
            axons = axons + edge_axons
            buffers = buffers + edge_axons * edge.delay * edge.message_bits
            weights = weights + self._weight_bits(edge, bounds, ones)
        outputs = sum((self._outputs(reader, bounds) for reader in self.readers), start=0 * ones)
        per_channel = _outer(blocks[0], np.ones_like(blocks[1]), np.ones_like(blocks[2]))
        return {
            "neurons": neurons,
            "input_axons": axons,
            "output_axons": outputs,
            "weights": _whole_bytes(weights),
            "state": _whole_bytes(neurons * layer.state_bits),
            "accumulators": _whole_bytes(neurons * layer.accumulator_bits),
            "parameters": _whole_bytes(per_channel * layer.parameter_bits_per_channel + layer.parameter_bits),
            "axons": _whole_bytes(axons * c.input_axon_bits + outputs * c.output_axon_bits),
            "buffers": _whole_bytes(buffers),
        }

    def _axons(self, edge: ChipEdge, bounds: tuple[Ints, ...]) -> Grid:
        """Different source neurons that each slice listens to, times the axons that each takes."""
        low, high = _channel_span(edge, bounds[0])
        rows = np.logical_or.reduceat(edge.rows, bounds[1][:-1], axis=0).sum(axis=1)
        columns = np.logical_or.reduceat(edge.columns, bounds[2][:-1], axis=0).sum(axis=1)
        return _outer(high - low, rows, columns) * copies(edge, self.capabilities)

    def _weight_bits(self, edge: ChipEdge, bounds: tuple[Ints, ...], ones: Grid) -> Grid:
        width = stored_bits(edge, self.capabilities)
        blocks = np.diff(bounds[0])[:, None, None]
        if self.capabilities.shared_kernels:
            return (blocks * edge.weights_per_channel + edge.weights_fixed) * width * ones
        reads = np.add.reduceat(edge.last - edge.first, bounds[0][:-1])
        rows = np.add.reduceat(edge.rows.sum(axis=1), bounds[1][:-1])
        columns = np.add.reduceat(edge.columns.sum(axis=1), bounds[2][:-1])
        return _outer(reads, rows, columns) * width

    def _reader(self, edge: ChipEdge, cut: Cut) -> tuple[Ints, Ints, Ints]:
        """How many blocks of a reading layer need each channel, row and column of this layer."""
        singles = tuple(np.arange(size + 1) for size in self.layer.shape)
        channels, rows, columns = overlaps(edge, singles, cut.bounds)  # type: ignore[arg-type]
        return (channels > 0).sum(axis=0), (rows > 0).sum(axis=0), (columns > 0).sum(axis=0)

    def _outputs(self, reader: tuple[Ints, Ints, Ints], bounds: tuple[Ints, ...]) -> Grid:
        return _outer(*(np.add.reduceat(counts, b[:-1]) for counts, b in zip(reader, bounds, strict=True)))


def copies(edge: ChipEdge, capabilities: Capabilities) -> int:
    """Input axons that one source neuron of an edge takes."""
    return capabilities.axons_per_neuron(edge.weight_bits if edge.weighted else capabilities.weight_bits[0])


def stored_bits(edge: ChipEdge, capabilities: Capabilities) -> int:
    """Width of one stored weight of an edge; the ones of a pool or direct port take the narrowest."""
    if not edge.weighted:
        return capabilities.weight_bits[0]
    widths = capabilities.input_weight_bits if edge.source == INPUT else None
    if widths is not None:
        return next((w for w in widths if w >= edge.weight_bits), edge.weight_bits)
    return capabilities.stored_weight_bits(edge.weight_bits) or edge.weight_bits


def _tiles(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Block sizes (rows, columns): whole rows first, then parts of one row; each number of blocks once."""
    for rows in _block_sizes(height):
        yield rows, width
    for columns in _block_sizes(width):
        if columns < width:
            yield 1, columns


def _block_sizes(size: int) -> list[int]:
    return sorted({-(-size // blocks) for blocks in range(1, size + 1)}, reverse=True)


def _outer(channels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Grid:
    return channels[:, None, None].astype(np.int64) * rows[None, :, None] * columns[None, None, :]


def _whole_bytes(bits: Grid) -> Grid:
    return -(-bits // 8) * 8
