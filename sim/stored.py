"""The stored form of a Program: JSON with references in the place of arrays, and the arrays as tensors.

The JSON has the fields of the structs, in their order, but for two things: a synapse's weight and its bits stand beside
its op, not in it, and are null and 0 for a pool; a delay of 0 is left out; and version 1 knows no initial states and no
delays (docs/program-format.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from .contract import MAX_ELEMENTS, Op, Synapse, WeightedOp
from .contract.parameters import fields_of
from .errors import ProgramError
from .packing import pack, unpack

if TYPE_CHECKING:
    from .program import Program

Tensors = dict[str, NDArray[Any]]
_Packing = Literal["none", "bits", "trits", "nibbles", "bytes"]
_PACKINGS: dict[_Packing, int] = {"bits": 1, "trits": 2, "nibbles": 4, "bytes": 8}
_PACKING_OF: dict[int, _Packing] = {bits: name for name, bits in _PACKINGS.items()} | {0: "none"}
_BESIDE_THE_OP = {"weight": None, "weight_bits": 0}
_POOLS = {kind.__struct_config__.tag for kind in get_args(Op) if not issubclass(kind, WeightedOp)}


def version_of(program: Program) -> str:
    """The lowest version of the format that has what the program has."""
    kinds = (population.dynamics.facts.format_version for population in program.populations)
    newer = program.remembered or any(population.initial_state for population in program.populations)
    return "2" if newer else str(max(kinds, default=1))


class _ArrayReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stands in the JSON where an array stands in the Program."""

    tensor: str
    shape: tuple[int, ...]
    packing: _Packing = "none"


