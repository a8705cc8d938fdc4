"""The loops, compiled by Numba: over flat arrays, each thread's part small enough for its cache.

What a convolution reads or writes may be bfloat16, as the uint16 of its bits (`_get`, `_put`); arithmetic, membranes
and sums are in 32-bit floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.extending import intrinsic, overload

# Elements that a thread takes at a time: what it reads and writes of them stays in the first-level cache.
ELEMENTS = 1 << 12
# The same where coefficients are per channel, about; and how many such runs are added in single precision.
RUN = 1 << 11
RUNS = 16
# Sums may be taken in any order; NaN must stay NaN.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "nsz"}, "error_model": "numpy"}


def use_threads() -> None:
    """As many threads as PyTorch uses."""
    wanted = torch.get_num_threads()
    numba.set_num_threads(min(wanted, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    if torch.get_num_threads() != wanted:  # where both use OpenMP, Numba's start changes its number of threads
        torch.set_num_threads(wanted)


def _kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(function, cache=True, parallel=True, **_OPTIONS)
    except RuntimeError:  # no folder to keep the machine code in
        return numba.njit(function, parallel=True, **_OPTIONS)


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loop over one thread's part, which the compiler turns into vector instructions."""
    return numba.njit(function, **_OPTIONS)


def _bitcast(to: Any, source: Any) -> Callable[..., Any]:
    """x -> the 32 bits of x as another type."""
    kinds = {numba.uint32: ir.IntType(32), numba.float32: ir.FloatType()}

    def cast(typingctx: Any, x: Any) -> Any:
        return to(source), lambda _, builder, __, args: builder.bitcast(args[0], kinds[to])

    return intrinsic(cast)


_bits_of = _bitcast(numba.uint32, numba.float32)
_float_of = _bitcast(numba.float32, numba.uint32)


def _get(array, i):
    """The float at ``i`` of float32 or of the bits of bfloat16."""


def _put(array, i, value):
    """Write a float there; to bfloat16 rounded to nearest, ties to even."""


@overload(_get)
def _get_of(array, i):
    if array.dtype == numba.uint16:
        return lambda array, i: _float_of(np.uint32(array[i]) << np.uint32(16))
    return lambda array, i: array[i]


@overload(_put)
def _put_of(array, i, value):
    if array.dtype != numba.uint16:

        def put(array, i, value):
            array[i] = value

        return put

    def put_rounded(array, i, value):
        bits = _bits_of(value)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        array[i] = np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return put_rounded


