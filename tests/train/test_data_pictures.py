"""Images of any size and colours, made to fit a program."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmdf.train.data import load
from hmdf.train.data.lazy_images import FittedImages, decode, decode_fitted
from hmdf.train.data.picture_files import load_pictures
from hmdf.train.errors import DataError

CLASSES = ("bird", "cat", "dog")


def image(path: Path, size=(8, 8), mode: str = "RGB", value=100) -> Path:
    """Even colour, (width, height); greyscale value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)
    return path


@pytest.fixture
def classes(tmp_path):
    """Six cats and six dogs, numbered by their grey value."""
    for i in range(6):
        image(tmp_path / "pets" / "cat" / f"{i}.png", value=i)
        image(tmp_path / "pets" / "Dog" / f"{i}.png", value=10 + i)
    return tmp_path / "pets"


def greys(pictures) -> list[int]:
    return pictures.inputs[:][:, 0, 0, 0].tolist()


def test_class_folders_have_the_labels_of_the_program(classes):
    found = load_pictures(classes, (3, 8, 8), CLASSES)
    assert found.labels.tolist() == [2] * 6 + [1] * 6
    assert greys(found) == [10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5]
    assert (found.name, found.split, found.notes, len(found)) == ("pets", "all", (), 12)
    assert [file.name for file in found.files[:2]] == ["0.png", "1.png"]


def test_without_class_names_folders_are_numbered(classes):
    assert load_pictures(classes, (3, 8, 8), ()).labels.tolist() == [0] * 6 + [1] * 6


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_splits_are_those_of_training(classes, split):
    found, trained = load_pictures(classes, (3, 8, 8), (), split), load(classes, split)
    assert found.split == split
    assert sorted(greys(found)) == sorted(trained.inputs[:, 0, 0, 0].tolist())


def test_folders_for_training_and_testing(tmp_path):
    for value, part in enumerate(("train", "val")):
        for name in CLASSES:
            image(tmp_path / part / name / "1.png", value=value)
    expected = {None: [1] * 3, "test": [1] * 3, "train": [0] * 3, "all": [0] * 3 + [1] * 3}
    for split, values in expected.items():
        assert greys(load_pictures(tmp_path, (3, 8, 8), CLASSES, split)) == values


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "plane"):
        image(tmp_path / name / "1.png")
    assert load_pictures(tmp_path, (3, 8, 8), ("plane", "train")).labels.tolist() == [0, 1]


def test_images_without_class_folders(tmp_path):
    for name in ("b.jpg", "a.png", "c.webp", "d.BMP"):
        image(tmp_path / name)
    image(tmp_path / "._a.png").write_bytes(b"what macOS leaves")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "nothing").mkdir()
    found = load_pictures(tmp_path, (3, 8, 8), CLASSES, samples=3)
    assert found.labels is None
    assert [file.name for file in found.files] == ["a.png", "b.jpg", "c.webp"]
    single = load_pictures(tmp_path / "b.jpg", (3, 8, 8), CLASSES)
    assert (single.labels, single.name, single.inputs.shape) == (None, "b.jpg", (1, 3, 8, 8))


def test_what_was_changed_is_said(classes):
    image(classes / "cat" / "x.png", (20, 10), "L")
    image(classes / "cat" / "y.png", (20, 10), "RGBA")
    image(classes / "cat" / "z.png", (30, 10))
    image(classes / "stray.png")
    done = []
    found = load_pictures(classes, (3, 8, 8), CLASSES, progress=lambda *step: done.append(step))
    assert found.notes == (
        "1 image beside the class folders left out",
        "3 of 15 images resized to 8 x 8 pixels, the centre kept (from 20 x 10 and 1 other size)",
        "2 of 15 images converted to RGB",
    )
    assert done == [(1, 15)] * 15
    single = load_pictures(classes / "stray.png", (1, 4, 4), CLASSES)
    assert single.notes == (
        "the image resized to 4 x 4 pixels, the centre kept (from 8 x 8)",
        "the image converted to grey",
    )


