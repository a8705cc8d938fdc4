"""A second reader of .hmdf files, written from docs/program-format.md alone: json, struct, hashlib and numpy."""

import hashlib
import json
import re
import struct
from math import prod
from pathlib import Path

import numpy as np
import pytest

from hmdf.sim import storage
from hmdf.sim.packing import pack
from programs import random_program, recurrent_program

# ---------------------------------------------------------------- the reader: nothing of hmdf is used here

DTYPES = {"U8": "<u1", "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
NAMES = {"U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"}
PER_BYTE = {"bits": 8, "trits": 5, "nibbles": 2, "bytes": 1}
BASES = {"bits": 2, "trits": 3, "nibbles": 16, "bytes": 256}


def read(content: bytes) -> dict:
    """The structure of a file, an array in the place of each reference."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    metadata, data = header.pop("__metadata__"), content[8 + length :]
    assert metadata["format"] == "hmdf-program"
    assert metadata["version"] in ("1", "2")
    stored = {name: data[slice(*entry["data_offsets"])] for name, entry in header.items()}
    assert checksum(metadata["program"], header, stored) == metadata["sha256"], "damaged"
    assert sum(map(len, stored.values())) == len(data)
    structure = json.loads(metadata["program"])
    if metadata["version"] == "1":  # it knows no initial states
        for node in structure["nodes"]:
            assert "initial_state" not in node
            node |= {"initial_state": []} if node["type"] == "population" else {}
    return resolved(structure, header, stored)


def checksum(program: str, header: dict, stored: dict) -> str:
    state = hashlib.sha256(program.encode())
    for name in sorted(header, key=str.encode):
        entry = header[name]
        state.update(f"\n{name} {NAMES[entry['dtype']]} {'x'.join(map(str, entry['shape']))}\n".encode())
        state.update(stored[name])
    return state.hexdigest()


def resolved(value, header: dict, stored: dict):
    if isinstance(value, list):
        return [resolved(v, header, stored) for v in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        content, packing = stored[value["tensor"]], value.get("packing", "none")
        if packing == "none":
            entry = header[value["tensor"]]
            assert entry["shape"] == value["shape"]
            return np.frombuffer(content, DTYPES[entry["dtype"]]).reshape(value["shape"])
        return np.array(unpacked(content, packing, prod(value["shape"]))).reshape(value["shape"])
    return {key: resolved(v, header, stored) for key, v in value.items()}


def unpacked(content: bytes, packing: str, count: int) -> list[int]:
    digits = []
    for byte in content:
        for _ in range(PER_BYTE[packing]):
            digits.append(byte % BASES[packing])
            byte //= BASES[packing]
        assert byte == 0
    assert not any(digits[count:])
    assert len(content) == -(-count // PER_BYTE[packing])
    return [weight_of(digit, packing) for digit in digits[:count]]


def weight_of(digit: int, packing: str) -> int:
    match packing:
        case "bits":
            return 2 * digit - 1
        case "trits":
            return digit - 1
        case _:
            return digit if digit < BASES[packing] // 2 else digit - BASES[packing]


# --------------------------------------------------------------------------------------------- the tests


def with_the_weight_in_its_op(node: dict) -> dict:
    """A synapse as the Program has it: the file has the weight beside the op, null and 0 for a pool."""
    node, weight = {"delay": 0} | node, {"weight": node["weight"], "weight_bits": node["weight_bits"]}
    del node["weight"], node["weight_bits"]
    if node["op"]["type"] in ("sum_pool", "max_pool"):
        assert weight == {"weight": None, "weight_bits": 0}
        return node
    return node | {"op": node["op"] | weight}


def assert_equal(read_value, struct_value, where: str) -> None:
    """Whatever the reader found is what the Program has, field by field."""
    if hasattr(struct_value, "__struct_fields__"):
        tag = type(struct_value).__struct_config__.tag
        if tag == "synapse":
            read_value = with_the_weight_in_its_op(read_value)
        expected = {*struct_value.__struct_fields__, *(["type"] if tag else [])}
        assert set(read_value) == expected, where
        assert read_value.get("type") == tag, where
        for field in struct_value.__struct_fields__:
            assert_equal(read_value[field], getattr(struct_value, field), f"{where}.{field}")
    elif isinstance(struct_value, tuple):
        assert len(read_value) == len(struct_value), where
        for index, pair in enumerate(zip(read_value, struct_value, strict=True)):
            assert_equal(*pair, f"{where}[{index}]")
    elif isinstance(struct_value, np.ndarray):
        assert np.array_equal(read_value, struct_value), where
    else:
        assert type(read_value) is type(struct_value), where
        assert read_value == struct_value, where


@pytest.mark.parametrize("seed", range(25))
def test_a_second_reader_finds_every_field_and_array(seed, tmp_path):
    program = recurrent_program(seed) if seed % 5 == 4 else random_program(seed)
    path = tmp_path / "model.hmdf"
    storage.save(program, path)
    assert_equal(read(path.read_bytes()), program, "program")


def test_every_packing_and_node_kind_was_read(tmp_path):
    kinds = set()
    for seed in range(25):
        path = tmp_path / f"{seed}.hmdf"
        storage.save(random_program(seed), path)
        text = path.read_bytes()[8:].decode(errors="replace").replace("\\", "")
        kinds |= set(re.findall(r'"(?:type|packing|version)":"(\w+)"', text))
    assert kinds == {
        "1", "2",
        "synapse", "population", "conv2d", "linear", "channel_conv", "sum_pool", "max_pool",
        "relay", "hybrid_firing", "parallel_firing", "leaky_integrate_and_fire", "multi_hierarchical", "lookup_table",
        "hard_reset_integrate_and_fire", "leaky_integrator", "current_based_leaky_integrate_and_fire",
        "none", *PER_BYTE,
    }  # fmt: skip


def test_damage_is_noticed(tmp_path):
    path = tmp_path / "model.hmdf"
    storage.save(random_program(1), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with pytest.raises(AssertionError, match="damaged"):
        read(bytes(content))


# ------------------------------------------------------------------------- the examples of the document

DOCUMENT = (Path(__file__).parents[2] / "docs" / "program-format.md").read_text()


def test_packing_examples_of_the_document():
    examples = re.findall(r"^\| `(\w+)` \| ([-+\d ]+) \| `([0-9a-f ]+)` \|", DOCUMENT, re.MULTILINE)
    assert {packing for packing, _, _ in examples} == set(PER_BYTE)
    bits = {"bits": 1, "trits": 2, "nibbles": 4, "bytes": 8}
    for packing, weights, content in examples:
        values = [int(w) for w in weights.split()]
        assert unpacked(bytes.fromhex(content), packing, len(values)) == values
        assert pack(np.array(values, np.int8), bits[packing]).tobytes() == bytes.fromhex(content)


def test_the_complete_file_of_the_document(tmp_path):
    text = json.dumps(json.loads(re.search(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)[1]), separators=(",", ":"))
    rows = re.findall(r"^\| `([\w.:]+)` \| (\w+) \| ([\dx]+) \| (\d+)\.\.(\d+) \| `([0-9a-f ]+)` \|", DOCUMENT, re.M)
    header = {
        name: {"dtype": dtype, "shape": [int(e) for e in shape.split("x")], "data_offsets": [int(begin), int(end)]}
        for name, dtype, shape, begin, end, _ in rows
    }
    sha256 = re.search(r"The checksum is `(\w+)`", DOCUMENT)[1]
    header["__metadata__"] = {"format": "hmdf-program", "version": "1", "program": text, "sha256": sha256}
    encoded = json.dumps(header).encode()
    content = struct.pack("<Q", len(encoded)) + encoded + b"".join(bytes.fromhex(row[-1]) for row in rows)
    path = tmp_path / "model.hmdf"
    path.write_bytes(content)
    assert_equal(read(content), storage.load(path), "program")
