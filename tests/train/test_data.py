import subprocess
import sys
import zipfile

import numpy as np
import pytest

from hmdf.train.data import Dataset, Preprocessing, load, normalise
from hmdf.train.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 6, 5), dtype=np.uint8)
LABELS = np.arange(20) % 4


def write(path, **arrays):
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:8], "y_test": LABELS[:8], **arrays}
    np.savez(path, **{key: array for key, array in arrays.items() if array is not ...})
    return path


def test_digits_split_is_fixed_and_stratified():
    train, test = load("digits", "train"), load("digits", "test")
    assert (len(train), len(test)) == (1442, 355)
    assert train.inputs.dtype == np.uint8
    assert train.input_shape == (1, 8, 8)
    everything = load("digits", "all")
    for digit in range(10):
        of_class = np.flatnonzero(everything.labels == digit)
        assert np.array_equal(test.inputs[test.labels == digit], everything.inputs[of_class[4::5]])
    pixels = train.inputs / 16
    assert test.preprocessing.mean == (round(pixels.mean(), 4),)
    assert test.preprocessing.std == (round(pixels.std(), 4),)


def test_normalise_is_the_stated_formula():
    raw = np.arange(2 * 3 * 2 * 2, dtype=np.uint8).reshape(2, 3, 2, 2)
    constants = Preprocessing(255, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    values = normalise(raw, constants)
    assert values.dtype == np.float32
    for index in np.ndindex(raw.shape):
        channel = index[1]
        exact = ((float(raw[index]) / 255.0) - constants.mean[channel]) / constants.std[channel]
        assert values[index] == np.float32(exact)
    assert np.array_equal(normalise(raw[:, None], constants), values[:, None])


def test_data_and_package_import_without_torch():
    code = (
        "import sys, hmdf.train; assert 'numpy' not in sys.modules;"
        "import hmdf.train.data as data; data.load('digits', 'test');"
        "assert not {'torch', 'lightning_fabric'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_npz_splits(tmp_path):
    path = write(tmp_path / "set.npz")
    train, test = load(path, "train"), load(str(path), "test")
    assert np.array_equal(train.inputs, IMAGES[:, None])
    assert np.array_equal(test.labels, LABELS[:8])
    assert train.class_names == ("0", "1", "2", "3")
    assert len(load(path, "all")) == 28
    assert train.preprocessing.mean[0] == pytest.approx((IMAGES / 255).mean())
    assert train.preprocessing.std[0] == pytest.approx((IMAGES / 255).std())
    assert train.preprocessing == test.preprocessing


def test_npz_of_images_and_labels_is_split(tmp_path):
    np.savez(tmp_path / "set.npz", images=IMAGES, labels=LABELS)
    train, test = load(tmp_path / "set.npz", "train"), load(tmp_path / "set.npz", "test")
    assert (len(train), len(test)) == (16, 4)
    assert sorted(test.labels) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((20, 6, 5), (1, 6, 5)), ((20, 6, 5, 3), (3, 6, 5)), ((20, 3, 6, 5), (3, 6, 5)), ((20, 7, 2, 6, 5), (2, 6, 5))],
)
def test_npz_layouts(tmp_path, shape, expected):
    images = np.random.default_rng(1).random(shape, dtype=np.float32)
    data = load(write(tmp_path / "set.npz", x_train=images), "train")
    assert data.input_shape == expected
    assert data.frames == (7 if len(shape) == 5 else None)
    if shape[-1] == 3:
        assert np.array_equal(data.inputs, images.transpose(0, 3, 1, 2))


def with_value(array, index, value):
    changed = array.astype(np.result_type(array, type(value)))
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y_train": LABELS[:19]}, r"x_train has 20 samples but y_train has 19"),
        ({"y_train": with_value(LABELS, 7, -1)}, r"y_train\[7\] = -1 is out of range"),
        ({"y_test": with_value(LABELS[:8], 2, 900)}, r"label 900 but no sample of class 4"),
        ({"y_test": with_value(LABELS[:8], 2, 9), "class_names": np.array(list("abcd"))}, r"y_test\[2\] = 9 is out of"),
        ({"y_train": LABELS.astype(np.float32)}, r"y_train must be integers"),
        ({"x_train": with_value(IMAGES, (3, 0, 1), np.nan)}, r"x_train\[3, 0, 0, 1\] = nan"),
        ({"x_train": IMAGES.astype(np.int32)}, r"x_train: dtype must be uint8"),
        ({"x_train": IMAGES[:, 0]}, r"x_train: shape must be"),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, r"x_train: shape must be"),
        ({"y_train": ...}, r"has x_train but no y_train"),
        ({"class_names": np.arange(4)}, r"class_names must be a list of strings"),
    ],
)
def test_invalid_npz_names_file_key_index_and_value(tmp_path, arrays, message):
    path = write(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=message) as error:
        load(path, "train")
    assert str(path) in str(error.value)


