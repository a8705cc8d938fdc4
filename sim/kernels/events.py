"""The event-driven way through a convolution: only where a message is not 0 are weights touched.

Messages of 8 bits are looked at four at a time, as the dot product takes them. `gather` lists the non-zero quads of a
source, with where each pixel's part of the list begins, so that any run of pixels is one stretch of the list. It is
worth it when few quads are not 0, which `share` measures on the messages at hand; the sums are the same either way.
"""

from __future__ import annotations

import numpy as np

from . import records as p
from .compiling import kernel
from .dot import add_events
from .lanes import WIDTH, address, differs, load, splat, store, total
from .paths.path import BYTE_PAIRS, OUTPUTS
from .pointers import int32s
from .records import buffer_row, port_row
from .tiles import LANES

WORTHWHILE_BESIDE_POINTS = 0.12
"""As Path.EVENT_SHARE, where multiplications are saved (winograd.py, look_ups.py)."""
SMALLEST_PATCH = 256
"""Bytes of a patch for which it can be worth it."""
QUAD = 4
_LOOKED_AT = 1024
"""Quads between two looks at whether there are too many."""


@kernel
def port_with_events(population, model, arenas, sample, scratch):
    """The first port whose convolution is worth doing event by event for this sample, with its list made; else -1."""
    for index in range(population.first_port, population.first_port + population.ports):
        port = port_row(model.ports, index)
        if port.kind == p.CONVOLUTION and port.dot != 0:
            source = buffer_row(model.buffers, port.source)
            # A patch of a few quads is done before a list is begun; a list has 32 bits for a weight's place.
            large = port.run_count * port.run_length >= SMALLEST_PATCH and source.plane < 1 << 26
            if source.arena == 0 and large:
                start = source.offset + sample * source.sample - source.corner
                share = (
                    model.event_share_beside_points if port.point_channels + port.look_planes > 0 else model.event_share
                )
                if _is_sparse(arenas.bytes, start, source, share):
                    _gather(arenas.bytes, start, source, quad_bytes(port), scratch)
                    return index
    return -1


@kernel
def quad_bytes(port):
    """Bytes of weights that a quad meets."""
    return OUTPUTS * QUAD * (2 if port.dot == BYTE_PAIRS else 1)


@kernel
def _is_sparse(bytes_, start, source, share):
    """Whether no more than a share of the quads of all steps, frame included, is not 0."""
    messages = int32s(address(bytes_, start))
    quads = source.steps * source.plane // QUAD
    none, limit, count = splat(0), share * quads, 0
    whole = quads // WIDTH * WIDTH
    for first in range(0, whole, _LOOKED_AT):
        found = none
        for k in range(first, min(first + _LOOKED_AT, whole), WIDTH):
            found = found - differs(load(messages, k), none)
        count += total(found, WIDTH)
        if count > limit:
            return False
    for k in range(whole, quads):
        count += messages[k] != 0
    return count <= limit


@kernel
def _gather(bytes_, start, source, weight_bytes, scratch):
    """List quads as (value, bytes of weights before it in the plane); `firsts`: where each pixel's part begins."""
    messages = int32s(address(bytes_, start))
    quads, pixel = source.plane // QUAD, source.pixel // QUAD
    pixels = source.plane // source.pixel
    events, firsts = scratch.events, scratch.firsts
    n = 0
    for t in range(source.steps):
        for i in range(pixels):
            firsts[t * (pixels + 1) + i] = n
            for k in range(i * pixel, (i + 1) * pixel):
                quad = messages[t * quads + k]
                events[n] = (np.int64(quad) << 32) | (k * weight_bytes)
                n += quad != 0
        firsts[t * (pixels + 1) + pixels] = n


@kernel
def accumulate(path, port, model, tile, t, scratch):
    """Accumulators of a tile, from the list."""
    source = buffer_row(model.buffers, port.source)
    plane_pixels = source.plane // source.pixel
    firsts = t * (plane_pixels + 1) if source.steps > 1 else 0
    weights = address(model.weights, port.weight + tile.channel // LANES * port.weight_row)
    across, run_count, run_weights = port.run_length // source.pixel, port.run_count, port.run_weights
    pixel_bytes = source.pixel // QUAD * quad_bytes(port)
    corner, pixel, pixels, runs = source.corner, source.pixel, port.pixels + tile.pixel, port.runs
    zero = splat(0)
    for i in range(tile.pixels):
        for c in range(0, LANES, WIDTH):
            store(scratch.accumulator32, i * LANES + c, zero)
        to = address(scratch.accumulator32, i * LANES)
        for run in range(run_count):
            begin = (corner + model.offsets[pixels + i] + model.offsets[runs + run]) // pixel
            first, last = scratch.firsts[firsts + begin], scratch.firsts[firsts + begin + across]
            if first < last:
                # The weights of the plane's quad 0, were it part of the run.
                row = weights + run * run_weights - begin * pixel_bytes
                add_events(path, port.dot, address(scratch.events, first), last - first, row, to)
