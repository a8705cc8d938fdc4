"""NIR files on the command line: compiled, or refused with one message."""

import json

import numpy as np
import pytest

import hmdf
from hmdf.sim.listing import listing

nir = pytest.importorskip("nir", reason="NIR is not installed: pip install 'hmdf[nir]'")
h5py = pytest.importorskip("h5py")


def network(weight=1.0, tau=5e-3):
    rng = np.random.default_rng(0)
    lif = nir.LIF(*(np.full(10, value) for value in (tau, 1.0, 0.0, 0.25, 0.0)))
    nodes = [nir.Input(np.array([64])), nir.Linear(weight * rng.normal(size=(10, 64))), lif, nir.Output(np.array([10]))]
    names = ["input", "0", "1", "output"]
    edges = [("input", "0"), ("0", "1"), ("1", "output")]
    return nir.NIRGraph(dict(zip(names, nodes, strict=True)), edges, type_check=False)


OPTIONS = ("--calibration", "digits", "--samples", "8", "--time-step", "1e-3", "--time-steps", "4")


def test_a_file_is_compiled(call, tmp_path):
    nir.write(tmp_path / "model.nir", network())
    outcome = call("compile", tmp_path / "model.nir", *OPTIONS, "--emit", "hmdf", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "note: graph: read as steps of 0.001, forward Euler; a spike resets the membrane to v_reset" in outcome.out
    assert (tmp_path / "out" / "model.hmdf").exists()


def test_a_file_is_compared_with_its_program(call, tmp_path):
    """The float run of the graph, layer by layer; and the same program from the graph that is written."""
    nir.write(tmp_path / "model.nir", network())
    options = (*OPTIONS, "--reset", "subtract", "--emit", "hmdf,nir", "--out", tmp_path / "out")
    assert call("compile", tmp_path / "model.nir", *options).code == 0
    program = tmp_path / "out" / "model.hmdf"
    outcome = call("sim", program, "--data", "digits", "--samples", "100", "--against", tmp_path / "model.nir",
                   "--json", tmp_path / "out.json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["accuracy"]["agreement"] >= 0.95
    assert {row["population"] for row in report["fidelity"]} == {"lif_1"}
    again = ("--calibration", "digits", "--samples", "8", "--time-steps", "4", "--dialect", "hmdf", "--emit", "hmdf")
    outcome = call("compile", tmp_path / "out" / "model.nir", *again, "--out", tmp_path / "again")
    assert outcome.code == 0, outcome.err
    first, second = (hmdf.load(folder / "model.hmdf") for folder in (tmp_path / "out", tmp_path / "again"))
    assert listing(first) == listing(second)


def text(path):
    path.write_text("no HDF5 at all")


def hdf5_without_a_graph(path):
    with h5py.File(path, "w") as file:
        file["something"] = 1


def node_without_a_parameter(path):
    nir.write(path, network())
    with h5py.File(path, "a") as file:
        del file["node/nodes/1/tau"]


def huge_array(path):
    nir.write(path, network())
    with h5py.File(path, "a") as file:
        del file["node/nodes/0/weight"]
        file.create_dataset("node/nodes/0/weight", shape=(1 << 20, 1 << 20), dtype="f8", chunks=(1, 1 << 10))


def link_to_another_file(path):
    nir.write(path, network())
    with h5py.File(path, "a") as file:
        del file["node/nodes/0/weight"]
        file["node/nodes/0/weight"] = h5py.ExternalLink("/etc/passwd", "/x")


def circle_of_groups(path):
    nir.write(path, network())
    with h5py.File(path, "a") as file:
        file["node/nodes/0/again"] = file["node"]


def truncated(path):
    nir.write(path, network())
    path.write_bytes(path.read_bytes()[:3000])


def infinite_tau(path):
    nir.write(path, network(tau=np.inf))


def weight_of_1e30(path):
    nir.write(path, network(weight=1e30))


def cycle_without_delay(path):
    graph = network()
    graph.nodes |= {"2": nir.Scale(np.ones(10)), "3": nir.Scale(np.ones(10))}
    graph.edges += [("0", "2"), ("2", "3"), ("3", "2"), ("2", "1")]
    nir.write(path, graph)


def no_output(path):
    graph = network()
    del graph.nodes["output"]
    graph.edges.pop()
    nir.write(path, graph)


BAD = {
    text: "is no HDF5 file, so no NIR file",
    hdf5_without_a_graph: "is no NIR graph",
    node_without_a_parameter: "is no NIR graph: ",
    huge_array: "has over 4 GiB of arrays",
    link_to_another_file: "is a link",
    circle_of_groups: "has too many groups",
    truncated: "model.nir: ",
    infinite_tau: "1: its tau has the value inf",
    weight_of_1e30: "0: its largest weight or bias is ",
    cycle_without_delay: "is in a cycle: ",
    no_output: "graph: has no Output node",
}


@pytest.mark.parametrize("write", BAD, ids=lambda write: write.__name__)
def test_a_bad_file_is_one_error(call, tmp_path, write):
    write(tmp_path / "model.nir")
    outcome = call("compile", tmp_path / "model.nir", *OPTIONS, "--check")
    assert outcome.code == 3
    assert BAD[write] in outcome.err
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err


def test_a_file_that_the_hdf5_library_does_not_come_back_from(call, tmp_path, monkeypatch):
    nir.write(tmp_path / "model.nir", network())
    monkeypatch.setattr("hmdf.export.nir.read.PATIENCE", 0.0)
    outcome = call("compile", tmp_path / "model.nir", *OPTIONS, "--check")
    assert outcome.code == 3
    assert "model.nir: damaged: after 0 s the HDF5 library is not done with it" in outcome.err


def test_options_of_nir_files(call, demo, tmp_path):
    outcome = call("compile", demo.model, "--time-step", "1e-3", "--check")
    assert (outcome.code, "--time-step is for NIR files only" in outcome.err) == (2, True)
    nir.write(tmp_path / "model.nir", network())
    outcome = call("compile", tmp_path / "model.nir", "--calibration", "digits", "--check")
    assert outcome.code == 3
    assert "give a positive time step" in outcome.err
    outcome = call("compile", tmp_path / "absent.nir", *OPTIONS, "--check")
    assert (outcome.code, outcome.err) == (3, f"error: {tmp_path / 'absent.nir'}: no such file\n")