def test_npz_without_known_keys(tmp_path):
    np.savez(tmp_path / "set.npz", pictures=IMAGES)
    with pytest.raises(DataError, match=r"needs x_train.*found pictures"):
        load(tmp_path / "set.npz", "train")


def test_npz_without_the_split(tmp_path):
    path = write(tmp_path / "set.npz", x_test=..., y_test=...)
    with pytest.raises(DataError, match="no test split"):
        load(path, "test")


def test_pickled_npz_is_refused(tmp_path):
    path = write(tmp_path / "set.npz", y_train=np.array([{"a": 1}] * 20, dtype=object))
    with pytest.raises(DataError, match="y_train holds Python objects"):
        load(path, "train")


def test_lying_header_is_refused_before_allocation(tmp_path):
    path = write(tmp_path / "set.npz")
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    header = members["x_train.npy"]
    for lie, message in ((b"(20, 6, 500)", "but the file holds"), (b"(20000000, 60, 50)", "at most")):
        where = header.index(b"(20, 6, 5)")
        end = header.index(b"\n")
        padded = (header[:where] + lie + header[where + 10 : end]).rstrip(b" ").ljust(end)
        with zipfile.ZipFile(path, "w") as new:
            for name, content in members.items():
                new.writestr(name, padded + header[end:] if name == "x_train.npy" else content)
        with pytest.raises(DataError, match=message):
            load(path, "train")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_truncated_npz(tmp_path, share):
    path = write(tmp_path / "set.npz")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="not a readable"):
        load(path, "train")


def test_damaged_npz(tmp_path):
    path = write(tmp_path / "set.npz")
    data = bytearray(path.read_bytes())
    data[data.index(IMAGES.tobytes()) + 50] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="x_train cannot be read"):
        load(path, "train")


def test_unknown_names(tmp_path):
    with pytest.raises(DataError, match="did you mean 'digits'"):
        load("digit", "train")
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "none.npz", "train")
    with pytest.raises(DataError, match="split must be one of"):
        load("digits", "validation")


def test_dataset_checks_what_it_is_given():
    constants = Preprocessing(1.0, (0.0,), (1.0,))
    images = np.zeros((3, 1, 2, 2), np.float32)
    with pytest.raises(DataError, match=r"mine train labels\[1\] = 5 is out of range: the classes are 0\.\.1"):
        Dataset(images, np.array([0, 5, 1]), ("a", "b"), constants, "mine", "train")
    with pytest.raises(DataError, match="preprocessing has 2 channels"):
        Dataset(images, np.zeros(3, np.int64), ("a",), Preprocessing(1, (0, 0), (1, 1)), "mine", "train")


@pytest.mark.parametrize("constants", [(0, (0,), (1,)), (1, (0,), (0,)), (1, (0, 1), (1,)), (1, (float("nan"),), (1,))])
def test_invalid_preprocessing(constants):
    with pytest.raises(DataError):
        Preprocessing(*constants)


def test_an_npz_with_too_few_samples_for_a_test_split_says_so(tmp_path):
    path = tmp_path / "few.npz"
    np.savez(path, images=np.zeros((8, 4, 4), np.uint8), labels=np.arange(8) % 4)
    with pytest.raises(DataError, match="no class has five"):
        load(path, "train")


def test_frames_of_uint8_are_counts_and_stay_as_they_are(tmp_path):
    path = tmp_path / "events.npz"
    frames = np.random.default_rng(0).poisson(0.2, (20, 3, 2, 4, 4)).astype(np.uint8)
    np.savez(path, images=frames, labels=np.arange(20) % 2)
    data = load(path, "train")
    assert (data.preprocessing.divisor, data.preprocessing.mean, data.preprocessing.std) == (1.0, (0.0,), (1.0,))
    assert np.array_equal(normalise(data.inputs, data.preprocessing), data.inputs)
