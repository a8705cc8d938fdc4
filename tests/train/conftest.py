"""What the tests of training share."""

import numpy as np
import pytest


@pytest.fixture
def data(tmp_path) -> str:
    """An .npz of 60 images of 8x8 pixels in three classes, one of them brighter."""
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (generator.integers(0, 40, (60, 8, 8)) + 100 * (labels == 1)[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    return str(tmp_path / "set.npz")
