"""The checks of `checked_kernels` find what they are for; test_bounds.py runs this in a process of its own."""

import numba
import numpy as np
import pytest

import checked_kernels
from checked_kernels import Memory, OutOfBounds, checks_compiled_in
from hmdf.sim.kernels.compiling import _OPTIONS
from hmdf.sim.kernels.lanes import load, store
from hmdf.sim.kernels.pointers import int32s

LENGTH = 40


@pytest.fixture(scope="module")
def memory():
    return checked_kernels._memory


@pytest.fixture(scope="module")
def move():
    """Copies 16 integers from index `i` to index `j`, or one where `one` says so; compiled with checks."""

    def move(address, i, j, one):
        pointer = int32s(address)
        if one:
            pointer[j] = pointer[i]
        else:
            store(pointer, j, load(pointer, i))

    with checks_compiled_in():
        compiled = numba.njit(move, **_OPTIONS)
        compiled.compile((numba.int64, numba.int64, numba.int64, numba.boolean))
    return compiled


@pytest.fixture
def slot(memory: Memory):
    memory.forget()
    address = memory.slot_of(np.arange(LENGTH, dtype=np.int32))
    memory.copy(inward=True)
    memory.open(address)
    return address


@pytest.mark.parametrize(("one", "last"), [(True, LENGTH - 1), (False, LENGTH - 16)])
def test_accesses_inside_the_array_are_none_of_its_business(memory, move, slot, one, last):
    move(slot, last, 0, one)
    move(slot, 0, last, one)
    memory.require_none_failed()
    memory.copy(inward=False)
    assert memory.arrays[slot][0] == last


@pytest.mark.parametrize(
    ("i", "j", "one", "message"),
    [
        (-1, 0, True, "reads 4 bytes at -4 of an array of 160 bytes"),
        (LENGTH, 0, True, "reads 4 bytes at 160 of"),
        (10**8, 0, True, "reads 4 bytes at 400000000 of"),
        (0, LENGTH, True, "writes 4 bytes at 160 of"),
        (LENGTH - 15, 0, False, "reads 64 bytes at 100 of"),
        (0, -1, False, "writes 64 bytes at -4 of"),
    ],
)
def test_accesses_outside_are_found(memory, move, slot, i, j, one, message):
    move(slot, i, j, one)
    with pytest.raises(OutOfBounds, match=message):
        memory.require_none_failed()


def test_tables_and_other_populations_messages_are_not_written(memory, move, slot):
    memory.open(slot, period=80, low=16, high=48)  # of 20 integers, 4..11
    move(slot, 0, 4, True)
    move(slot, 0, 20 + 11, True)
    memory.require_none_failed()
    move(slot, 0, 20 + 12, True)
    with pytest.raises(OutOfBounds, match="writes 4 bytes at 128 of"):
        memory.require_none_failed()


def test_an_address_that_is_no_array_is_found(memory, move, slot):
    move(np.zeros(8, np.int32).ctypes.data, 0, 0, True)
    with pytest.raises(OutOfBounds, match=r"2 accesses, the first reads 4 bytes at .* of an array of 0 bytes"):
        memory.require_none_failed()
