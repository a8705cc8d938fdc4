import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdf.train.batches import mini_batches
from hmdf.train.config import TrainingConfig
from hmdf.train.data import load

DIGITS = load("digits", "test")


def numbered(samples: int):
    """A data set whose inputs are their own numbers."""
    inputs = np.zeros((samples, 1, 8, 8), np.uint8)
    inputs[:, 0, 0, 0], inputs[:, 0, 0, 1] = np.arange(samples) % 256, np.arange(samples) // 256
    return dataclasses.replace(DIGITS, inputs=inputs, labels=np.arange(samples) % 10)


def samples_of(batch) -> list[int]:
    return [int(x[0, 0, 0]) + 256 * int(x[0, 0, 1]) for raw, _, _ in batch.parts for x in raw]


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    size=st.integers(30, 300), batch_size=st.integers(12, 40), accumulate=st.integers(1, 3),
    processes=st.integers(1, 2), first=st.integers(0, 4),
)  # fmt: skip
def test_processes_share_what_one_process_would_take(size, batch_size, accumulate, processes, first):
    data = numbered(size)
    config = TrainingConfig(batch_size=batch_size, accumulate=accumulate)
    whole = list(mini_batches(data, dataclasses.replace(config, accumulate=1), 3, 0, 0, 1))
    shares = [list(mini_batches(data, config, 3, first, rank, processes)) for rank in range(processes)]
    for own in shares:
        assert all(len(batch.parts) == accumulate for batch in own)
        assert all(len(labels) >= 2 for batch in own for _, labels, _ in batch.parts)
    joined = [[sample for batch in batches for sample in samples_of(batch)] for batches in zip(*shares, strict=True)]
    expected = [
        samples_of(batch) for batch in whole if batch.number >= first and batch.size >= 2 * accumulate * processes
    ]
    assert joined == expected
    assert len({sample for batch in expected for sample in batch}) == sum(map(len, expected))
    assert len({batches[0].draw for batches in zip(*shares, strict=True)}) == len(joined)
    assert all(len({batch.draw for batch in batches}) == 1 for batches in zip(*shares, strict=True))
    assert all(len({seed for batch in batches for *_, seed in batch.parts}) == processes * accumulate
               for batches in zip(*shares, strict=True))  # fmt: skip


def test_every_time_step_is_drawn_about_equally_often():
    draws = [
        batch.draw % 4
        for epoch in range(20)
        for batch in mini_batches(numbered(300), TrainingConfig(batch_size=12), epoch, 0, 0, 1)
    ]
    assert len(draws) == 500
    assert (np.abs(np.bincount(draws) - 125) < 40).all()
