"""Cross-validation folds: names, division, and that what is held out stays out."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from published import published

from hmdf.train.data import constants, load
from hmdf.train.data.dataset import Dataset
from hmdf.train.data.folds import ChosenInputs, Fold, fold_of_each, short_name, split_fold, take_fold, with_fold
from hmdf.train.data.lazy_images import LazyImages
from hmdf.train.data.registry import one_frame_per_step
from hmdf.train.errors import DataError


def numbered(labels) -> Dataset:
    """A data set whose n-th image has the value n."""
    labels = np.asarray(labels, np.int64)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    names = tuple(f"class{i}" for i in range(int(labels.max()) + 1))
    return Dataset(images, labels, names, constants.MNIST, "numbered", "all")


@given(counts=st.lists(st.integers(5, 23), min_size=1, max_size=6), count=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_divide_the_samples_evenly_within_each_class(counts, count, seed):
    pool = numbered(np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)))
    held_out = []
    for number in range(1, count + 1):
        train, test = (take_fold(pool, Fold(number, count), split, False) for split in ("train", "test"))
        assert sorted([*train.inputs.flat, *test.inputs.flat]) == list(range(len(pool)))
        for data in (train, test):
            assert (np.diff(data.inputs.ravel().astype(int)) > 0).all()
            assert np.array_equal(data.labels, pool.labels[data.inputs.ravel()])
        assert all(n // count <= (test.labels == label).sum() <= -(-n // count) for label, n in enumerate(counts))
        assert len(pool) // count <= len(test) <= -(-len(pool) // count)
        held_out += test.inputs.ravel().tolist()
    assert sorted(held_out) == list(range(len(pool)))


def test_the_fold_is_in_the_name():
    train, test = load("digits@2/5", "train"), load("digits@2/5", "test")
    assert train.name == test.name == "digits@2/5"
    assert (len(train), len(test), len(load("digits@2/5", "all"))) == (1437, 360, 1797)
    assert test.preprocessing == constants.DIGITS
    pool = load("digits", "all")
    assert np.array_equal(test.inputs, pool.inputs[fold_of_each(pool, 5) == 2])


@pytest.mark.parametrize("name", ["digits", "nmnist:4:count", "a@b/set.npz", "digits@3-5", "digits@", "@1/2"])
def test_names_without_a_fold(name):
    assert split_fold(name) == (name, None)
    assert with_fold(name, None) == name


def test_names_with_one(tmp_path, monkeypatch):
    assert split_fold("nmnist:4:count@2/5") == ("nmnist:4:count", Fold(2, 5))
    assert with_fold("nmnist", Fold(1, 2)) == "nmnist@1/2"
    assert one_frame_per_step("nmnist@2/5", 3) == "nmnist:3@2/5"
    assert one_frame_per_step("nmnist:10:count@2/5", 3) == "nmnist:3:count@2/5"
    assert one_frame_per_step("digits@2/5", 3) == "digits@2/5"
    assert short_name("some/where/set.npz@2/5") == "set.npz@2/5"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd@2" / "5").mkdir(parents=True)
    assert split_fold("odd@2/5") == ("odd@2/5", None)


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/1", "1/0"])
def test_nonsense(text):
    with pytest.raises(DataError, match=rf"a fold is K/N .* \(got {text}\)"):
        load(f"digits@{text}", "test")
    with pytest.raises(DataError, match="a fold is K/N"):
        Fold.from_text(text)


@pytest.mark.parametrize("text", ["", "2", "2/5/7", "-1/5", "a/b", "2 / 5", "1e3/5", "²/5"])
def test_what_is_no_fold_at_all(text):
    with pytest.raises(DataError, match="a fold is K/N, for example 2/5"):
        Fold.from_text(text)


def test_two_folds_and_too_many():
    with pytest.raises(DataError, match="names two folds"):
        load("digits@1/2@2/5", "test")
    with pytest.raises(DataError, match="numbered: 4 folds of class class1, which has 3 samples; take fewer folds"):
        take_fold(numbered([0] * 9 + [1] * 3), Fold(1, 4), "test", False)
    with pytest.raises(DataError, match=r"did you mean 'digits'"):
        load("digit@1/2", "test")


def test_the_training_samples_alone_give_the_statistics(tmp_path):
    images = np.arange(40, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(40) % 4)
    name = f"{tmp_path / 'set.npz'}@3/5"
    train, test = load(name, "train"), load(name, "test")
    assert train.name == "set@3/5"
    assert (len(train), len(test)) == (32, 8)
    assert train.preprocessing == test.preprocessing
    assert train.preprocessing.mean[0] == pytest.approx(train.inputs.mean() / 255)
    frames = images[:, None, None]
    np.savez(tmp_path / "frames.npz", images=frames, labels=np.arange(40) % 4)
    assert load(f"{tmp_path / 'frames.npz'}@3/5", "test").preprocessing == constants.EVENT_COUNTS


def test_a_folder_of_images(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (4, 4), (i, i, i)).save(tmp_path / "set" / name / f"{i}.png")
    test = load(f"{tmp_path / 'set'}@1/3", "test")
    assert test.inputs.shape == (4, 3, 4, 4)
    assert test.labels.tolist() == [0, 0, 1, 1]


def test_inputs_that_are_not_in_memory_stay_where_they_are(tmp_path):
    files = []
    for i in range(10):
        files.append(tmp_path / f"{i}.png")
        Image.new("RGB", (4, 4), (i, i, i)).save(files[-1])
    pool = dataclasses.replace(numbered([0] * 10), inputs=LazyImages(files, 4), preprocessing=constants.CIFAR10)
    test = take_fold(pool, Fold(2, 5), "test", False)
    assert isinstance(test.inputs, ChosenInputs)
    assert test.inputs.shape == (2, 3, 4, 4)
    assert test.input_shape == (3, 4, 4)
    assert test.inputs[:].mean((1, 2, 3)).tolist() == [1, 6]
    assert test.inputs[1].shape == (3, 4, 4)
    assert test.inputs.astype(np.float32)[np.array([False, True])].max() == 6
    np.save(tmp_path / "frames.npy", np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1, 1))
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    test = take_fold(dataclasses.replace(pool, inputs=mapped, preprocessing=constants.EVENT_COUNTS), Fold(2, 5), "test",
                     False)  # fmt: skip
    assert isinstance(test.inputs, ChosenInputs)
    assert test.frames == 1
    assert test.inputs[:].ravel().tolist() == [1, 6]


def test_real_recordings():
    folds = [published(f"nmnist:2:count@{k}/5", "test") for k in (1, 2)]
    assert folds[0].name == "nmnist:2:count@1/5"
    assert folds[0].inputs.shape[1:] == (2, 2, 34, 34)
    pool = load("nmnist:2:count", "all")
    assert abs(len(folds[0]) - len(pool) / 5) < 1
    for fold in folds:
        assert np.ptp(np.bincount(fold.labels)) <= np.ptp(np.bincount(pool.labels)) / 5 + 1
