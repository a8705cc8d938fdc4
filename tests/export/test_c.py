"""The C is the program: no warning, no complaint of the sanitizers, and every message the same."""

import re
import shutil
import subprocess
from typing import get_args

import numpy as np
import pytest

from hmdf.export.c import CompiledC, accumulate, export_c
from hmdf.export.c.arena import Buffer, plan
from hmdf.export.c.executor import CompilerError, build, execute
from hmdf.export.c.source import write_source
from hmdf.export.c.values import Value, constant
from hmdf.sim import reference
from hmdf.sim.contract import Conv2d, Dynamics, Linear, Message, Op, Population, Port, Relay, Synapse
from hmdf.sim.contract.intervals import Interval
from hmdf.sim.errors import ProgramError
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.verify import compare
from programs import random_messages, random_program, recurrent_program

STRICT = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
SANITIZED = (*STRICT, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SEEDS = range(8)
"""Random programs; thousands more are run by benchmarks/soak.py --executor c."""


def compiler(name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def by_events(monkeypatch):
    """Adding up by events however narrow a layer is, in lists that are soon full."""
    monkeypatch.setattr(accumulate, "PADDING", 1000)
    monkeypatch.setattr(accumulate, "LIST_ROOM", 8)


def assert_exact(program, messages, executor):
    found = compare(program, messages, [executor])[0]
    assert found.bit_exact, str(found.first_mismatch)
    assert found.populations == len(program.populations)


def kinds_of(program):
    """What a program has of what the C treats by cases."""
    for node in program.nodes:
        yield type(node.op if isinstance(node, Synapse) else node.dynamics).__name__
        if isinstance(node, Synapse):
            yield f"{getattr(node.op, 'weight_bits', 0)}-bit weights"
            continue
        if node.gate is not None:
            yield "gate"
        yield from (f"initial {state}" for state in node.initial())


@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs_are_bit_exact_under_sanitizers(seed):
    program = random_program(seed)
    assert_exact(program, random_messages(program, 4, seed), CompiledC(compiler("gcc"), SANITIZED))


@pytest.mark.parametrize("seed", [5, 17])
def test_recurrent_programs_are_bit_exact_under_sanitizers(seed):
    program = recurrent_program(seed)
    assert program.remembered
    assert_exact(program, random_messages(program, 4, seed), CompiledC(compiler("gcc"), SANITIZED))


def test_the_random_programs_have_every_kind():
    kinds = {kind for seed in SEEDS for kind in kinds_of(random_program(seed))}
    nodes = {kind.__name__ for kind in get_args(Op) + get_args(Dynamics)}
    assert kinds >= nodes | {"gate", "initial d", "initial v"} | {f"{bits}-bit weights" for bits in (1, 2, 4, 8)}


@pytest.mark.parametrize("options", ["-DMODEL_VECTORS=0", "-DMODEL_VECTORS=4", "-march=native"])
@pytest.mark.parametrize("seed", [1, 3, 8])
def test_sums_by_events_are_bit_exact(seed, options, by_events):
    """In words, in vectors that compilers make, and with what this machine has."""
    program = random_program(seed)
    assert "_events_" in write_source(program).files["model.c"]
    executor = CompiledC(compiler("gcc"), (*SANITIZED, options))
    assert_exact(program, random_messages(program, 4, seed), executor)


def test_clang_agrees(by_events):
    program = random_program(3)
    for options in ((), ("-march=native",)):
        assert_exact(program, random_messages(program, 4, 3), CompiledC(compiler("clang"), (*SANITIZED, *options)))


def wide_program(message_bits, signed, weight_bits, seed=0):
    """A convolution to 24 channels and a linear layer, of messages of any width."""
    rng = np.random.default_rng(seed)

    def weights(*shape):
        low, high = {1: (-1, 1), 2: (-1, 1), 8: (-20, 20)}[weight_bits]
        drawn = rng.integers(low, high + 1, shape).astype(np.int8)
        return np.where(drawn == 0, 1, drawn).astype(np.int8) if weight_bits == 1 else drawn

    message, one = Message(message_bits, signed, 1.0), np.ones((1, 1), np.int32)
    nodes = (
        Synapse("conv", "input", Conv2d(weights(24, 5, 3, 3), weight_bits, (2, 1), (1, 1))),
        Population("spikes", (24, 3, 6), (Port("conv", one, 3),), 0 * one, Relay(), Message(8, False, 1.0)),
        Synapse("head", "spikes", Linear(weights(16, 24 * 3 * 6), weight_bits)),
    )
    given = Input((5, 6, 6), message, "frames", Preprocessing(1.0, (0.0,), (1.0,)))
    return Program(2, 24, 24, given, nodes, Readout("head", np.arange(16), 1.0))


@pytest.mark.parametrize(
    ("bits", "signed", "weight_bits", "events"), [(4, False, 2, 2), (8, False, 2, 2), (8, False, 1, 1), (8, True, 2, 1)]
)
def test_wide_layers_go_by_events_where_messages_are_small(bits, signed, weight_bits, events):
    """1-bit rows of 32 outputs; messages above 15 become several events; a signed input is added weight by weight."""
    program = wide_program(bits, signed, weight_bits)
    layers = write_source(program).files["model.c"].split("model_reset(")[0]
    assert layers.count("    conv2d_events_") + layers.count("    linear_events_") >= events
    for options in ("-DMODEL_VECTORS=0", "-DMODEL_VECTORS=16", "-march=native"):
        executor = CompiledC(compiler("gcc"), (*SANITIZED, options))
        assert_exact(program, random_messages(program, 4, bits), executor)


def test_rows_of_16_bit_messages_are_bit_exact_in_vectors():
    """The largest magnitudes, odd numbers of inputs, ternary and 4-bit weights to 64 outputs."""
    rng = np.random.default_rng(0)
    one = np.ones((1, 1), np.int32)
    nodes = (
        Synapse("two", "input", Linear(rng.integers(-1, 2, (64, 7)).astype(np.int8), 2)),
        Synapse("four", "input", Linear(rng.integers(-8, 8, (64, 7)).astype(np.int8), 4)),
        Population("p", (64,), (Port("two", one, 2), Port("four", one, 5)), 0 * one, Relay(), Message(16, True, 1.0)),
        Synapse("head", "p", Linear(rng.integers(-1, 2, (64, 64)).astype(np.int8), 2)),
    )
    given = Input((7,), Message(16, True, 1.0), "frames", Preprocessing(1.0, (0.0,), (1.0,)))
    program = Program(1, 32, 32, given, nodes, Readout("head", np.zeros(64, np.int64), 1.0))
    messages = rng.choice([-(1 << 15), (1 << 15) - 1, 0, 77], (40, 1, 7))
    assert "_rows_i16_4" in write_source(program).files["model.c"]
    assert_exact(program, messages, CompiledC(compiler("gcc"), (*SANITIZED, "-march=native")))


# ------------------------------------------------------------------------------------ the folder


def test_the_folder_builds_and_its_test_vector_passes(tmp_path):
    program = random_program(2)
    folder = export_c(program, tmp_path / "c")
    names = ["CMakeLists.txt", "Makefile", "main.c", "model.c", "model.h", "test_vector.h", "weights.c", "weights.h"]
    assert sorted(p.name for p in folder.iterdir()) == names
    compiler("make")
    said = execute(["make", "-C", str(folder), f"CC={compiler('gcc')}", "CFLAGS=-O1", "test"], 60)
    assert "test vector: the same" in said
    assert f"arena {write_source(program).arena.size} bytes" in said


def test_cmake_builds_the_library_and_the_command(tmp_path):
    compiler("cmake")
    source, built = export_c(random_program(2), tmp_path / "c"), tmp_path / "built"
    flags = f"-DCMAKE_C_COMPILER={compiler('gcc')}", "-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Werror"
    execute(["cmake", "-S", str(source), "-B", str(built), *flags], 60)
    execute(["cmake", "--build", str(built)], 60)
    assert (built / "libhmdf_model.a").exists()
    assert "100% tests passed" in execute(["ctest", "--test-dir", str(built)], 60)


def test_a_wrong_weight_fails_the_test_vector(tmp_path):
    program = wide_program(4, False, 2)
    folder = export_c(program, tmp_path / "c", np.full((2, 5, 6, 6), 15))
    text = (folder / "weights.c").read_text()
    start = re.search(r"conv_weights\[\d+\] = {\n +", text)
    assert start is not None
    (folder / "weights.c").write_text(text[: start.end()] + "0," + text[start.end() :].split(",", 1)[1])
    model = build(folder, compiler("gcc"), STRICT)
    done = subprocess.run([str(model)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "test vector: DIFFERENT" in done.stdout


def test_an_arena_that_is_too_small_does_not_compile(tmp_path):
    folder = export_c(random_program(2), tmp_path / "c")
    text = (folder / "model.h").read_text()
    size = write_source(random_program(2)).arena.size
    (folder / "model.h").write_text(text.replace(f"MODEL_ARENA_BYTES {size}", f"MODEL_ARENA_BYTES {size - 4}"))
    with pytest.raises(CompilerError, match="model_arena_is_as_planned"):
        build(folder, compiler("gcc"), STRICT)


def test_steps_may_be_run_one_by_one_and_two_models_at_a_time(tmp_path):
    """Two samples, step by step in turn, in two states; the program runs in one after a reset, too."""
    program = wide_program(4, False, 2)
    messages = random_messages(program, 2, 5)
    folder = export_c(program, tmp_path / "c")
    (folder / "inputs").write_bytes(np.moveaxis(messages, 2, -1).astype(np.uint8).tobytes())
    (folder / "main.c").write_text(
        """
        #include "model.h"
        #include <stdio.h>
        static model_state states[2];
        static model_input inputs[2][2 * MODEL_INPUT_SIZE];
        int main(int argc, char **argv)
        {
            FILE *file = fopen(argv[argc - 1], "rb");
            if (file == NULL || fread(inputs, sizeof inputs, 1, file) != 1)
                return 1;
            for (int again = 0; again < 2; ++again) {
                model_reset(&states[0]), model_reset(&states[1]);
                for (int t = 0; t < 2; ++t)
                    for (int i = 0; i < 2; ++i)
                        if (model_step(&states[i], inputs[i] + t * MODEL_INPUT_SIZE) != 1 - t)
                            return 2;
                if (model_step(&states[0], inputs[0]) != -1)
                    return 3;
            }
            for (int i = 0; i < 2; ++i)
                for (int k = 0; k < MODEL_CLASSES; ++k)
                    printf("%ld ", (long)states[i].logits[k]);
            return 0;
        }
        """
    )
    said = execute([str(build(folder, compiler("gcc"), SANITIZED)), str(folder / "inputs")], 60)
    assert [int(n) for n in said.split()] == reference.run(program, messages).logits.reshape(-1).tolist()


def test_the_code_is_what_it_promises():
    """No allocation, no floating point, nothing but three standard headers; an engineer can read shapes and widths."""
    files = write_source(wide_program(4, False, 2)).files
    text = files["model.h"] + files["model.c"] + files["weights.h"] + files["weights.c"]
    for word in ("malloc", "float ", "double ", "static model_state", "goto"):
        assert word not in text
    headers = {line for line in text.splitlines() if line.startswith("#include <")}
    helium = "#include <arm_mve.h>"  # the compiler's own, on a Cortex-M55
    vnni = "#include <immintrin.h>"  # the same, on x86
    assert headers == {"#include <stdint.h>", "#include <stddef.h>", "#include <string.h>", helium, vnni}
    assert files["model.c"].count(f"#if defined(__ARM_FEATURE_MVE) && !defined(__ARM_BIG_ENDIAN)\n{helium}") == 1
    assert files["model.c"].count(f"#if MODEL_VNNI\n{vnni}") == 1
    for part in ("spikes: relay, (24, 3, 6), sends 8 bits, unsigned.", "acc[o, y, x] = sum over", "bits): int32_t"):
        assert part in files["model.c"]
    assert files == write_source(wide_program(4, False, 2)).files


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("mine")
    with pytest.raises(ProgramError, match=r"holds no model\.c"):
        export_c(random_program(2), tmp_path / "c")
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_without_a_compiler_there_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    program = random_program(0)
    with pytest.raises(CompilerError, match=r"there is no C compiler .*install one, such as gcc, or set CC"):
        CompiledC().run(program, random_messages(program, 1, 0))


# --------------------------------------------------------------------------------------- parts


def test_buffers_share_memory_only_at_different_times():
    rng = np.random.default_rng(0)
    for _ in range(50):
        firsts = rng.integers(0, 6, 12)
        buffers = [
            Buffer(f"b{i}", "i16", int(rng.integers(1, 40)), int(first), int(first + rng.integers(0, 4)), "")
            for i, first in enumerate(firsts)
        ]
        arena = plan(buffers)
        for i, a in enumerate(buffers):
            for b in buffers[:i]:
                apart = arena.offsets[a.name] + a.size <= arena.offsets[b.name]
                apart |= arena.offsets[b.name] + b.size <= arena.offsets[a.name]
                assert apart or a.last < b.first or b.last < a.first
        busiest = max(sum(b.size for b in buffers if b.first <= t <= b.last) for t in range(10))
        assert busiest <= arena.size <= sum(b.size for b in buffers)


def test_expressions_take_64_bits_where_32_do_not_hold_them():
    x, factor = Value("x", -40000, 40000), Value("f", -32768, 32767)
    assert (x * constant(3)).type == "int32_t"
    wide = x * factor
    assert (wide.text, wide.type) == ("x * f", "int32_t")
    wide = Value("x", -70000, 70000) * factor
    assert (wide.text, wide.type) == ("(int64_t)x * f", "int64_t")
    assert wide.rshift(4).text == "(int32_t)rshift64((int64_t)x * f, 4)"
    assert wide.within(Interval(-5, 5)).text == "(int32_t)((int64_t)x * f)"
    assert x.rshift(40).text == "(int32_t)rshift64(x, 40)"
    assert x.clamp(-50000, 100).text == "min32(x, 100)"
    assert constant(-(1 << 31)).text == "(-2147483647 - 1)"
    with pytest.raises(ProgramError, match="beyond 64 bits"):
        _ = Value("x", 0, 1 << 62) * constant(4)


def test_a_sum_that_might_overflow_on_its_way_is_refused():
    weight = np.full((4, 1 << 10), 127, np.int8)
    message, one = Message(16, True, 1.0), np.ones((1, 1), np.int32)
    nodes = (
        Synapse("in", "input", Linear(np.ones((1 << 10, 1), np.int8), 2)),
        Population("p", (1 << 10,), (Port("in", one, 0),), 0 * one, Relay(), message),
        Synapse("head", "p", Linear(weight, 8)),
    )
    given = Input((1,), message, "frames", Preprocessing(1.0, (0.0,), (1.0,)))
    program = Program(1, 32, 32, given, nodes, Readout("head", np.zeros(1, np.int64), 1.0))
    with pytest.raises(ProgramError, match=r"32|bits"):
        write_source(program)
