import numpy as np
import pytest
import torch

from hmdf.train.augment import make_augmentation
from hmdf.train.config import TrainingConfig
from hmdf.train.data import Preprocessing, normalise
from hmdf.train.errors import DataError
from hmdf.train.networks import NetworkSpec

RAW = torch.from_numpy(np.random.default_rng(0).integers(1, 256, (24, 3, 32, 32), dtype=np.uint8))
LABELS = torch.arange(24) % 5
COLOURS = Preprocessing(255.0, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
IMAGES = NetworkSpec("small", (3, 32, 32), 5)
EVENTS = NetworkSpec("small", (2, 8, 8), 5, event=True)
COUNTS = Preprocessing(1.0, (0.0,), (1.0,))
FRAMES = torch.from_numpy(np.random.default_rng(1).integers(0, 9, (12, 4, 2, 8, 8), dtype=np.uint8))


def augmented(seed: int = 1, raw=RAW, spec=IMAGES, constants=COLOURS, **options):
    augmentation = make_augmentation(spec, TrainingConfig(**options), constants)
    assert augmentation is not None
    return augmentation(raw, LABELS[: len(raw)], seed)


def raw_values(x: torch.Tensor) -> np.ndarray:
    """The uint8 images that normalise to x; every value must be one."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (COLOURS.mean, COLOURS.std))
    raw = (x * std + mean) * 255
    assert (raw - raw.round()).abs().max() < 1e-3
    return raw.round().to(torch.uint8).numpy()


def test_nothing_asked_for_is_nothing_done():
    assert make_augmentation(IMAGES, TrainingConfig(), COLOURS) is None


def test_crop_moves_each_image_and_brings_in_black():
    images = raw_values(augmented(crop=3)[0])
    padded = np.pad(RAW.numpy(), [(0, 0), (0, 0), (3, 3), (3, 3)])
    offsets = set()
    for image, source in zip(images, padded, strict=True):
        found = [(y, x) for y in range(7) for x in range(7) if np.array_equal(image, source[:, y : y + 32, x : x + 32])]
        assert len(found) == 1
        offsets.add(found[0])
    assert len(offsets) > 5


def test_flip_mirrors_about_half():
    images, source = raw_values(augmented(flip=True)[0]), RAW.numpy()
    same = [np.array_equal(image, raw) for image, raw in zip(images, source, strict=True)]
    mirrored = [np.array_equal(image, raw[..., ::-1]) for image, raw in zip(images, source, strict=True)]
    assert all(one != other for one, other in zip(same, mirrored, strict=True))
    assert 4 < sum(mirrored) < 20


def test_cutout_blanks_one_square_with_the_mean():
    x, labels = augmented(cutout=8)
    assert torch.equal(labels, LABELS)
    plain = torch.from_numpy(normalise(RAW.numpy(), COLOURS))
    changed = (x - plain).abs().amax(1) > 1e-4
    for image, mask in zip(x, changed, strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        top, left = int(rows.min()), int(columns.min())
        assert (int(rows.max()) - top, int(columns.max()) - left) == (7, 7)
        square = image[:, top : top + 8, left : left + 8] * 0.25 + 0.5
        assert square[1].allclose(torch.tensor(0.5), atol=1e-5)


def test_auto_augment_differs_between_groups_and_keeps_the_range():
    x, _ = augmented(auto_augment="cifar10")
    back = x * torch.tensor(COLOURS.std).view(3, 1, 1) + torch.tensor(COLOURS.mean).view(3, 1, 1)
    assert x.shape == RAW.shape
    assert back.min() > -1e-5
    assert back.max() < 1 + 1e-5
    assert not x.allclose(torch.from_numpy(normalise(RAW.numpy(), COLOURS)))


def test_mixup_mixes_images_as_their_labels_say():
    x, probabilities = augmented(mixup=1.0)
    plain = torch.from_numpy(normalise(RAW.numpy(), COLOURS))
    assert probabilities.shape == (24, 5)
    assert probabilities.sum(1).allclose(torch.ones(24))
    for i in range(24):
        own = float(probabilities[i, LABELS[i]])
        partners = [j for j in range(24) if x[i].allclose(own * plain[i] + (1 - own) * plain[j], atol=1e-3)]
        same_class = [j for j in range(24) if LABELS[j] == LABELS[i]]
        assert own == 1.0 or partners, i
        assert own < 1.0 or same_class
    assert 0.2 < float(probabilities[torch.arange(24), LABELS].mean()) < 0.9


def test_resized_crop_gives_the_size_of_the_network():
    larger = torch.randint(0, 256, (4, 3, 40, 40), dtype=torch.uint8)
    assert augmented(raw=larger, resized_crop=True)[0].shape == (4, 3, 32, 32)


@pytest.mark.parametrize("options", [{"crop": 2}, {"flip": True}, {"auto_augment": "cifar10"}, {"mixup": 1.0}])
def test_the_seed_determines_everything(options):
    state = torch.random.get_rng_state()
    first, second, other = (augmented(seed, **options) for seed in (3, 3, 4))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_events_are_flipped_and_rolled_as_whole_recordings():
    frames, _ = augmented(raw=FRAMES, spec=EVENTS, constants=COUNTS, flip=True, roll=2)
    results = set()
    for recording, source in zip(frames.numpy(), FRAMES.numpy(), strict=True):
        found = [
            (flipped, y, x)
            for flipped in (False, True) for y in range(-2, 3) for x in range(-2, 3)
            if np.array_equal(np.roll(source[..., ::-1] if flipped else source, (y, x), (-2, -1)), recording)
        ]  # fmt: skip
        assert len(found) == 1
        results.add(found[0])
    assert len(results) > 4


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (EVENTS, {"cutout": 4}, "cutout is for images"),
        (EVENTS, {"auto_augment": "cifar10"}, "auto_augment is for images"),
        (EVENTS, {"mixup": 0.5}, "mixup is for images"),
        (IMAGES, {"roll": 4}, "roll is for events"),
        (NetworkSpec("small", (1, 8, 8), 5), {"auto_augment": "cifar10"}, "needs colour images"),
    ],
)
def test_augmentation_that_does_not_fit_the_data(spec, options, message):
    with pytest.raises(DataError, match=message):
        make_augmentation(spec, TrainingConfig(**options), COLOURS)
