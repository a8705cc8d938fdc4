"""The grid is what the user wrote, and no program twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdf.tools.documents.exploration import Setting
from hmdf.tools.exploration.grid import RangeError, grid, numbers


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 4)), min_size=1, max_size=4))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_numbers_are_those_written(parts):
    text = ",".join(f"{a}..{a + more}" if more else str(a) for a, more in parts)
    expected = sorted({n for a, more in parts for n in range(a, a + more + 1)})
    assert numbers(text, 16) == expected


def test_t_is_the_last_number():
    assert numbers("1..T", 3) == [1, 2, 3]
    assert numbers("T", 3) == [3]
    assert numbers("T..5", 9, trained=3) == [3, 4, 5]


@pytest.mark.parametrize("text", ["", "x", "2..", "..3", "3..2", "0", "1..2..3", "17", "1,,2", "-1", "²", "1.5"])
def test_what_is_no_list_of_numbers(text):
    with pytest.raises(RangeError):
        numbers(text, 16)


def test_bits_beyond_training_are_one_setting():
    axes = {"message_bits": [16], "input_bits": [8], "weight_bits": [8], "pools": ["keep"]}
    assert grid([3, 4, 5, 8], [1, 2], 4, **axes) == [Setting(3, 1), Setting(3, 2), Setting(4, 1), Setting(4, 2)]
