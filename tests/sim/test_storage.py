"""A Program's file: what is saved is loaded, and anything else is one clear error."""

import json
import struct

import msgspec
import numpy as np
import pytest

from hmdf.sim import reference, storage, stored
from hmdf.sim.contract import Gate, Linear, Message, Population, Port, Relay, SumPool, Synapse
from hmdf.sim.errors import ProgramError
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.simulator import Simulator
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


def plain(program):
    """Without initial states."""
    nodes = (msgspec.structs.replace(n, initial_state=()) if isinstance(n, Population) else n for n in program.nodes)
    return msgspec.structs.replace(program, nodes=tuple(nodes))


def newest_kind(program):
    return max(population.dynamics.facts.format_version for population in program.populations)


def test_initial_states_make_version_2(tmp_path):
    """And a program is told by its content: version 1 with an initial state is refused, version 2 without one read."""
    path = tmp_path / "model.hmdf"
    drawn = [program for program in map(random_program, range(60)) if newest_kind(program) == 1]
    started = next(program for program in drawn if any(q.initial_state for q in program.populations))
    headers = {}
    for version, program in (("1", plain(started)), ("2", started)):
        storage.save(program, path)
        headers[version], data = split(path.read_bytes())
        assert headers[version]["__metadata__"]["version"] == version
        assert ("initial_state" in headers[version]["__metadata__"]["program"]) == (version == "2")
    headers["2"]["__metadata__"]["version"] = "1"
    assert "its initial_state is of version 2" in refused(path, joined(headers["2"], data))
    storage.save(plain(started), path)
    header, data = split(path.read_bytes())
    header["__metadata__"]["version"] = "2"
    path.write_bytes(joined(header, data))
    assert storage.load(path).sha256 == plain(started).sha256


def test_newer_kinds_of_neurons_make_version_2(tmp_path):
    path = tmp_path / "model.hmdf"
    storage.save(plain(next(p for p in map(random_program, range(60)) if newest_kind(p) == 2)), path)
    header, data = split(path.read_bytes())
    assert header["__metadata__"]["version"] == "2"
    document = json.loads(header["__metadata__"]["program"])
    for node in document["nodes"]:
        node.pop("initial_state", None)
    header["__metadata__"]["version"] = "1"
    assert "has what version 2" in refused(path, signed(header, data, json.dumps(document)))


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


# ------------------------------------------------- one way to write each thing: files that no reader takes


def signed(header: dict, data: bytes, document: str | None = None) -> bytes:
    """The container with a checksum that fits its content, so that only what was altered can be the reason."""
    metadata = dict(header["__metadata__"])
    metadata["program"] = metadata["program"] if document is None else document
    names = {"U8": np.uint8, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in names:
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[begin:end], names[entry["dtype"]]).reshape(entry["shape"])
    metadata["sha256"] = stored.digest_of(metadata["program"].encode(errors="surrogatepass"), tensors)
    return joined({**header, "__metadata__": metadata}, data)


def with_document(file, change) -> bytes:
    """The file with its structure changed: a function of the parsed JSON, or of its text."""
    header, data = split(file.read_bytes())
    text = header["__metadata__"]["program"]
    document = json.loads(text)
    changed = change(document)
    return signed(header, data, changed if isinstance(changed, str) else json.dumps(document))


def first(document: dict, kind: str) -> dict:
    return next(node for node in document["nodes"] if node["type"] == kind)


FOREIGN = ["F8_E4M3", "F4", "F16", "F32", "F64", "BOOL", "C64", "U16", "U64", "I4", "", None, 7]


@pytest.mark.parametrize("dtype", FOREIGN)
def test_dtypes_that_no_program_has(file, tmp_path, dtype):
    header, data = split(file.read_bytes())
    name = next(n for n in header if n != "__metadata__")
    header[name]["dtype"] = dtype
    assert f"tensor '{name}': dtype {dtype!r}" in refused(tmp_path / "a.hmdf", signed(header, data))


