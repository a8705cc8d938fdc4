"""What a Lava bundle holds: latencies, delay lines, matrices, files. Nothing here starts Lava."""

import re
from pathlib import Path

import numpy as np
import pytest

from hmdf.export.lava import export_bundle, wiring
from hmdf.export.lava.matrices import banded, sparse_convolution
from hmdf.sim.contract import (
    INPUT,
    ChannelConv,
    Conv2d,
    Gate,
    Linear,
    LookupTable,
    Message,
    Population,
    Port,
    Relay,
    SumPool,
    Synapse,
)
from hmdf.sim.errors import ProgramError
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from programs import random_program

IMAGE = (2, 4, 5)


def relay(name: str, shape: tuple[int, ...], *sources: str, gate: Gate | None = None, bits: int = 8) -> Population:
    ports = tuple(Port(source, np.ones((1, 1), np.int16), 0) for source in sources)
    return Population(name, shape, ports, np.zeros((1, 1), np.int32), Relay(), Message(bits, True, 1.0), gate)


def program(*nodes: Synapse | Population, last: str, features: int, accumulator_bits: int = 24) -> Program:
    head = Synapse("head", last, Linear(np.ones((3, features), np.int8), 2))
    return Program(
        time_steps=2,
        state_bits=24,
        accumulator_bits=accumulator_bits,
        input=Input(IMAGE, Message(8, True, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,))),
        nodes=(*nodes, head),
        readout=Readout("head", np.zeros(3, np.int64), 1.0),
    )


def convolution(name: str, source: str) -> Synapse:
    return Synapse(name, source, Conv2d(np.ones((2, 2, 3, 3), np.int8), 2, padding=(1, 1)))


def test_delay_lines_make_unequal_paths_equal() -> None:
    table = LookupTable(np.zeros(256, np.int64), 0)
    sigmoid = Population(
        "sigmoid",
        (2, 1, 1),
        (Port("band", np.ones((1, 1), np.int16), 0),),
        np.zeros((1, 1), np.int32),
        table,
        Message(8, False, 1.0),
    )
    gated = program(
        convolution("one", INPUT),
        relay("a", IMAGE, "one"),
        Synapse("pool", "a", SumPool(IMAGE[1:], IMAGE[1:])),
        relay("pooled", (2, 1, 1), "pool", bits=16),
        Synapse("band", "pooled", ChannelConv(np.ones(3, np.int8), 2, 1)),
        sigmoid,
        convolution("two", "a"),
        relay("b", IMAGE, "two", "a", "one", INPUT, gate=Gate("sigmoid", 4, np.zeros((1, 1), np.int32))),
        last="b",
        features=40,
    )
    wired = wiring.wire(gated)
    delays = {e["name"]: (e["source"], e["steps"]) for e in wired.processes if e["kind"] == "delay"}
    assert delays == {"two+1": ("two", 1), "a+2": ("a", 2), "one+2": ("one", 2), "input+3": (INPUT, 3)}
    assert wired.latency["sigmoid"] == wired.latency["b"] == 3
    assert wired.latency["readout"] == 4


def test_a_delay_line_is_shared() -> None:
    nodes = (convolution("one", INPUT), relay("a", IMAGE, "one", INPUT), relay("b", IMAGE, "one", INPUT))
    wired = wiring.wire(program(*nodes, last="b", features=40))
    assert [e["name"] for e in wired.processes if e["kind"] == "delay"] == ["input+1"]


def test_an_accumulator_beyond_lava_is_refused() -> None:
    wide = Synapse("s", "a", Linear(np.full((3, 40), 127, np.int8), 8))
    exceeding = (relay("a", IMAGE, *[INPUT] * 20, bits=16), wide, relay("b", (3,), "s"))
    with pytest.raises(ProgramError, match=r"synapse 's': its accumulator may reach -13004800\.\.12903200"):
        wiring.wire(program(*exceeding, last="b", features=3, accumulator_bits=32))
    staying = (relay("a", IMAGE, *[INPUT] * 10, bits=16), wide, relay("b", (3,), "s"))
    assert wiring.wire(program(*staying, last="b", features=3, accumulator_bits=32)).latency["readout"] == 2


def test_too_many_ports_are_refused() -> None:
    crowded = program(relay("a", IMAGE, *[INPUT] * 33), last="a", features=40)
    with pytest.raises(ProgramError, match="population 'a': 33 ports, a Lava process has at most 32"):
        wiring.wire(crowded)
    source = Path(wiring.__file__).parent / "template/hmdf_lava/processes/population.py"
    assert re.search(r"^MAX_PORTS = (\d+)$", source.read_text(), re.MULTILINE).group(1) == str(wiring.MAX_PORTS)


@pytest.mark.parametrize("seed", range(20))
def test_sparse_convolution_is_the_convolution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    source = (groups * int(rng.integers(1, 3)), *(int(n) for n in rng.integers(5, 9, 2)))
    kernel = rng.integers(1, 4, 2)
    weight = rng.integers(-128, 128, (groups * 2, source[0] // groups, *kernel)).astype(np.int8)
    stride, padding, dilation = (tuple(int(v) for v in rng.integers(low, 3, 2)) for low in (1, 0, 1))
    op = Conv2d(weight, 8, stride, padding, dilation, groups)
    messages = rng.integers(-100, 100, (1, *source))
    matrix = sparse_convolution(op, source)
    dense = np.zeros(matrix.shape, np.int64)
    for row, (start, stop) in enumerate(zip(matrix.indptr, matrix.indptr[1:], strict=False)):
        dense[row, matrix.indices[start:stop]] = matrix.data[start:stop]
    np.testing.assert_array_equal(dense @ messages.reshape(-1), op.accumulate(messages).reshape(-1))


@pytest.mark.parametrize(("channels", "padding"), [(1, 0), (1, 2), (3, 2), (8, 1), (8, 2)])
def test_banded_matrix_is_the_channel_convolution(channels: int, padding: int) -> None:
    rng = np.random.default_rng(channels)
    weight = rng.integers(-128, 128, 2 * padding + 1).astype(np.int8)
    messages = rng.integers(-100, 100, (1, channels))
    wanted = ChannelConv(weight, 8, padding).accumulate(messages)
    np.testing.assert_array_equal(banded(weight, padding, channels) @ messages[0], wanted[0])


def test_a_bundle_replaces_a_bundle_and_nothing_else(tmp_path: Path) -> None:
    folder = export_bundle(random_program(0), tmp_path / "deep" / "lava")
    (folder / "stray").touch()
    export_bundle(random_program(1), folder)
    assert random_program(1).sha256 in (folder / "graph.json").read_text()
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "arrays.npz", "graph.json", "hmdf_lava", "run.py"]
    assert [p.name for p in folder.parent.iterdir()] == ["lava"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ProgramError, match="mine: exists and is not a Lava bundle"):
        export_bundle(random_program(0), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    export_bundle(random_program(0), tmp_path / "lava")
    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        export_bundle(random_program(1), tmp_path / "lava")
    assert random_program(0).sha256 in (tmp_path / "lava" / "graph.json").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["lava"]


def test_bundle_holds_no_pickle_and_no_hmdf(tmp_path: Path) -> None:
    folder = export_bundle(random_program(3), tmp_path / "lava")
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind == "i" for name in arrays.files)
    for source in folder.rglob("*.py"):
        assert not re.search(r"^\s*(from|import) hmdf\b(?!_)", source.read_text(), re.MULTILINE), source
    readme = (folder / "README.md").read_text()
    assert "lava-nc==0.10.0" in readme
    assert "$" not in readme
