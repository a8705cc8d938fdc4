"""Loops of `triton` as Triton kernels, over tensors as flat arrays."""

import triton
import triton.language as tl

__all__ = ["fire", "fire_backward", "fire_hierarchical", "fire_hierarchical_backward"]

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


@triton.jit
def fire_hierarchical(
    current, d, v, mu_d, mu_s, lambda_s, lambda_d, theta, spikes, d_new, v_new, elements, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < elements
    threshold = tl.load(theta).to(tl.float32)
    soma = tl.load(v + at, mask=inside, other=0.0).to(tl.float32)
    dendrite = tl.load(mu_d).to(tl.float32) * tl.load(d + at, mask=inside, other=0.0).to(tl.float32)
    dendrite += tl.load(mu_s).to(tl.float32) * soma + tl.load(current + at, mask=inside, other=0.0).to(tl.float32)
    m = tl.load(lambda_s).to(tl.float32) * soma + tl.load(lambda_d).to(tl.float32) * dendrite
    s = tl.where(m >= threshold, threshold, 0.0)
    tl.store(spikes + at, s, mask=inside)
    tl.store(d_new + at, dendrite, mask=inside)
    tl.store(v_new + at, m - s, mask=inside)


@triton.jit
def fire_hierarchical_backward(
    grad, grad_d, grad_v, spikes, d_new, v_new, d, v, mu_d, mu_s, lambda_s, lambda_d, theta,
    grad_current, before_d, before_v, sums, elements,
    WIDTH: tl.constexpr, HAS_GRAD: tl.constexpr, HAS_GRAD_D: tl.constexpr, HAS_GRAD_V: tl.constexpr,
    INTO_STATE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    at = block * BLOCK + tl.arange(0, BLOCK)
    inside = at < elements
    of_m = tl.zeros((BLOCK,), tl.float32)
    if HAS_GRAD:
        threshold = tl.load(theta).to(tl.float32)
        m = tl.load(v_new + at, mask=inside, other=0.0).to(tl.float32)
        m += tl.load(spikes + at, mask=inside, other=0.0).to(tl.float32)
        slope = tl.maximum(WIDTH - tl.abs(m - threshold), 0.0, propagate_nan=NAN) * (threshold / (WIDTH * WIDTH))
        of_m += slope * tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
    if HAS_GRAD_V:
        of_m += tl.load(grad_v + at, mask=inside, other=0.0).to(tl.float32)
    of_d = tl.load(lambda_d).to(tl.float32) * of_m
    if HAS_GRAD_D:
        of_d += tl.load(grad_d + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(grad_current + at, of_d, mask=inside)
    dendrite = tl.load(d + at, mask=inside, other=0.0).to(tl.float32)
    soma = tl.load(v + at, mask=inside, other=0.0).to(tl.float32)
    blocks = tl.num_programs(0)
    tl.store(sums + block, tl.sum(of_d * dendrite))
    tl.store(sums + blocks + block, tl.sum(of_d * soma))
    tl.store(sums + 2 * blocks + block, tl.sum(of_m * soma))
    tl.store(sums + 3 * blocks + block, tl.sum(of_m * tl.load(d_new + at, mask=inside, other=0.0).to(tl.float32)))
    if INTO_STATE:
        tl.store(before_d + at, tl.load(mu_d).to(tl.float32) * of_d, mask=inside)
        back = tl.load(mu_s).to(tl.float32) * of_d + tl.load(lambda_s).to(tl.float32) * of_m
        tl.store(before_v + at, back, mask=inside)
