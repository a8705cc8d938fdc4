"""Loops of `triton` as Triton kernels, over tensors as flat arrays."""

import triton
import triton.language as tl

__all__ = ["fire", "fire_backward"]

# 1.5 * 2^23: added to a float of 0..2^22 it leaves no bits behind the point, rounding half to even.
ROUND = tl.constexpr(12582912.0)
NAN = tl.constexpr(tl.PropagateNan.ALL)


@triton.jit
def fire(
    current, v, leak, theta, lsb, spikes, v_new, fired, elements,
    TOP: tl.constexpr, HAS_V: tl.constexpr, MEMBRANE: tl.constexpr, DIFFERENTIATED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < elements
    threshold = tl.load(theta).to(tl.float32)
    m = tl.load(current + at, mask=inside, other=0.0).to(tl.float32)
    if HAS_V:
        m += tl.load(leak).to(tl.float32) * tl.load(v + at, mask=inside, other=0.0).to(tl.float32)
    s = tl.maximum(m - threshold, 0.0, propagate_nan=NAN)
    if TOP > 0:
        step = tl.load(lsb).to(tl.float32)
        s = (tl.minimum(s * (1.0 / step), TOP, propagate_nan=NAN) + ROUND - ROUND) * step
    tl.store(spikes + at, s, mask=inside)
    if MEMBRANE:
        tl.store(v_new + at, tl.minimum(m, threshold, propagate_nan=NAN), mask=inside)
    if DIFFERENTIATED:
        tl.store(fired + at, m > threshold, mask=inside)


@triton.jit
def fire_backward(
    grad, fired, v, grad_current, sums, elements, HAS_V: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    at = block * BLOCK + tl.arange(0, BLOCK)
    inside = at < elements
    g = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
    g = tl.where(tl.load(fired + at, mask=inside, other=0) != 0, g, 0.0)
    tl.store(grad_current + at, g, mask=inside)
    tl.store(sums + block, tl.sum(g))
    if HAS_V:
        product = g * tl.load(v + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(sums + tl.num_programs(0) + block, tl.sum(product))