def encode(program: Program) -> tuple[bytes, Tensors]:
    """The JSON and the tensors of a Program, in its `version_of`."""
    references: dict[int, _ArrayReference] = {}
    tensors: Tensors = {}
    for name, array, weight_bits in _arrays(program):
        if id(array) in references:
            continue
        tensors[name] = pack(array, weight_bits) if weight_bits else array
        references[id(array)] = _ArrayReference(name, array.shape, _PACKING_OF[weight_bits])

    def plain(value: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else references[id(value)]

    document = msgspec.to_builtins(program, enc_hook=plain)
    for node in document["nodes"]:
        if node["type"] == "synapse":
            node |= {field: node["op"].pop(field, absent) for field, absent in _BESIDE_THE_OP.items()}
            if not node["delay"]:
                del node["delay"]
        elif version_of(program) == "1":
            del node["initial_state"]
    return msgspec.json.encode(document), tensors


def decode(document: bytes, tensors: Tensors, kind: type[Program], version: str) -> Program:
    """The Program (`kind`) of a JSON of a version, and its tensors.

    Raises:
        ProgramError, msgspec.MsgspecError, RecursionError: they describe none.
    """
    fields = strict_json(document)
    listed = fields.get("nodes")
    nodes = [node for node in (listed if isinstance(listed, list) else ()) if isinstance(node, dict)]
    for node in nodes if version == "1" else ():
        if newer := {"initial_state", "delay"} & set(node):
            raise ProgramError(f"'{node.get('name')}': its {newer.pop()} is of version 2, the file of 1")
    synapses = [node for node in nodes if node.get("type") == "synapse" and isinstance(node.get("op"), dict)]
    for node in synapses:
        _move_into_op(node, node["op"])
    _check_packings(fields, synapses)
    used: set[str] = set()

    def array(_kind: type, value: Any) -> NDArray[Any]:
        reference = msgspec.convert(value, _ArrayReference)
        used.add(reference.tensor)
        return _array(reference, tensors)

    program = msgspec.convert(fields, kind, dec_hook=array)
    if unused := sorted(set(tensors) - used):
        raise ProgramError(f"nothing refers to its tensor '{unused[0]}'")
    if version_of(program) > version:
        raise ProgramError(f"it has what version {version_of(program)} of the format has, and says version {version}")
    return program


def strict_json(text: bytes) -> dict[str, Any]:
    """A JSON object in which no key stands twice.

    Raises:
        ProgramError: it is none; msgspec.DecodeError, RecursionError: it is no JSON.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise ProgramError(f"the key '{max(names, key=names.count)}' stands twice in one object")
        return dict(pairs)

    value = msgspec.json.decode(text)  # strict where Python's reader is not: no NaN, no Infinity
    if not isinstance(value, dict):
        raise ProgramError("its JSON is no object")
    json.loads(text, object_pairs_hook=once)
    return value


def digest_of(document: bytes, tensors: Tensors) -> str:
    """sha256 of the JSON, then of each tensor by name: "name dtype shape" as a line of text, then its bytes."""
    state = hashlib.sha256(document)
    for name in sorted(tensors):
        array = tensors[name]
        shape = "x".join(str(extent) for extent in array.shape)
        state.update(f"\n{name} {array.dtype.name} {shape}\n".encode())
        state.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return state.hexdigest()


def _move_into_op(node: dict[str, Any], op: dict[str, Any]) -> None:
    for field, absent in _BESIDE_THE_OP.items():
        if field in op:
            raise ProgramError(f"synapse '{node.get('name')}': its {field} stands in its op, not beside it")
        value = node.pop(field, absent)
        if op.get("type") not in _POOLS:
            op[field] = value
        elif value != absent:
            raise ProgramError(f"synapse '{node.get('name')}': a pool has no weights")


def _references(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict) and "tensor" in value:
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _references(inner)


def _check_packings(fields: dict[str, Any], synapses: list[dict[str, Any]]) -> None:
    """Weights have the packing of their bits, or none, and nothing else is packed: one way to store each array."""
    weights = {id(node["op"].get("weight")): node for node in synapses}
    for reference in _references(fields):
        packing, node = reference.get("packing", "none"), weights.get(id(reference))
        if node is None and packing != "none":
            raise ProgramError(f"tensor '{reference['tensor']}': it is packed, and no weight of a synapse")
        bits = None if node is None else node["op"].get("weight_bits")
        if packing not in (_PACKING_OF.get(bits) if isinstance(bits, int) else None, "none"):
            raise ProgramError(f"tensor '{reference['tensor']}': {bits}-bit weights are not packed as {packing}")


def _array(reference: _ArrayReference, tensors: Tensors) -> NDArray[Any]:
    if reference.tensor not in tensors:
        raise ProgramError(f"tensor '{reference.tensor}' is missing")
    stored, count = tensors[reference.tensor], prod(reference.shape)
    if min(reference.shape, default=1) < 1 or count > MAX_ELEMENTS:
        raise ProgramError(f"tensor '{reference.tensor}': impossible shape {reference.shape}")
    if reference.packing == "none":
        if stored.shape != reference.shape or stored.dtype.kind not in "iu":
            raise ProgramError(
                f"tensor '{reference.tensor}': {stored.dtype} {stored.shape}, wanted integers {reference.shape}"
            )
        return stored
    if stored.ndim != 1 or stored.dtype != np.uint8:
        raise ProgramError(f"tensor '{reference.tensor}': packed weights are flat uint8, not {stored.dtype}")
    try:
        return unpack(stored, count, _PACKINGS[reference.packing]).reshape(reference.shape)
    except ProgramError as error:
        raise ProgramError(f"tensor '{reference.tensor}': {error}") from None


def _arrays(program: Program) -> Iterator[tuple[str, NDArray[Any], int]]:
    """Every array with its tensor name and, where it is packed, its weight bits (else 0).

    A node's name has no colon, so a node 'a.gate' and the gate of a node 'a' never share a tensor name.
    """
    for node in program.nodes:
        if isinstance(node, Synapse):
            if isinstance(node.op, WeightedOp):
                yield f"{node.name}:weight", node.op.weight, node.op.weight_bits
            continue
        for index, port in enumerate(node.ports):
            yield f"{node.name}:ports.{index}.multiplier", port.multiplier, 0
        yield f"{node.name}:bias", node.bias, 0
        if node.gate is not None:
            yield f"{node.name}:gate.bias", node.gate.bias, 0
        for field, _, value in fields_of(node.dynamics):
            if isinstance(value, np.ndarray):
                yield f"{node.name}:dynamics.{field}", value, 0
        for state, value in node.initial().items():
            yield f"{node.name}:initial_state.{state}", value, 0
    yield "readout:bias", program.readout.bias, 0
