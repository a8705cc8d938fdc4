"""Golden vectors hold the reference's integers, and the neuron in Verilog reproduces a thousand of them."""

import hashlib
import shutil
import subprocess

import msgspec
import numpy as np
import pytest

from hmdf.export.vectors import Manifest, export_vectors, suits_testbench
from hmdf.sim import reference
from hmdf.sim.contract import Conv2d, HybridFiring, Linear, Message, Population, Port, Synapse
from hmdf.sim.errors import InputError, ProgramError
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from programs import random_messages, random_program, recurrent_program

MANY = 1000


def manifest_of(folder):
    return msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)


def read_binary(folder, vectors):
    return np.fromfile(folder / f"{vectors.name}.bin", vectors.dtype).reshape(vectors.shape)


def read_hex(folder, vectors):
    lines = [line for line in (folder / f"{vectors.name}.hex").read_text().split("\n") if not line.startswith("//")]
    values = np.array([int(line, 16) for line in lines if line], np.uint64)
    if vectors.signed and vectors.bits < 64:
        values = values.astype(np.int64)
        values = np.where(values >= 1 << (vectors.bits - 1), values - (1 << vectors.bits), values)
    return values.astype(np.int64).reshape(vectors.shape)


@pytest.mark.parametrize(("made", "seed"), [(random_program, 0), (random_program, 3), (recurrent_program, 5)])
def test_both_forms_hold_what_the_reference_gives(tmp_path, made, seed):
    program = made(seed)
    messages = random_messages(program, 2, seed)
    folder = export_vectors(program, messages, tmp_path / "vectors")
    manifest, taps = manifest_of(folder), reference.run(program, messages)
    assert (manifest.program_sha256, manifest.samples) == (program.sha256, 2)
    found = {}
    for vectors in manifest.arrays:
        array = read_binary(folder, vectors)
        np.testing.assert_array_equal(read_hex(folder, vectors), array, vectors.name)
        assert hashlib.sha256((folder / f"{vectors.name}.bin").read_bytes()).hexdigest() == vectors.sha256
        found[vectors.node, vectors.kind, vectors.what] = array
    np.testing.assert_array_equal(found["readout", "logits", ""], taps.logits)
    for population in program.populations:
        np.testing.assert_array_equal(found[population.name, "message", ""], taps.messages[population.name])
        np.testing.assert_array_equal(found[population.name, "parameter", "bias"], population.bias)
        for state in population.dynamics.facts.states:
            assert found[population.name, "state", state].shape == (2, program.time_steps, *population.shape)
    for synapse in program.synapses:
        assert found[synapse.name, "accumulator", ""].shape == (2, program.time_steps, *program.shapes[synapse.name])


def spiking_program(state_bits=24, shift=3):
    """8 channels of HM-DF neurons at 16 positions, three steps, parameters by step and channel; it saturates."""
    rng = np.random.default_rng(state_bits)
    conv = Conv2d(rng.integers(-1, 2, (8, 2, 3, 3)).astype(np.int8), 2, (1, 1), (1, 1))
    neuron = HybridFiring(
        rng.integers(-4096, 4096, (3, 8)), 12, rng.integers(-500, 1500, (1, 8)) * (1 << max(0, state_bits - 18)), 5
    )
    multiplier = rng.integers(-(1 << 15), 1 << 15, (3, 8))
    nodes = (
        Synapse("conv", "input", conv),
        Population(
            "spikes",
            (8, 4, 4),
            (Port("conv", multiplier, shift),),
            rng.integers(-999, 999, (3, 1)),
            neuron,
            Message(4, False, 0.25),
        ),
        Synapse("head", "spikes", Linear(rng.integers(-1, 2, (3, 128)).astype(np.int8), 2)),
    )
    given = Input((2, 4, 4), Message(8, True, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,)))
    return Program(3, state_bits, 24, given, nodes, Readout("head", np.zeros(3, np.int64), 1.0))


def run_testbench(folder, simulator):
    if shutil.which(simulator) is None:
        pytest.skip(f"{simulator} is not installed")
    files = ["testbench.sv", "hybrid_firing.v"]
    if simulator == "iverilog":
        commands = [["iverilog", "-g2012", "-Wall", "-o", "testbench", *files], ["vvp", "-n", "testbench"]]
    else:
        commands = [["verilator", "--binary", "--timing", "-Wno-fatal", *files], ["obj_dir/Vtestbench"]]
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("state_bits", "shift"), [(24, 3), (16, 0), (32, 0)])
def test_the_neuron_in_verilog_agrees_with_a_thousand_vectors(tmp_path, state_bits, shift):
    program = spiking_program(state_bits, shift)
    messages = random_messages(program, 4, 0)
    saturations = reference.run(program, messages).saturations["spikes"]
    assert saturations[1] > 0
    assert saturations[0] > 0 or state_bits > 16
    folder = export_vectors(program, messages, tmp_path / "vectors")
    said = run_testbench(folder, "iverilog")
    assert f"{4 * 3 * 128} vectors, 0 different" in said
    assert MANY < 4 * 3 * 128


def test_a_planted_fault_in_the_verilog_is_found(tmp_path):
    folder = export_vectors(spiking_program(), random_messages(spiking_program(), 1, 0), tmp_path / "vectors")
    text = (folder / "hybrid_firing.v").read_text()
    (folder / "hybrid_firing.v").write_text(text.replace("quotient + half", "quotient"))
    said = run_testbench(folder, "iverilog")
    assert "expected" in said
    assert ", 0 different" not in said


def test_programs_without_such_a_population_get_vectors_alone(tmp_path):
    for seed in range(40):
        program = random_program(seed)
        if not any(suits_testbench(program, p) for p in program.populations):
            break
    folder = export_vectors(program, random_messages(program, 1, 0), tmp_path / "vectors")
    assert manifest_of(folder).testbench == ""
    assert not (folder / "testbench.sv").exists()


def test_bad_input_is_refused_and_other_folders_left_alone(tmp_path):
    program = random_program(0)
    with pytest.raises(InputError):
        export_vectors(program, np.zeros((1, 2, 3), np.int64), tmp_path / "vectors")
    (tmp_path / "note").write_text("mine")
    with pytest.raises(ProgramError, match="holds no vectors"):
        export_vectors(program, random_messages(program, 1, 0), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["note"]