@_kernel
def fire(current, v, has_v, leak, theta, lsb, per_lsb, top, spikes, messages, v_new, membrane, fired):
    """Returns how many spikes are NaN."""
    strange = 0
    for block in numba.prange((current.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        m = np.empty(current[part].size, np.float32)
        _integrate(current[part], v[part], has_v, leak, m)
        strange += _spikes_of(m, theta, lsb, per_lsb, top, spikes[part], messages[part], fired[part])
        if membrane:
            _reset(m, theta, v_new[part])
    return strange


@_inner
def _integrate(current, v, has_v, leak, m):
    if has_v:
        for i in range(current.size):
            m[i] = leak * v[i] + _get(current, i)
    else:
        for i in range(current.size):
            m[i] = _get(current, i)


@_inner
def _spikes_of(m, theta, lsb, per_lsb, top, spikes, messages, fired):
    strange = np.int32(0)
    zero = np.float32(0)
    values = np.empty(m.size, np.float32)  # apart from the stores of `_put`, so that both become vector instructions
    if top > 0:
        for i in range(m.size):
            s = m[i] - theta
            fired[i] = np.uint8(0) if s <= zero else np.uint8(1)
            q = np.rint((zero if s <= zero else s) * per_lsb)
            q = top if q > top else q
            messages[i] = np.uint8(np.int32(q))
            values[i] = q * lsb
            strange += np.int32(1) if q != q else np.int32(0)
    else:
        for i in range(m.size):
            s = m[i] - theta
            fired[i] = np.uint8(0) if s <= zero else np.uint8(1)
            values[i] = zero if s <= zero else s
    _scale(values, np.float32(1), spikes)
    return np.int64(strange)


@_inner
def _reset(m, theta, v):
    for i in range(m.size):
        v[i] = theta if m[i] > theta else m[i]


@_kernel
def fire_backward(grad, grad_v, has_grad_v, fired, v, has_v, leak, grad_current, before_v, into_v):
    """(minus the gradient of theta, that of leak); ``grad_v`` is that of the new v, ``before_v`` that of v."""
    total = 0.0
    with_v = 0.0
    for block in numba.prange((grad.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        g = grad_current[part]
        _where_fired(grad[part], fired[part], g)
        total += _sum(g)
        if has_grad_v:
            total += _add_where_silent(grad_v[part], fired[part], g)
        if has_v:
            with_v += _dot(g, v[part])
        if into_v:
            _scale(g, leak, before_v[part])
    return np.float32(total), np.float32(with_v)


@_inner
def _where_fired(grad, fired, result):
    for i in range(grad.size):
        _put(result, i, _get(grad, i) if fired[i] != 0 else np.float32(0))


@_inner
def _add_where_silent(grad_v, fired, result):
    """Returns minus the sum where fired."""
    total = np.float32(0)
    for i in range(grad_v.size):
        total -= grad_v[i] if fired[i] != 0 else np.float32(0)
        value = _get(result, i) + (np.float32(0) if fired[i] != 0 else grad_v[i])
        _put(result, i, value)
    return np.float64(total)


@_inner
def _sum(x):
    total = np.float32(0)
    for i in range(x.size):
        total += _get(x, i)
    return np.float64(total)


@_inner
def _dot(x, y):
    total = np.float32(0)
    for i in range(x.size):
        total += _get(x, i) * y[i]
    return np.float64(total)


@_kernel
def fire_binary(current, v, has_v, leak, theta, spikes, messages, v_new):
    """Returns how many membranes are NaN."""
    strange = 0
    for block in numba.prange((current.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        m = v_new[part]
        _integrate(current[part], v[part], has_v, leak, m)
        strange += _spikes_binary(m, theta, spikes[part], messages[part])
    return strange


@_inner
def _spikes_binary(m, theta, spikes, messages):
    """Leaves the membrane after the soft reset in m."""
    strange = np.int32(0)
    for i in range(m.size):
        strange += np.int32(1) if m[i] != m[i] else np.int32(0)
        fires = m[i] >= theta
        _put(spikes, i, np.float32(1) if fires else np.float32(0))
        messages[i] = np.uint8(1) if fires else np.uint8(0)
        m[i] = m[i] - theta if fires else m[i]
    return np.int64(strange)


@_kernel
def fire_binary_backward(
    grad, grad_v, has_grad_v, spikes, v_new, theta, v, has_v, leak, grad_current, before_v, into_v
):
    """As `fire_backward`."""
    total = 0.0
    with_v = 0.0
    for block in numba.prange((grad.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        g = grad_current[part]
        if has_grad_v:
            of_spikes = np.empty(g.size, np.float32)  # a spike takes theta from v
            _subtract_scaled(grad[part], theta, grad_v[part], of_spikes)
            _by_triangle(of_spikes, spikes[part], v_new[part], theta, g)
            total += _sum(g) + _dot(spikes[part], grad_v[part])
            _add(grad_v[part], g)
        else:
            _by_triangle(grad[part], spikes[part], v_new[part], theta, g)
            total += _sum(g)
        if has_v:
            with_v += _dot(g, v[part])
        if into_v:
            _scale(g, leak, before_v[part])
    return np.float32(total), np.float32(with_v)


@_inner
def _subtract_scaled(x, factor, y, result):
    for i in range(x.size):
        result[i] = _get(x, i) - factor * y[i]


@_inner
def _by_triangle(grad, spikes, v_new, theta, result):
    for i in range(grad.size):
        slope = np.float32(1) - abs(v_new[i] + _get(spikes, i) * theta - theta)
        _put(result, i, _get(grad, i) * (np.float32(0) if slope <= 0 else slope))


@_kernel
def fire_hierarchical(current, d, v, mu_d, mu_s, lambda_s, lambda_d, theta, spikes, messages, d_new, v_new):
    """Returns how many membranes are NaN."""
    strange = 0
    for block in numba.prange((current.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        m = v_new[part]
        _couple(current[part], d[part], v[part], mu_d, mu_s, lambda_s, lambda_d, d_new[part], m)
        strange += _spikes_worth_theta(m, theta, spikes[part], messages[part])
    return strange


@_inner
def _couple(current, d, v, mu_d, mu_s, lambda_s, lambda_d, d_new, m):
    for i in range(current.size):
        d_new[i] = mu_d * d[i] + mu_s * v[i] + _get(current, i)
        m[i] = lambda_s * v[i] + lambda_d * d_new[i]


@_inner
def _spikes_worth_theta(m, theta, spikes, messages):
    """Leaves the soma after the soft reset in m."""
    strange = np.int32(0)
    for i in range(m.size):
        strange += np.int32(1) if m[i] != m[i] else np.int32(0)
        fires = m[i] >= theta
        _put(spikes, i, theta if fires else np.float32(0))
        messages[i] = np.uint8(1) if fires else np.uint8(0)
        m[i] = m[i] - theta if fires else m[i]
    return np.int64(strange)


@_kernel
def fire_hierarchical_backward(
    grad, has_grad, grad_d, has_grad_d, grad_v, has_grad_v, spikes, d_new, v_new, d, v,
    mu_d, mu_s, lambda_s, lambda_d, theta, width, grad_current, before_d, before_v, into_state,
):  # fmt: skip
    """The gradients of mu_d, mu_s, lambda_s and lambda_d."""
    with_d = 0.0
    with_v = 0.0
    soma_with_v = 0.0
    soma_with_d = 0.0
    for block in numba.prange((spikes.size + ELEMENTS - 1) // ELEMENTS):
        part = slice(np.int64(block) * ELEMENTS, (np.int64(block) + 1) * ELEMENTS)
        of_m = np.zeros(spikes[part].size, np.float32)
        if has_grad:
            _by_wide_triangle(grad[part], spikes[part], v_new[part], theta, width, of_m)
        if has_grad_v:
            _add(grad_v[part], of_m)
        of_d = np.empty(of_m.size, np.float32)
        _scale(of_m, lambda_d, of_d)
        if has_grad_d:
            _add(grad_d[part], of_d)
        with_d += _dot(of_d, d[part])
        with_v += _dot(of_d, v[part])
        soma_with_v += _dot(of_m, v[part])
        soma_with_d += _dot(of_m, d_new[part])
        _scale(of_d, np.float32(1), grad_current[part])
        if into_state:
            _scale(of_d, mu_d, before_d[part])
            _scale(of_d, mu_s, before_v[part])
            _add_leaked(of_m, lambda_s, before_v[part])
    return np.float32(with_d), np.float32(with_v), np.float32(soma_with_v), np.float32(soma_with_d)


@_inner
def _by_wide_triangle(grad, spikes, v_new, theta, width, result):
    for i in range(grad.size):
        slope = width - abs(v_new[i] + (np.float32(0) if _get(spikes, i) == 0 else theta) - theta)
        result[i] = _get(grad, i) * (np.float32(0) if slope <= 0 else slope) * (theta / (width * width))


@_inner
def _add(x, y):
    for i in range(y.size):
        _put(y, i, _get(y, i) + x[i])


@_inner
def _scale(x, factor, y):
    for i in range(y.size):
        _put(y, i, factor * _get(x, i))


# Per channel: all elements lie in the order (pixel, channel), so the coefficients of a run of pixels are those of one
# pixel, repeated. Whole runs are long loops, however few channels there are.


@_kernel
def affine_and_fire(
    x, gain, offset, v, has_v, leak, theta, lsb, per_lsb, top, spikes, messages, v_new, membrane, fired
):
    """`fire` of gain x + offset."""
    run = _run_length(gain.size)
    gains, offsets = _repeated(gain, run), _repeated(offset, run)
    strange = 0
    for block in numba.prange((x.size + run - 1) // run):
        part = slice(np.int64(block) * run, (np.int64(block) + 1) * run)
        m = np.empty(x[part].size, np.float32)
        _affine_part(x[part], gains, offsets, m)
        if has_v:
            _add_leaked(v[part], leak, m)
        strange += _spikes_of(m, theta, lsb, per_lsb, top, spikes[part], messages[part], fired[part])
        if membrane:
            _reset(m, theta, v_new[part])
    return strange


@_kernel
def affine(x, gain, offset, y):
    """y = gain x + offset."""
    run = _run_length(gain.size)
    gains, offsets = _repeated(gain, run), _repeated(offset, run)
    for block in numba.prange((x.size + run - 1) // run):
        part = slice(np.int64(block) * run, (np.int64(block) + 1) * run)
        _affine_part(x[part], gains, offsets, y[part])


@_kernel
def affine_of_two(a, b, of_a, of_b, offset, y):
    """y = of_a a + of_b b + offset; y may be a."""
    run = _run_length(offset.size)
    of_as, of_bs, offsets = _repeated(of_a, run), _repeated(of_b, run), _repeated(offset, run)
    for block in numba.prange((a.size + run - 1) // run):
        part = slice(np.int64(block) * run, (np.int64(block) + 1) * run)
        sum_of = np.empty(a[part].size, np.float32)  # where y is a, the loop would not become vector instructions
        _affine_of_two_part(a[part], b[part], of_as, of_bs, offsets, sum_of)
        _scale(sum_of, np.float32(1), y[part])


@_kernel
def sum_moments(x, channels, sums):
    """sums[:2 channels] = per channel, the sums of x and of its squares."""
    run = _run_length(channels)
    blocks = (x.size + RUNS * run - 1) // (RUNS * run)
    partial = np.zeros((blocks, 2, channels))
    for block in numba.prange(blocks):
        totals, squares = np.zeros(run, np.float32), np.zeros(run, np.float32)
        for start in range(np.int64(block) * RUNS * run, min((np.int64(block) + 1) * RUNS * run, x.size), run):
            _add_moments(x[start : start + run], totals, squares)
        _fold(totals, partial[block, 0])
        _fold(squares, partial[block, 1])
    _total(partial, sums)


@_kernel
def sum_products(grad, x, mean, sums):
    """sums = per channel, the sums of grad and of grad (x - mean)."""
    run = _run_length(mean.size)
    means = _repeated(mean, run)
    blocks = (x.size + RUNS * run - 1) // (RUNS * run)
    partial = np.zeros((blocks, 2, mean.size))
    for block in numba.prange(blocks):
        totals, products = np.zeros(run, np.float32), np.zeros(run, np.float32)
        for start in range(np.int64(block) * RUNS * run, min((np.int64(block) + 1) * RUNS * run, x.size), run):
            _add_products(grad[start : start + run], x[start : start + run], means, totals, products)
        _fold(totals, partial[block, 0])
        _fold(products, partial[block, 1])
    _total(partial, sums)


@_inner
def _run_length(channels):
    """Elements of a run: whole pixels."""
    return channels * max(1, RUN // channels)


@_inner
def _repeated(values, length):
    result = np.empty(length, np.float32)
    for i in range(length):
        result[i] = values[i % values.size]
    return result


@_inner
def _affine_part(x, gain, offset, y):
    for i in range(x.size):
        _put(y, i, gain[i] * _get(x, i) + offset[i])


@_inner
def _add_leaked(v, leak, m):
    for i in range(m.size):
        m[i] += leak * v[i]


@_inner
def _affine_of_two_part(a, b, of_a, of_b, offset, y):
    for i in range(a.size):
        y[i] = of_a[i] * _get(a, i) + of_b[i] * _get(b, i) + offset[i]


@_inner
def _add_moments(x, total, squares):
    for i in range(x.size):
        value = _get(x, i)
        total[i] += value
        squares[i] += value * value


@_inner
def _add_products(grad, x, mean, total, products):
    for i in range(x.size):
        g = _get(grad, i)
        total[i] += g
        products[i] += g * (_get(x, i) - mean[i])


@_inner
def _fold(values, channels):
    """Add up what belongs to the same channel."""
    for i in range(values.size):
        channels[i % channels.size] += values[i]


@_inner
def _total(partial, sums):
    blocks, kinds, channels = partial.shape
    for kind in range(kinds):
        for c in range(channels):
            total = 0.0
            for block in range(blocks):
                total += partial[block, kind, c]
            sums[kind * channels + c] = total
