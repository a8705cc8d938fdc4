"""A Program's file: what is saved is loaded, and anything else is one clear error."""

import json
import struct

import msgspec
import numpy as np
import pytest

from hmdf.sim import reference, storage
from hmdf.sim.contract import Gate, Linear, Message, Population, Port, Relay, Synapse
from hmdf.sim.errors import ProgramError
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from programs import random_messages, random_program


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("programs") / "model.hmdf"
    storage.save(random_program(3, stages=3), path)
    return path


def refused(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ProgramError) as caught:
        storage.load(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3
    return str(caught.value)


def split(content: bytes) -> tuple[dict, bytes]:
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: dict, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("seed", range(40))
def test_round_trip(seed, tmp_path):
    program = random_program(seed)
    path = tmp_path / "model.hmdf"
    storage.save(program, path)
    loaded = storage.load(path)
    assert loaded.sha256 == program.sha256
    messages = random_messages(program, 2, seed)
    assert np.array_equal(reference.run(loaded, messages).logits, reference.run(program, messages).logits)
    assert msgspec.structs.asdict(loaded.input) == msgspec.structs.asdict(program.input)
    assert [p.name for p in tmp_path.iterdir()] == ["model.hmdf"]


def test_equal_programs_are_equal_files(tmp_path):
    for name in ("a", "b"):
        storage.save(random_program(7), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_truncated_anywhere(file, tmp_path):
    content = file.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(10, len(content), len(content) // 60), len(content) - 1]:
        refused(tmp_path / "cut.hmdf", content[:length])


def test_every_sampled_bit_flip(file, tmp_path):
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.choice(len(content) * 8, 600, replace=False):
        altered = bytearray(content)
        altered[bit // 8] ^= 1 << (bit % 8)
        refused(tmp_path / "flipped.hmdf", bytes(altered))


def test_appended_bytes(file, tmp_path):
    refused(tmp_path / "long.hmdf", file.read_bytes() + b"\0")


@pytest.mark.parametrize("length", [1 << 62, (1 << 64) - 1, 200_000_000])
def test_oversized_header(file, tmp_path, length):
    refused(tmp_path / "header.hmdf", struct.pack("<Q", length) + file.read_bytes()[8:])


def test_oversized_shapes_are_refused_before_allocation(file, tmp_path):
    header, data = split(file.read_bytes())
    document = json.loads(header["__metadata__"]["program"])
    for node in document["nodes"]:
        if node["type"] == "population":
            node["shape"] = [1 << 40, 1 << 20, 1 << 20]
    header["__metadata__"]["program"] = json.dumps(document)
    refused(tmp_path / "shape.hmdf", joined(header, data))
    tensor = next(name for name in header if name != "__metadata__")
    header[tensor]["shape"] = [1 << 60, 1 << 60]
    refused(tmp_path / "tensor.hmdf", joined(header, data))


def test_wrong_version_and_format(file, tmp_path):
    header, data = split(file.read_bytes())
    header["__metadata__"]["version"] = "999"
    assert "format version is '999'" in refused(tmp_path / "version.hmdf", joined(header, data))
    header["__metadata__"]["format"] = "weights"
    assert "not an 'hmdf-program' file" in refused(tmp_path / "format.hmdf", joined(header, data))


def test_other_files(tmp_path):
    refused(tmp_path / "text.hmdf", b"not a program at all\n" * 100)
    refused(tmp_path / "pickle.hmdf", b"\x80\x04\x95" + bytes(100))
    with pytest.raises(ProgramError, match="no such file"):
        storage.load(tmp_path / "absent.hmdf")
    with pytest.raises(ProgramError):
        storage.load(tmp_path)


def test_altered_weights_are_noticed(file, tmp_path):
    header, data = split(file.read_bytes())
    assert "altered or damaged" in refused(tmp_path / "model.hmdf", joined(header, data[:-1] + bytes([data[-1] ^ 1])))


def test_a_failed_save_leaves_the_old_file(file, tmp_path, monkeypatch):
    path = tmp_path / "model.hmdf"
    path.write_bytes(file.read_bytes())

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(storage.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.save(random_program(4), path)
    assert path.read_bytes() == file.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["model.hmdf"]


def test_numbers_of_numpy_are_stored_as_plain_numbers(tmp_path):
    program = random_program(5)
    message = msgspec.structs.replace(program.input.message, scale=np.float64(program.input.message.scale))
    given = msgspec.structs.replace(program.input, message=message)
    storage.save(msgspec.structs.replace(program, input=given), tmp_path / "a.hmdf")
    assert storage.load(tmp_path / "a.hmdf").sha256 == program.sha256


def test_a_gate_and_a_population_named_gate_keep_their_biases(tmp_path):
    """'a' with a gate, and 'a.gate': tensor names of the two must not meet."""
    one, message = np.ones((1, 1), np.int16), Message(8, False, 1.0)
    bias = [np.full((1, 1), value, np.int32) for value in (-7, 5, 3)]
    program = Program(
        time_steps=1,
        state_bits=24,
        accumulator_bits=24,
        input=Input((2,), message, "constant", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(
            Population("a.gate", (2,), (Port("input", one, 0),), bias[0], Relay(), message),
            Population("a", (2,), (Port("input", one, 0),), bias[1], Relay(), message, Gate("a.gate", 8, bias[2])),
            Synapse("head", "a", Linear(np.ones((2, 2), np.int8), 1)),
        ),
        readout=Readout("head", np.zeros(2, np.int64), 1.0),
    )
    storage.save(program, tmp_path / "a.hmdf")
    loaded = storage.load(tmp_path / "a.hmdf")
    assert [int(p.bias[0, 0]) for p in loaded.populations] == [-7, 5]
    assert int(loaded.populations[1].gate.bias[0, 0]) == 3
