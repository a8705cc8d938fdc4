import dataclasses
import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from hmdf.train.data import cifar, constants, lazy_images, load
from hmdf.train.data.constants import IMAGENET
from hmdf.train.data.dataset import Preprocessing, normalise
from hmdf.train.data.lazy_images import LazyImages, _draw_part, _part_of, decode
from hmdf.train.errors import DataError

RNG = np.random.default_rng(0)
PER_FILE = 20
CIFAR10_NAMES = tuple(f"class{i}" for i in range(10))


@pytest.fixture
def small_cifar():
    """The published layout with 20 images a file instead of 10,000."""
    return dataclasses.replace(cifar.CIFAR10, images_per_file={"train": PER_FILE, "test": PER_FILE})


def cifar_files() -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    """The files of a binary CIFAR-10, and the training images and labels in them."""
    images = RNG.integers(0, 256, (6 * PER_FILE, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(6 * PER_FILE) % 10
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    files = {
        name: b"".join(bytes([labels[i]]) + images[i].tobytes() for i in range(k * PER_FILE, (k + 1) * PER_FILE))
        for k, name in enumerate(names)
    }
    files["batches.meta.txt"] = "\n".join(CIFAR10_NAMES).encode() + b"\n\n"
    return files, images, labels


def write_archive(path, files) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_binary_cifar(tmp_path, small_cifar, form):
    files, images, labels = cifar_files()
    if form == "archive":
        write_archive(tmp_path / "cifar-10-binary.tar.gz", files)
    else:
        (tmp_path / "cifar-10-batches-bin").mkdir()
        for name, content in files.items():
            (tmp_path / "cifar-10-batches-bin" / name).write_bytes(content)
    train = cifar.load_cifar(small_cifar, "train", tmp_path)
    assert np.array_equal(train.inputs, images[:-PER_FILE])
    assert np.array_equal(train.labels, labels[:-PER_FILE])
    assert train.class_names == CIFAR10_NAMES
    assert train.preprocessing == constants.CIFAR10
    assert np.array_equal(cifar.load_cifar(small_cifar, "test", tmp_path).inputs, images[-PER_FILE:])
    assert len(cifar.load_cifar(small_cifar, "all", tmp_path)) == 6 * PER_FILE


def test_fine_labels_of_cifar100(tmp_path):
    layout = dataclasses.replace(cifar.CIFAR100, images_per_file={"train": 1, "test": 1})
    (tmp_path / "cifar-100-binary").mkdir()
    record = bytes([3, 77]) + bytes(3072)
    for file in ("train.bin", "test.bin"):
        (tmp_path / "cifar-100-binary" / file).write_bytes(record)
    (tmp_path / "cifar-100-binary" / "fine_label_names.txt").write_text("\n".join(f"c{i}" for i in range(100)))
    assert list(cifar.load_cifar(layout, "test", tmp_path).labels) == [77]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_truncated_archive(tmp_path, small_cifar, share):
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_archive(path, cifar_files()[0])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz: truncated or damaged"):
        cifar.load_cifar(small_cifar, "train", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_3.bin", lambda old: old[:-3073], r"data_batch_3\.bin: 58387 bytes instead of 61460: truncated"),
        ("data_batch_3.bin", lambda old: b"\x0b" + old[1:], r"labels\[40\] = 11 is out of range"),
        ("batches.meta.txt", lambda old: b"cat dog", r"batches\.meta\.txt has 2 class names instead of 10"),
        ("data_batch_2.bin", lambda old: None, r"has no data_batch_2\.bin"),
    ],
)
def test_bad_archive_names_file_and_reason(tmp_path, small_cifar, name, content, message):
    files, _, _ = cifar_files()
    changed = content(files.pop(name))
    write_archive(tmp_path / "cifar-10-binary.tar.gz", files if changed is None else {**files, name: changed})
    with pytest.raises(DataError, match=message):
        cifar.load_cifar(small_cifar, "train", tmp_path)


def test_pickles_are_refused_and_missing_data_are_explained(tmp_path, monkeypatch):
    monkeypatch.delenv("HMDF_DATA", raising=False)
    with pytest.raises(DataError, match="--data-root"):
        load("cifar10", "train")
    with pytest.raises(DataError, match=r"no cifar10 here; looked for cifar-10-binary\.tar\.gz"):
        load("cifar10", "train", tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").touch()
    with pytest.raises(DataError, match=r"holds pickles.*get the binary version"):
        load("cifar10", "train", tmp_path)
    monkeypatch.setenv("HMDF_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match="none: no such folder"):
        load("mnist", "train")


def mosaic(images: np.ndarray, columns: int) -> bytes:
    rows = -(-len(images) // columns)
    sheet = np.zeros((rows * 32, columns * 32, 3), np.uint8)
    for i, image in enumerate(images):
        y, x = 32 * (i // columns), 32 * (i % columns)
        sheet[y : y + 32, x : x + 32] = image.transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "WEBP", lossless=True, exact=True)
    return stream.getvalue()


def mosaics_npz(path, **changes) -> np.ndarray:
    images = RNG.integers(0, 256, (14, 3, 32, 32), dtype=np.uint8)
    sheets = [mosaic(images[:8], 4), mosaic(images[8:], 4)]
    arrays = {"classes": np.array(CIFAR10_NAMES), "tile": np.array([32, 4])}
    for split in ("train", "test"):
        arrays[f"{split}_webp"] = np.frombuffer(b"".join(sheets), np.uint8)
        arrays[f"{split}_offsets"] = np.cumsum([0, *map(len, sheets)])
        arrays[f"y_{split}"] = np.arange(14) % 10
    np.savez(path, **{**arrays, **changes})
    return images


def test_mosaics(tmp_path):
    images = mosaics_npz(tmp_path / "cifar10_small.npz")
    data = load("cifar10", "train", tmp_path)
    assert np.array_equal(data.inputs, images)
    assert np.array_equal(data.labels, np.arange(14) % 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.arange(20) % 10}, "train_webp has 16 samples but y_train has 20"),
        ({"train_offsets": np.array([0, 5])}, "train_offsets must be integers rising from 0"),
        ({"tile": np.array([32, 3])}, "are not rows of 3 tiles"),
        ({"train_webp": np.zeros(9, np.uint8), "train_offsets": np.array([0, 9])}, "not a readable image"),
    ],
)
def test_bad_mosaics(tmp_path, changes, message):
    mosaics_npz(tmp_path / "cifar10_small.npz", **changes)
    with pytest.raises(DataError, match=message):
        load("cifar10", "train", tmp_path)


def write_idx(path, array) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    (gzip.open if path.suffix == ".gz" else open)(path, "wb").write(header + array.tobytes())


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_of_mnist(tmp_path, suffix):
    images = RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8)
    labels = (np.arange(12) % 10).astype(np.uint8)
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte{suffix}", labels)
    data = load("mnist", "train", tmp_path)
    assert np.array_equal(data.inputs[:, 0], images)
    assert np.array_equal(data.labels, labels)
    assert len(load("mnist", "all", tmp_path)) == 24
    write_idx(tmp_path / f"t10k-labels-idx1-ubyte{suffix}", labels[:11])
    with pytest.raises(DataError, match=r"12 samples but .*t10k-labels.* has 11"):
        load("mnist", "test", tmp_path)
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.*(truncated|needs 9408)"):
        load("mnist", "train", tmp_path)


