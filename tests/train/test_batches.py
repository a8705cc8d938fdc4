import dataclasses
import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from PIL import Image

from hmdf.train.augment import preparation
from hmdf.train.batches import MiniBatches
from hmdf.train.config import TrainingConfig
from hmdf.train.data import load, normalise
from hmdf.train.errors import DataError, TrainingError
from hmdf.train.networks import NetworkSpec
from hmdf.train.progress import Progress
from hmdf.train.trainer import TrainingRun

DIGITS = load("digits", "test")
SPEC = NetworkSpec("small", (1, 8, 8), 10)


def numbered(samples: int):
    """A data set whose inputs are their own numbers."""
    inputs = np.zeros((samples, 1, 8, 8), np.uint8)
    inputs[:, 0, 0, 0], inputs[:, 0, 0, 1] = np.arange(samples) % 256, np.arange(samples) // 256
    return dataclasses.replace(DIGITS, inputs=inputs, labels=np.arange(samples) % 10)


def samples_of(batch) -> list[int]:
    return [int(x[0, 0, 0]) + 256 * int(x[0, 0, 1]) for part in batch.parts for x in part.inputs]


def batches_of(data, config: TrainingConfig, epoch: int, first: int = 0, rank: int = 0, processes: int = 1):
    prepare = preparation(SPEC, config, data.preprocessing)
    return list(MiniBatches(data, config, prepare, rank, processes).of_epoch(epoch, first))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    size=st.integers(30, 300), batch_size=st.integers(12, 40), accumulate=st.integers(1, 3),
    processes=st.integers(1, 2), first=st.integers(0, 4),
)  # fmt: skip
def test_processes_share_what_one_process_would_take(size, batch_size, accumulate, processes, first):
    data = numbered(size)
    config = TrainingConfig(batch_size=batch_size, accumulate=accumulate)
    whole = batches_of(data, dataclasses.replace(config, accumulate=1), 3)
    shares = [batches_of(data, config, 3, first, rank, processes) for rank in range(processes)]
    for own in shares:
        assert all(len(batch.parts) == accumulate for batch in own)
        assert all(len(part.labels) >= 2 for batch in own for part in batch.parts)
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
        for batch in batches_of(numbered(300), TrainingConfig(batch_size=12), epoch)
    ]
    assert len(draws) == 500
    assert (np.abs(np.bincount(draws) - 125) < 40).all()


def test_worker_processes_give_the_same_mini_batches():
    config = TrainingConfig(batch_size=64, accumulate=2, crop=2, cutout=3)
    prepare = preparation(SPEC, config, DIGITS.preprocessing)
    alone = MiniBatches(DIGITS, config, prepare)
    helped = MiniBatches(DIGITS, dataclasses.replace(config, workers=2), prepare)
    device = torch.device("cpu")
    for epoch, first in ((1, 2), (2, 0)):
        pairs = list(zip(alone.of_epoch(epoch, first), helped.of_epoch(epoch, first), strict=True))
        assert len(pairs) == -(-len(DIGITS) // 64) - first
        for mine, theirs in pairs:
            assert (mine.number, mine.before, mine.size, mine.draw) == (
                theirs.number, theirs.before, theirs.size, theirs.draw,
            )  # fmt: skip
            assert all(part.seed is None for part in theirs.parts)
            for one, other in zip(mine.prepared(prepare, device), theirs.prepared(prepare, device), strict=True):
                assert torch.equal(one[0], other[0])
                assert torch.equal(one[1], other[1])


class Broken(np.ndarray):
    """Inputs of which some cannot be read, as with a file that is damaged."""

    def __getitem__(self, index):
        if 7 in np.asarray(index):
            raise DataError("picture 7 is damaged")
        return np.asarray(self)[index]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_wrong_with_the_data_is_said_as_by_the_data_set(workers):
    data = dataclasses.replace(DIGITS, inputs=DIGITS.inputs.view(Broken))
    config = TrainingConfig(batch_size=64, workers=workers)
    batches = MiniBatches(data, config, preparation(SPEC, config, data.preprocessing))
    with pytest.raises(DataError, match=r"^picture 7 is damaged$"):
        list(batches.of_epoch(1))


class Deadly(np.ndarray):
    """Inputs that kill the process which reads them, as the system does where memory is short."""

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_one_message():
    data = dataclasses.replace(DIGITS, inputs=DIGITS.inputs.view(Deadly))
    config = TrainingConfig(batch_size=64, workers=1)
    batches = MiniBatches(data, config, preparation(SPEC, config, data.preprocessing))
    with pytest.raises(TrainingError, match=r"^a worker process was killed"):
        list(batches.of_epoch(1))


@pytest.mark.parametrize("workers", [0, 1])
def test_image_files_are_cut_and_mirrored_in_bytes(tmp_path, workers):
    """A run of ImageNet's form, in which nothing but the normalisation is left to do where the network is."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 300, 260, 3), np.uint8)
    for index, image in enumerate(pixels):
        for split in ("train", "val"):
            path = tmp_path / "imagenet" / split / f"class{index % 2}" / f"{index}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    data = load("imagenet", "train", tmp_path), load("imagenet", "test", tmp_path)
    spec = NetworkSpec("resnet18", (3, 224, 224), 2, width=1, time_steps=1, stem="imagenet")
    config = TrainingConfig(batch_size=4, resized_crop=True, flip=True, workers=workers)
    run = TrainingRun(Fabric(accelerator="cpu", devices=1), spec, config, *data, None, Progress(), 300.0)
    batch, *_ = run.batches.of_epoch(1)
    (part,) = batch.parts
    assert (part.inputs.dtype, part.inputs.shape) == (torch.uint8, (4, 3, 224, 224))
    ((x, _),) = batch.prepared(run.batches.prepare, torch.device("cpu"))
    assert torch.equal(x, torch.from_numpy(normalise(part.inputs.numpy(), data[0].preprocessing)))
    run.batches.close()
