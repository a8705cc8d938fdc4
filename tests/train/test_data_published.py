"""The loaders on real data, where HMDF_DATA says that there are any."""

import os
from pathlib import Path

import numpy as np
import pytest
from published import published

from hmdf.train.data import constants
from hmdf.train.data.event_readers import read_events
from hmdf.train.data.npz_sets import channel_statistics

ROOT = Path(os.environ.get("HMDF_DATA", "."))


@pytest.mark.parametrize(
    ("name", "split", "classes", "shape", "tolerance"),
    [
        ("cifar10", "train", 10, (3, 32, 32), 1e-4),
        ("cifar100", "train", 100, (3, 32, 32), 4e-3),
        ("tiny-imagenet", "train", 20, (3, 64, 64), 2e-2),
        ("mnist", "train", 10, (1, 28, 28), 2e-3),
    ],
)
def test_images_and_their_constants(name, split, classes, shape, tolerance):
    """``tolerance``: how far the statistics of what may be a part of the data are from the whole's."""
    data = published(name, split)
    assert data.input_shape == shape
    assert len(data.class_names) >= classes
    assert len(np.unique(data.labels)) == len(data.class_names)
    found = channel_statistics(data.inputs[:20_000] if name != "cifar10" else data.inputs)
    assert found.mean == pytest.approx(data.preprocessing.mean, abs=tolerance)
    assert found.std == pytest.approx(data.preprocessing.std, abs=tolerance)


def test_nmnist():
    data = published("nmnist:10:time", "test")
    assert data.inputs.shape[1:] == (10, 2, 34, 34)
    assert data.preprocessing == constants.EVENT_COUNTS
    events_per_recording = data.inputs.sum((1, 2, 3, 4), dtype=np.int64)
    assert 1000 < np.median(events_per_recording) < 10_000


@pytest.mark.parametrize(
    ("pattern", "width", "seconds"),
    [("*.aedat", 128, 2.5), ("*.aedat4", 320, 0.6), ("*nmnist.bin", 34, 0.31), ("*ncars.dat", 120, 0.1)],
)
def test_recorded_files(pattern, width, seconds):
    files = sorted(ROOT.glob(f"event_files/{pattern}")) if "HMDF_DATA" in os.environ else []
    if not files:
        pytest.skip("no such recording below HMDF_DATA")
    for path in files:
        events = read_events(path)
        assert len(events) > 1000
        assert events.width <= width
        assert 0.5 * seconds < (events.t[-1] - events.t[0]) / 1e6 < 1.2 * seconds
        assert 0.3 < events.p.mean() < 0.7
