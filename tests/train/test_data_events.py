import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmdf.train.data import load
from hmdf.train.data.event_frames import Framing, to_frames
from hmdf.train.data.event_readers import Events, read_events
from hmdf.train.errors import DataError

AEDAT_HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HMDF_CACHE", str(tmp_path / "cache"))


def nmnist_record(x: int, y: int, p: int, t: int) -> bytes:
    return bytes([x, y]) + ((p << 23) | t).to_bytes(3, "big")


def aedat_record(x: int, y: int, p: int, t: int) -> bytes:
    """x as jAER draws it: counted from the right in the address; brighter is polarity bit 0."""
    return struct.pack(">II", (127 - x) << 1 | y << 8 | (1 - p), t)


def rows(events: Events) -> list[tuple[int, ...]]:
    return [tuple(map(int, row)) for row in zip(events.x, events.y, events.p, events.t, strict=True)]


def test_nmnist_file(tmp_path):
    path = tmp_path / "1.bin"
    wrap = nmnist_record(0, 240, 0, 0)
    path.write_bytes(nmnist_record(3, 7, 1, 70_000) + wrap + nmnist_record(33, 0, 0, 70_005))
    assert rows(read_events(path)) == [(3, 7, 1, 70_000), (33, 0, 0, 70_005 + 8192)]


def test_aedat2_file(tmp_path):
    path = tmp_path / "1.aedat"
    external = struct.pack(">II", 1 << 15, 6)
    path.write_bytes(AEDAT_HEADER + aedat_record(5, 100, 1, 4) + external + aedat_record(127, 0, 0, 9))
    events = read_events(path)
    assert rows(events) == [(5, 100, 1, 4), (127, 0, 0, 9)]
    assert (events.width, events.height) == (128, 128)


def test_dat_file(tmp_path):
    path = tmp_path / "1.dat"
    body = struct.pack("<IIII", 3, 17 | 5 << 14 | 1 << 28, 8, 2 | 90 << 14)
    path.write_bytes(b"% Version 2\n% Width 304\n% Height 240\n\x00\x08" + body)
    events = read_events(path)
    assert rows(events) == [(17, 5, 1, 3), (2, 90, 0, 8)]
    assert (events.width, events.height) == (304, 240)
    path.write_bytes(b"% Version 2\n\x00\x08" + body)
    assert (read_events(path).width, read_events(path).height) == (18, 91)


def test_events_come_in_order_of_time(tmp_path):
    path = tmp_path / "1.aedat"
    path.write_bytes(AEDAT_HEADER + aedat_record(1, 1, 0, 9) + aedat_record(2, 2, 1, 4))
    assert rows(read_events(path)) == [(2, 2, 1, 4), (1, 1, 0, 9)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.bin", b"", "empty file"),
        ("a.bin", nmnist_record(0, 0, 0, 0)[:-1], "4 bytes of events are no multiple of 5: truncated"),
        ("a.bin", nmnist_record(0, 240, 0, 0), "has no events"),
        ("a.bin", nmnist_record(34, 0, 0, 0), "event 0 has x = 34, outside 0..33"),
        ("a.aedat", AEDAT_HEADER, "has no events"),
        ("a.aedat", AEDAT_HEADER + b"1234567", "no multiple of 8"),
        ("a.aedat", b"\x00" * 16, "not an AEDAT 2.0 file"),
        ("a.aedat", b"#!AER-DAT3.1\r\n", "version 3.1 of AEDAT; versions 2.0 and 4 are read"),
        ("a.aedat4", b"#!AER-DAT4.0\r\nnonsense", "truncated or damaged"),
        ("a.dat", b"% x\n\x00\x08", "has no events"),
        ("a.dat", b"% x\n\x00\x07", "not a .dat file of 8-byte events"),
        ("a.mat", b"x", "event recordings end with"),
    ],
)
def test_bad_recordings_name_file_and_reason(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_events(tmp_path / name)
    assert name in str(error.value)


def test_missing_recording(tmp_path):
    with pytest.raises(DataError, match=r"none\.bin: No such file"):
        read_events(tmp_path / "none.bin")


def random_events(seed: int, count: int, width: int, height: int) -> Events:
    generator = np.random.default_rng(seed)
    t = np.sort(generator.integers(0, 1000, count))
    x, y = generator.integers(0, width, count), generator.integers(0, height, count)
    return Events(x, y, generator.integers(0, 2, count), t, width, height, "random")


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(0, 2**16), count=st.integers(1, 200), bins=st.integers(1, 7),
    by=st.sampled_from(["time", "count"]), size=st.sampled_from([None, 3, 5]),
)  # fmt: skip
def test_frames_count_every_event_once(seed, count, bins, by, size):
    events = random_events(seed, count, 9, 6)
    frames = to_frames(events, Framing(bins, by, size))
    width, height = (9, 6) if size is None else (size, size)
    expected = np.zeros((bins, 2, height, width), int)
    span = events.t[-1] - events.t[0] + 1
    for i in range(count):
        position = (events.t[i] - events.t[0]) / span if by == "time" else i / count
        x, y = int(events.x[i] * width / 9), int(events.y[i] * height / 6)
        expected[int(position * bins), events.p[i], y, x] += 1
    assert np.array_equal(frames, expected)


def test_counts_end_at_255():
    events = Events(*(np.zeros(300, int) for _ in range(4)), 2, 2, "many")
    assert to_frames(events, Framing(1))[0, 0, 0, 0] == 255


