"""The contract's arithmetic against Python's unbounded integers."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hmdf.sim.arithmetic import bits_needed, clamp, integer_range, rshift, toward_zero

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(INT64, st.integers(0, 62))
@example((1 << 63) - 1, 62)
@example(-(1 << 63), 1)
@example((1 << 63) - 1, 1)
def test_rshift_is_floor_of_half_up(x, n):
    expected = (x + (1 << (n - 1))) >> n if n else x
    assert int(rshift(np.array([x], dtype=np.int64), n)[0]) == expected


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(1 - (1 << 63), (1 << 63) - 1), st.integers(0, 62))
def test_toward_zero_drops_the_fraction(x, n):
    assert int(toward_zero(np.array([x], dtype=np.int64), n)[0]) == math.trunc(Fraction(x, 1 << n))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(INT64, st.integers(1, 32), st.booleans())
def test_clamp_is_the_nearest_integer_of_the_range(x, bits, signed):
    low, high = integer_range(bits, signed)
    assert int(clamp(np.array([x], dtype=np.int64), low, high)[0]) == sorted((low, x, high))[1]


@settings(deadline=None, derandomize=True, max_examples=300)
@given(INT64, INT64)
def test_bits_needed_is_the_smallest_register(a, b):
    low, high = min(a, b), max(a, b)
    bits = bits_needed(low, high)
    assert -(1 << (bits - 1)) <= low
    assert high < 1 << (bits - 1)
    assert bits == 1 or low < -(1 << (bits - 2)) or high >= 1 << (bits - 2)
