"""Weights survive packing, at exactly the bytes that their width takes; other bytes are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdf.sim.contract import WEIGHT_RANGES
from hmdf.sim.errors import ProgramError
from hmdf.sim.packing import pack, packed_bytes, unpack


def weights_of(bits: int, count: int, seed: int) -> np.ndarray:
    low, high = WEIGHT_RANGES[bits]
    weight = np.random.default_rng(seed).integers(low, high + 1, count)
    return np.where((weight == 0) & (bits == 1), 1, weight).astype(np.int8)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 200), st.integers(0, 10**6))
def test_round_trip(bits, count, seed):
    weight = weights_of(bits, count, seed)
    packed = pack(weight, bits)
    assert packed.dtype == np.uint8
    assert packed.size == packed_bytes(count, bits)
    assert np.array_equal(unpack(packed, count, bits), weight)


@pytest.mark.parametrize(("bits", "size"), [(1, 125), (2, 200), (4, 500), (8, 1000)])
def test_bytes_of_a_thousand_weights(bits, size):
    assert packed_bytes(1000, bits) == size


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_number_of_bytes(bits, change):
    packed = pack(weights_of(bits, 40, 0), bits)
    with pytest.raises(ProgramError, match="cannot hold exactly 40 weights"):
        unpack(np.resize(packed, packed.size + change), 40, bits)


def test_byte_that_is_no_five_trits():
    with pytest.raises(ProgramError, match="byte 243 holds no five trits"):
        unpack(np.array([243], dtype=np.uint8), 5, 2)


@pytest.mark.parametrize(("bits", "byte"), [(1, 0b10), (2, 3), (4, 0x10)])
def test_unused_digits_must_be_zero(bits, byte):
    with pytest.raises(ProgramError, match="unused digit"):
        unpack(np.array([byte], dtype=np.uint8), 1, bits)