@pytest.mark.parametrize("text", ["x", "0", "4:size", "4:time:x", "4:time:9:9", "2000"])
def test_bad_framing(text):
    with pytest.raises(DataError):
        Framing(10).with_text(text)


def test_frames_larger_than_the_sensor():
    with pytest.raises(DataError, match="frames of 20 pixels from a sensor of 9 x 6"):
        to_frames(random_events(0, 5, 9, 6), Framing(2, "time", 20))


def write_nmnist(root) -> None:
    for part in ("Train", "Test"):
        for digit in range(10):
            (root / part / str(digit)).mkdir(parents=True)
            for index in range(2):
                events = b"".join(nmnist_record(digit, i % 34, i % 2, 10 * i) for i in range(20 + index))
                (root / part / str(digit) / f"{index:05}.bin").write_bytes(events)


def test_nmnist_folders(tmp_path):
    write_nmnist(tmp_path / "nmnist")
    data = load("nmnist:4", "train", tmp_path)
    assert data.name == "nmnist:4:time"
    assert data.inputs.shape == (20, 4, 2, 34, 34)
    assert list(data.labels) == [digit for digit in range(10) for _ in range(2)]
    assert int(data.inputs[7].sum()) == 21
    assert data.inputs[7].sum((0, 1, 2))[3] == 21
    assert load("nmnist", "train", tmp_path).frames == 10
    assert len(load("nmnist:4", "all", tmp_path)) == 40
    again = load(data.name, "train", tmp_path)
    assert np.array_equal(again.inputs, data.inputs)
    assert isinstance(again.inputs, np.memmap)


def test_a_changed_recording_is_converted_again(tmp_path):
    write_nmnist(tmp_path / "nmnist")
    load("nmnist:1", "train", tmp_path)
    (tmp_path / "nmnist" / "Train" / "0" / "00000.bin").write_bytes(nmnist_record(9, 9, 1, 5))
    assert load("nmnist:1", "train", tmp_path).inputs[0].sum() == 1


def test_empty_recording_in_a_data_set(tmp_path):
    write_nmnist(tmp_path / "nmnist")
    (tmp_path / "nmnist" / "Train" / "4" / "00001.bin").write_bytes(nmnist_record(0, 240, 0, 0))
    with pytest.raises(DataError, match=r"4/00001\.bin: the recording has no events"):
        load("nmnist", "train", tmp_path)
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_missing_class_of_nmnist(tmp_path):
    write_nmnist(tmp_path / "nmnist")
    (tmp_path / "nmnist" / "Train" / "4").rename(tmp_path / "nmnist" / "Train" / "x")
    with pytest.raises(DataError, match=r"must be 0\.\.9"):
        load("nmnist", "train", tmp_path)


def nmnist_arrays(**changes) -> dict[str, np.ndarray]:
    arrays = {}
    for split in ("train", "test"):
        arrays |= {f"{split}_{name}": np.arange(30, dtype=np.uint8) % 2 for name in "xyp"}
        arrays |= {f"{split}_t": np.arange(30), f"{split}_offsets": [0, 10, 30], f"{split}_labels": [3, 1]}
    return {**arrays, **changes}


def test_nmnist_npz(tmp_path):
    np.savez(tmp_path / "nmnist_small.npz", **nmnist_arrays())
    data = load("nmnist:5:count", "test", tmp_path)
    assert data.inputs.sum((1, 2, 3, 4)).tolist() == [10, 20]
    assert data.labels.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_offsets": [0, 30, 30]}, "train recording 1: the recording has no events"),
        ({"train_labels": [3]}, "train_offsets has 2 samples but train_labels has 1"),
        ({"train_offsets": [0, 31]}, "rising from 0 to the length of train_x, 30"),
        ({"train_x": np.full(30, 34, np.uint8)}, "train recording 0: event 0 has x = 34"),
        ({"train_labels": [3, 10]}, r"labels\[1\] = 10 is out of range"),
    ],
)
def test_bad_nmnist_npz(tmp_path, changes, message):
    np.savez(tmp_path / "nmnist_small.npz", **nmnist_arrays(**changes))
    with pytest.raises(DataError, match=message):
        load("nmnist", "train", tmp_path)


def test_dvs_cifar10(tmp_path):
    for name in ("airplane", "bird"):
        folder = tmp_path / "dvs-cifar10" / name
        folder.mkdir(parents=True)
        for index in range(20):
            events = aedat_record(index, 100, 1, 4) + aedat_record(index, 100, 0, 9)
            (folder / f"cifar10_{name}_{index}.aedat").write_bytes(AEDAT_HEADER + events)
    train, test = (load("dvs-cifar10:2:time:128", split, tmp_path) for split in ("train", "test"))
    assert (len(train), len(test), test.class_names) == (36, 4, ("airplane", "bird"))
    # recordings 18 and 19 of each class, turned upright: column 127 - 100, row x
    assert [tuple(map(int, np.argwhere(frames[0])[0])) for frames in test.inputs[:2]] == [(1, 18, 27), (1, 19, 27)]
    small = load("dvs-cifar10", "test", tmp_path)
    assert small.inputs.shape == (4, 10, 2, 48, 48)
    assert small.name == "dvs-cifar10:10:time:48"
    assert np.argwhere(small.inputs[0, 0])[0].tolist() == [1, 18 * 48 // 128, 27 * 48 // 128]