# ------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8), (3, 4, 6), (1, 30, 7)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
@pytest.mark.parametrize("size", [(8, 8), (31, 9), (3, 50), (1, 1)])
def test_any_image_fits(tmp_path, shape, mode, size):
    if mode == "I;16":
        Image.fromarray(np.full(size[::-1], 100 * 257, np.uint16)).save(tmp_path / "x.png")
    else:
        image(tmp_path / "x.png", size, mode, value=255 if mode == "1" else 100)
    pixels = decode_fitted(tmp_path / "x.png", shape)
    assert pixels.shape == shape
    assert pixels.dtype == np.uint8
    assert np.unique(pixels).tolist() == [255 if mode == "1" else 100]


def test_an_image_of_the_right_size_is_unchanged(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert np.array_equal(decode_fitted(tmp_path / "x.png", (3, 8, 8)), pixels.transpose(2, 0, 1))
    assert np.array_equal(decode(tmp_path / "x.png", "x"), pixels.transpose(2, 0, 1))


def test_the_centre_is_kept_and_proportions_too(tmp_path):
    """White left and right of a square of halves: black above, grey below."""
    pixels = np.full((40, 80), 255, np.uint8)
    pixels[:20, 20:60], pixels[20:, 20:60] = 0, 100
    Image.fromarray(pixels).save(tmp_path / "x.png")
    (found,) = decode_fitted(tmp_path / "x.png", (1, 4, 4))
    assert found.tolist()[0][1:3] == [0, 0]
    assert found.tolist()[3][1:3] == [100, 100]
    assert found.max() < 128


def test_photographs_are_turned_upright(tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is the right side of the stored image
    Image.fromarray(pixels.T[:, ::-1].copy()).save(tmp_path / "x.png", exif=exif)
    (found,) = decode_fitted(tmp_path / "x.png", (1, 8, 8))
    with Image.open(tmp_path / "x.png") as stored:
        assert np.array_equal(found, np.rot90(np.asarray(stored), -1))


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save(tmp_path / "x.png")
    assert decode(tmp_path / "x.png", "x", mode="L").tolist() == [[[0, 1, 255]]]


def test_images_are_indexed_like_an_array(classes):
    files = sorted((classes / "cat").iterdir())
    images = FittedImages(files, (1, 4, 6))
    assert (images.shape, images.ndim, images.dtype, len(images)) == ((6, 1, 4, 6), 4, np.uint8, 6)
    assert images[2:4][:, 0, 0, 0].tolist() == [2, 3]
    assert images[1].shape == (1, 4, 6)
    assert images[6:].shape == (0, 1, 4, 6)
    assert images.astype(np.float64).sum() == 24 * 15


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: (path / "pets").mkdir(), r"pets: no image in it \(\.png, \.jpg"),
        (lambda path: (path / "pets" / "cat").mkdir(parents=True), "pets: no image in it"),
        (lambda path: None, "pets: no such file or folder"),
        (lambda path: image(path / "pets/x.png").write_bytes(b"abc"), r"pets/x\.png: not a readable image"),
        (lambda path: image(path / "pets/cat/x.png").write_bytes(b""), r"pets/cat/x\.png: not a readable image"),
        (lambda path: image(path / "pets/cta/x.png"), r"cta: no class .* 'cta' \(did you mean 'cat'\?\); there are"),
        (lambda path: (image(path / "pets/train/cat/1.png"), (path / "pets/test").mkdir()), "test: no class folder"),
    ],
)
def test_what_is_wrong_is_said_with_its_name(tmp_path, prepare, message):
    prepare(tmp_path)
    with pytest.raises(DataError, match=message):
        load_pictures(tmp_path / "pets", (3, 8, 8), CLASSES)


def test_too_few_for_a_test_split(classes):
    for file in (*classes.glob("*/4.png"), *classes.glob("*/5.png")):
        file.unlink()
    with pytest.raises(DataError, match="no class has five; give --split all"):
        load_pictures(classes, (3, 8, 8), CLASSES, "test")


@pytest.mark.parametrize("shape", [(2, 8, 8), (64,)])
def test_a_program_that_takes_no_images(classes, shape):
    with pytest.raises(DataError, match="images have 1 or 3 channels"):
        load_pictures(classes, shape, CLASSES)


def test_pixels_that_are_damaged(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    found = load_pictures(path, (3, 8, 8), CLASSES)
    with pytest.raises(DataError, match=r"x\.png: not a readable image"):
        found.inputs[:]