def test_a_tensor_that_nothing_refers_to(file, tmp_path):
    header, data = split(file.read_bytes())
    header["extra"] = {"dtype": "I32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
    assert "nothing refers to its tensor 'extra'" in refused(tmp_path / "a.hmdf", signed(header, data + bytes(4)))


def test_entries_and_metadata_have_their_fields_only(file, tmp_path):
    header, data = split(file.read_bytes())
    name = next(n for n in header if n != "__metadata__")
    more = {**header, name: {**header[name], "strides": [1]}}
    assert f"tensor '{name}': its entry" in refused(tmp_path / "a.hmdf", joined(more, data))
    less = {**header, name: {"dtype": "U8", "shape": [1]}}
    assert f"tensor '{name}': its entry" in refused(tmp_path / "a.hmdf", joined(less, data))
    for metadata in ({"author": "x"}, {"program": 3}):
        altered = {**header, "__metadata__": header["__metadata__"] | metadata}
        assert "its metadata are" in refused(tmp_path / "a.hmdf", joined(altered, data))


def test_keys_that_stand_twice(file, tmp_path):
    header, data = split(file.read_bytes())
    text = json.dumps(header)
    name = next(n for n in header if n != "__metadata__")
    twice = "{" + f'"{name}":{json.dumps(header[name])},' + text[1:]
    content = struct.pack("<Q", len(twice.encode())) + twice.encode() + data
    assert f"the key '{name}' stands twice" in refused(tmp_path / "a.hmdf", content)

    def again(document: dict) -> str:
        return '{"time_steps":1,' + json.dumps(document)[1:]

    assert "the key 'time_steps' stands twice" in refused(tmp_path / "a.hmdf", with_document(file, again))


def test_a_header_begins_with_its_brace(file, tmp_path):
    header, data = split(file.read_bytes())
    text = b" " + json.dumps(header).encode()
    refused(tmp_path / "a.hmdf", struct.pack("<Q", len(text)) + text + data)


def test_packings_are_those_of_the_weight_bits(tmp_path):
    program = random_program(3, stages=3)
    seen = set()
    for seed in range(12):
        storage.save(random_program(seed), tmp_path / "good.hmdf")
        header, data = split((tmp_path / "good.hmdf").read_bytes())
        document = json.loads(header["__metadata__"]["program"])
        for node in document["nodes"]:
            if node["type"] != "synapse" or node["weight"] is None:
                continue
            wrong = "bytes" if node["weight"]["packing"] != "bytes" else "trits"
            seen.add((node["weight_bits"], wrong))
            node["weight"]["packing"] = wrong
            content = signed(header, data, json.dumps(document))
            assert f"weights are not packed as {wrong}" in refused(tmp_path / "a.hmdf", content)
            break
    assert {bits for bits, _ in seen} >= {1, 2, 8}
    assert program.nodes


def test_nothing_but_weights_is_packed(file, tmp_path):
    def change(document: dict) -> None:
        first(document, "population")["bias"]["packing"] = "bytes"

    assert "it is packed, and no weight" in refused(tmp_path / "a.hmdf", with_document(file, change))


def test_a_bias_of_the_read_out_that_is_stored_once_is_that_of_all_classes(tmp_path):
    program, logits = random_program(3), []
    messages = random_messages(program, 2, 0)
    for bias in (np.array([7]), np.full(program.classes, 7)):
        readout = msgspec.structs.replace(program.readout, bias=bias)
        storage.save(msgspec.structs.replace(program, readout=readout), tmp_path / "a.hmdf")
        again = storage.load(tmp_path / "a.hmdf")
        assert np.array_equal(again.readout.bias, bias)
        logits += [executor.run(again, messages).logits for executor in (reference, Simulator(threads=1))]
    assert all(np.array_equal(logits[0], other) for other in logits)


@pytest.mark.parametrize("count", [-1, 1 << 53, 10**30])
def test_impossible_numbers_of_calibration_samples(file, tmp_path, count):
    def change(document: dict) -> None:
        document["metadata"]["calibration_samples"] = count

    assert "calibration_samples" in refused(tmp_path / "a.hmdf", with_document(file, change))


@pytest.mark.parametrize("value", ["\\ud800", "\\udc00x"])
def test_lone_surrogates(file, tmp_path, value):
    def change(document: dict) -> str:
        document["metadata"]["network"] = "MARK"
        return json.dumps(document).replace("MARK", value)

    refused(tmp_path / "a.hmdf", with_document(file, change))


@pytest.mark.parametrize("field", ["stride", "padding", "kernel"])
def test_geometry_has_limits(tmp_path, field):
    program = next(p for p in map(random_program, range(99)) if any(isinstance(s.op, SumPool) for s in p.synapses))
    storage.save(program, tmp_path / "good.hmdf")

    def change(document: dict) -> None:
        node = next(n for n in document["nodes"] if n["type"] == "synapse" and n["op"]["type"] == "sum_pool")
        node["op"][field] = [1 << 16, 1]

    assert "impossible geometry" in refused(tmp_path / "a.hmdf", with_document(tmp_path / "good.hmdf", change))


def test_deeply_nested_json(file, tmp_path):
    def change(document: dict) -> str:
        return json.dumps(document)[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}"

    refused(tmp_path / "a.hmdf", with_document(file, change))