def test_an_idx_header_cannot_allocate(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 9))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="promises"):
        load("mnist", "train", tmp_path)


def write_images(folder, classes, count, size=(64, 64), suffix="png") -> None:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.{suffix}")


def test_class_folders_are_decoded_lazily(tmp_path):
    for split in ("train", "val"):
        write_images(tmp_path / "tiny-imagenet-200" / split, ["n2", "n1"], 3)
    data = load("tiny-imagenet", "train", tmp_path)
    assert isinstance(data.inputs, LazyImages)
    assert data.class_names == ("n1", "n2")
    assert list(data.labels) == [0, 0, 0, 1, 1, 1]
    assert data.inputs.shape == (6, 3, 64, 64)
    first = decode(tmp_path / "tiny-imagenet-200" / "train" / "n2" / "0.png", "")
    assert np.array_equal(data.inputs[3], first)
    assert np.array_equal(data.inputs[np.array([5, 3])][1], first)
    assert np.array_equal(data.inputs[2:4][1], first)
    assert len(load("tiny-imagenet", "all", tmp_path)) == 12


def test_published_tiny_imagenet(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    write_images(root / "train", ["n1/images", "n2/images"], 2)
    write_images(root / "val", ["images"], 3)
    annotations = root / "val" / "val_annotations.txt"
    annotations.write_text("0.png\tn2\t0\t0\t1\t1\n1.png\tn1\t0\t0\t1\t1\n2.png\tn2\t0\t0\t1\t1\n")
    test = load("tiny-imagenet", "test", tmp_path)
    assert list(test.labels) == [1, 0, 1]
    assert np.array_equal(test.inputs[1], decode(root / "val" / "images" / "1.png", ""))
    annotations.write_text("0.png\tn3\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt: line 1 names no class"):
        load("tiny-imagenet", "test", tmp_path)
    annotations.write_text("9.png\tn1\n")
    with pytest.raises(DataError, match=r"9\.png: missing"):
        load("tiny-imagenet", "test", tmp_path)


def test_imagenet_geometry(tmp_path):
    write_images(tmp_path / "imagenet" / "train", ["n1"], 1, (300, 400), "jpeg")
    write_images(tmp_path / "imagenet" / "val", ["n1"], 2, (500, 280), "jpeg")
    train, test = load("imagenet", "train", tmp_path), load("imagenet", "test", tmp_path)
    assert train.input_shape == (3, 256, 256)
    assert test.input_shape == (3, 224, 224)
    assert test.inputs[:].shape == (2, 3, 224, 224)
    whole = decode(tmp_path / "imagenet" / "val" / "n1" / "1.jpeg", "", resize=256)
    assert whole.shape == (3, 256, 457)
    assert np.array_equal(test.inputs[1], whole[:, 16:240, 116:340])


def test_bad_class_folders(tmp_path):
    root = tmp_path / "tiny-imagenet"
    write_images(root / "train", ["n1", "n2"], 1)
    with pytest.raises(DataError, match="neither test nor val"):
        load("tiny-imagenet", "train", tmp_path)
    write_images(root / "val", ["n1"], 1)
    with pytest.raises(DataError, match="test split has no class n2"):
        load("tiny-imagenet", "train", tmp_path)
    (root / "val" / "n2").mkdir()
    with pytest.raises(DataError, match="the class n2 has no file"):
        load("tiny-imagenet", "train", tmp_path)
    write_images(root / "val", ["n2/images"], 1, size=(32, 32))
    with pytest.raises(DataError, match=r"n2/images/0\.png: 32 x 32 pixels, the data set has 64 x 64"):
        load("tiny-imagenet", "test", tmp_path).inputs[1:]
    (root / "train" / "n1" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"n1/0\.png: not a readable image"):
        load("tiny-imagenet", "train", tmp_path).inputs[:]


def test_a_folder_of_ones_own(tmp_path):
    write_images(tmp_path / "mine", ["a", "b"], 5, (16, 16))
    train, test = load(tmp_path / "mine", "train"), load(str(tmp_path / "mine"), "test")
    assert (len(train), len(test), test.class_names) == (8, 2, ("a", "b"))
    assert np.array_equal(test.inputs[0], decode(tmp_path / "mine" / "a" / "4.png", ""))
    assert train.preprocessing.mean[1] == pytest.approx(train.inputs[:, 1].mean() / 255)


def test_jpeg_npz(tmp_path):
    files = []
    for value in (10, 200, 90):
        stream = io.BytesIO()
        Image.fromarray(np.full((64, 64), value, np.uint8)).save(stream, "JPEG")
        files.append(stream.getvalue())
    data = np.frombuffer(b"".join(files), np.uint8)
    arrays = {"wnids": np.array(["n1", "n2"])}
    for part in ("train", "val"):
        arrays |= {f"{part}_jpeg": data, f"{part}_offsets": np.cumsum([0, *map(len, files)]), f"y_{part}": [0, 1, 1]}
    np.savez(tmp_path / "tiny_imagenet_2c.npz", **arrays)
    test = load("tiny-imagenet", "test", tmp_path)
    assert test.inputs[1].shape == (3, 64, 64)
    assert abs(float(test.inputs[1].mean()) - 200) < 2
    np.savez(tmp_path / "tiny_imagenet_2c.npz", **{**arrays, "y_val": [0, 1]})
    with pytest.raises(DataError, match="val_jpeg has 3 samples but y_val has 2"):
        load("tiny-imagenet", "test", tmp_path)


def test_parts_of_images_are_cut_as_they_are_decoded(tmp_path):
    """Red is left, green right; the part is random but follows from the seed, and large files are decoded smaller."""
    wide, high = np.zeros((300, 400, 3), np.uint8), np.zeros((2000, 900, 3), np.uint8)
    for image in (wide, high):
        image[:, : image.shape[1] // 2, 0] = image[:, image.shape[1] // 2 :, 1] = 200
    paths = [tmp_path / "wide.jpg", tmp_path / "high.jpg"]
    for path, image in zip(paths, (wide, high), strict=True):
        Image.fromarray(image).save(path, quality=95)
    images = LazyImages(paths, 256, 256)
    which = np.array([0, 1] * 40)
    parts = images.parts(which, 64, True, 3)
    assert (parts.shape, parts.dtype) == ((80, 3, 64, 64), np.uint8)
    assert np.array_equal(parts, images.parts(which, 64, True, 3))
    assert not np.array_equal(parts, images.parts(which, 64, True, 4))
    means = parts.reshape(80, 3, -1).mean(-1)
    assert np.abs(means.sum(1) - 200).max() < 8  # nothing but the image's colours
    red_left = parts[:, 0, :, :8].mean((1, 2)) > parts[:, 0, :, -8:].mean((1, 2))
    assert 10 < red_left.sum() < 60
    for split in (which == 0, which == 1):
        assert means[split, 0].min() < 60 < 140 < means[split, 0].max()
    assert (images.parts(which, 64, False, 3)[:, 1, :, :8].mean((1, 2)) <= 205).all()


def test_the_largest_part_of_an_odd_shape_is_central():
    assert _part_of((30, 3000), [1.0] * 41) == (0, 1480, 30, 1520)


@pytest.mark.parametrize(
    "options",
    [
        *({"subsampling": sampling, "progressive": late} for sampling in (0, 1, 2) for late in (False, True)),
        {"mode": "L"},
        {"mode": "CMYK"},
        {"restart_marker_rows": 1},
    ],
)
@pytest.mark.parametrize("shrink", [1, 2, 8])
def test_a_part_of_a_jpeg_file_is_the_same_as_of_the_whole(tmp_path, options, shrink):
    """Pillow decodes all of it and scales what is cut out; with memory that Pillow shows and without."""
    rng, path = np.random.default_rng(0), tmp_path / "a.jpg"
    width, height, size = 61 * shrink, 83 * shrink, 20
    smooth = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8)).resize((width, height))
    mode, saved = options.get("mode", "RGB"), {key: value for key, value in options.items() if key != "mode"}
    smooth.convert(mode).save(path, quality=90, **saved)
    for drawn in rng.random((12, 41)).tolist():
        left, upper, right, lower = _part_of((width, height), drawn)
        whole = Image.open(path)
        reduced = max(s for s in (1, 2, 4, 8) if s == 1 or s * size <= min(right - left, lower - upper))
        whole.draft("RGB", (width // reduced, height // reduced))
        box = left // reduced, upper // reduced, -(-right // reduced), -(-lower // reduced)
        expected = whole.convert("RGB").crop(box).resize((size, size), Image.Resampling.BILINEAR)
        expected = np.asarray(expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if drawn[-1] < 0.5 else expected)
        part = np.empty((3, size, size), np.uint8)
        _draw_part(path, drawn, True, part)
        assert np.abs(part.transpose(1, 2, 0).astype(int) - expected).max() <= 3


def test_parts_do_not_depend_on_threads_or_on_what_pillow_shows(tmp_path, monkeypatch):
    Image.fromarray(RNG.integers(0, 256, (90, 120, 3), np.uint8)).save(tmp_path / "a.jpg")
    Image.fromarray(RNG.integers(0, 256, (90, 120, 3), np.uint8)).save(tmp_path / "b.png")
    images, which = LazyImages([tmp_path / "a.jpg", tmp_path / "b.png"], 64, 64), np.arange(8) % 2
    parts = images.parts(which, 40, True, 5)
    monkeypatch.setattr(lazy_images, "parent_process", lambda: "one of several")
    assert np.array_equal(images.parts(which, 40, True, 5), parts)
    monkeypatch.setattr(lazy_images, "_memory", lambda image: (None, None))
    assert np.array_equal(images.parts(which, 40, True, 5), parts)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 8])
    with pytest.raises(DataError, match=r"a\.jpg: not a readable image"):
        images.parts(which, 40, True, 5)


def test_bytes_are_normalised_by_a_table_to_the_same_values():
    raw = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), np.uint8)
    for how in (IMAGENET, Preprocessing(255.0, (0.3,), (0.7,))):
        assert np.array_equal(normalise(raw, how), normalise(raw.astype(np.float64), how))
