"""Programs on Cortex-M: cross-compiled, linked, and run on the boards that QEMU emulates."""

import shutil

import msgspec
import numpy as np
import pytest

from hmdf.export.c import accumulate, cortex
from hmdf.export.c.executor import execute
from hmdf.export.c.source import write_source
from hmdf.hw_targets.target import load_target
from hmdf.sim.contract import (
    Conv2d,
    HardResetIntegrateAndFire,
    HybridFiring,
    LeakyIntegrateAndFire,
    LeakyIntegrator,
    Linear,
    Message,
    MultiHierarchical,
    ParallelFiring,
    Population,
    Port,
    Relay,
    Synapse,
)
from hmdf.sim.errors import Mismatch
from hmdf.sim.program import Input, Preprocessing, Program, Readout
from hmdf.sim.simulator import simulate
from programs import random_messages, random_program


def need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def network(seed=0):
    """Ternary convolutions to 32 and 64 channels and HM-DF neurons: rows of weights for words and for vectors."""
    rng = np.random.default_rng(seed)

    def ternary(*shape):
        return rng.integers(-1, 2, shape).astype(np.int8)

    def neurons(source, channels):
        full = [np.array([[value]]) for value in (2048, 4000)]
        port = Port(source, rng.integers(500, 4000, (1, channels)), 4)
        dynamics = HybridFiring(full[0], 12, full[1], 8)
        return Population(f"{source}.act", (channels, 6, 6), (port,), np.zeros((1, 1), np.int32), dynamics, spike)

    spike = Message(4, False, 1.0)
    nodes = (
        Synapse("a", "input", Conv2d(ternary(32, 3, 3, 3), 2, (1, 1), (1, 1))),
        neurons("a", 32),
        Synapse("b", "a.act", Conv2d(ternary(64, 32, 3, 3), 2, (1, 1), (1, 1))),
        neurons("b", 64),
        Synapse("head", "b.act", Linear(rng.integers(-99, 99, (10, 64 * 36)).astype(np.int8), 8)),
    )
    given = Input((3, 6, 6), spike, "frames", Preprocessing(1.0, (0.0,), (1.0,)))
    return Program(2, 24, 24, given, nodes, Readout("head", np.arange(10), 1.0))


def kinds(rng, channels=8, count=7, largest=99):
    """A convolution that may be dense, of a width that its tiles do not divide; then `count` of Helium's dynamics."""
    one, spike, wide = np.ones((1, 1), np.int32), Message(4, False, 1.0), Message(16, True, 1.0)

    def each(low, high):
        return rng.integers(low, high, (1, channels))

    chain = (
        (Relay(), wide, each(1, 9), 1),
        (HybridFiring(each(2000, 4096), 12, each(20, 60), 3), spike, each(20, 40), 2),
        (LeakyIntegrator(3000 * one, 12, 1), wide, each(2000, 30000), 5),
        (
            MultiHierarchical(*(each(500, 4096) for _ in range(4)), 12, each(50, 200)),
            Message(1, False, 1.0),
            each(3, 9),
            4,
        ),
        (
            HardResetIntegrateAndFire(each(2000, 4096), 12, each(50, 90), each(-9, 9)),
            Message(1, False, 1.0),
            99 * one,
            1,
        ),
        (LeakyIntegrateAndFire(each(2000, 4096), 12, each(30, 70)), Message(1, False, 1.0), 55 * one, 1),
        (ParallelFiring(each(-9, 9), 1), Message(8, False, 1.0), each(100, 200), 1),
    )
    ternary = rng.integers(-1, 2, (8, 16, 3, 2)).astype(np.int8)
    nodes = [Synapse("conv", "input", Conv2d(np.repeat(ternary, 2, 0)[:channels], 2, (1, 2), (1, 2)))]
    before = "conv"
    for i, (dynamics, message, multiplier, shift) in enumerate(chain[:count]):
        port = Port(before, multiplier, shift)
        before = f"p{i}"
        nodes.append(Population(before, (channels, 7, 5), (port,), each(-20, 20), dynamics, message))
    nodes.append(
        Synapse("head", before, Linear(rng.integers(-largest, largest + 1, (10, channels * 35)).astype(np.int8), 8))
    )
    given = Input((16, 7, 7), spike, "frames", Preprocessing(1.0, (0.0,), (1.0,)))
    return Program(2, 24, 24, given, tuple(nodes), Readout("head", np.arange(10), 1.0))


def part(core="cortex-m4", **sizes):
    target = load_target(core)
    return msgspec.structs.replace(target, processor=msgspec.structs.replace(target.processor, **sizes))


@pytest.mark.parametrize("core", cortex.BOARDS)
def test_logits_in_qemu_are_the_simulators(core):
    """`measure` compares them; flash, RAM and instructions are what the parts say."""
    need(cortex.COMPILER, cortex.EMULATOR)
    program = network()
    held, misfits = cortex.measure(program, load_target(core), random_messages(program, 3, 1))
    assert misfits == []
    assert held.instruction_samples == 3
    assert held.flash_bytes == sum(held.flash_by_purpose.values())
    assert held.ram_bytes == sum(held.ram_by_purpose.values())
    source = write_source(program)
    twice = source.helium_bytes if core == "cortex-m55" else 0
    assert held.flash_by_purpose["constants"] == source.weight_bytes + twice
    assert 0 <= held.ram_by_purpose["other"] < 200
    # Not more than dense multiplication would take; not less than a sixteenth of the products that are not 0.
    macs = 2 * 36 * 9 * (3 * 32 + 32 * 64)
    assert macs / 50 < held.instructions < 2 * macs


def test_helium_computes_the_same(monkeypatch):
    """Events or all messages by what a step has, the neurons of four channels at a time: logits are the simulator's."""
    need(cortex.COMPILER, cortex.EMULATOR)
    monkeypatch.setattr(accumulate, "PADDING", 4)
    rng = np.random.default_rng(0)
    program = kinds(rng)
    text = write_source(program).files["model.c"]
    assert "conv2d_either_2(" in text
    assert text.count("#if MODEL_HELIUM\n    for (int c = 0; c < 8; c += 4)") == 7
    dense = np.stack([rng.random((2, 16, 7, 7)) < share for share in (1.0, 0.5, 0.1)])
    messages = dense * rng.integers(1, 16, dense.shape)
    held, _ = cortex.measure(program, load_target("cortex-m55"), messages)
    assert held.instruction_samples == 3
    assert len(np.unique(simulate(program, messages).logits, axis=0)) == 3
    # Behind so many neurons a wrong sum may be lost: the sums alone, too.
    cortex.measure(kinds(rng, channels=16, count=1, largest=1), load_target("cortex-m55"), messages)


def test_random_programs_run_in_qemu():
    need(cortex.COMPILER, cortex.EMULATOR)
    program = random_program(1)
    held, _ = cortex.measure(program, load_target("cortex-m4"), random_messages(program, 2, 1))
    assert held.instructions > 0


def test_another_logit_is_noticed(monkeypatch):
    need(cortex.COMPILER, cortex.EMULATOR)
    program, simulate = random_program(2), cortex.simulate

    def wrong(*args, **options):
        result = simulate(*args, **options)
        return msgspec.structs.replace(result, logits=result.logits + (np.arange(program.classes) == 1))

    monkeypatch.setattr(cortex, "simulate", wrong)
    with pytest.raises(Mismatch, match="mps2-an386 in QEMU"):
        cortex.measure(program, load_target("cortex-m4"), random_messages(program, 1, 1))


LOOP = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
extern void initialise_monitor_handles(void);
void _init(void) {}
void _fini(void) {}
int main(void)
{
    volatile uint32_t *systick = (volatile uint32_t *)0xE000E010;
    uint32_t left = 250000;
    initialise_monitor_handles();
    systick[1] = 0xFFFFFF, systick[2] = 0, systick[0] = 5;
    const uint32_t before = systick[2];
    __asm volatile("1: subs %0, #1\\n nop\\n nop\\n bne 1b" : "+r"(left));
    printf("%lu\\n", (unsigned long)((before - systick[2]) & 0xFFFFFF));
    exit(0);
}
"""


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_a_million_instructions_are_counted_as_a_million(core, tmp_path):
    need(cortex.COMPILER, cortex.EMULATOR)
    board = cortex.BOARDS[core]
    (tmp_path / "loop.c").write_text(LOOP)
    for name in ("loop", "startup"):
        cortex.compiled(tmp_path, board, name)
    ticks = int(cortex.run_in_qemu(tmp_path, board, ("loop", "startup")))
    assert ticks * board.tick == pytest.approx(1e6, abs=3 * board.tick)


def test_a_part_that_is_too_small_gets_findings_whose_fixes_help():
    need(cortex.COMPILER)
    program = network()
    flash, ram = cortex.measure(program, part(flash_bytes=25 << 10, ram_bytes=20 << 10))[1]
    assert (flash.resource, flash.available, ram.resource, ram.available) == ("flash", 25 << 10, "ram", 20 << 10)
    assert "membranes 13,824" in ram.problem
    for finding, size in ((flash, "flash_bytes"), (ram, "ram_bytes")):
        needed = int(finding.fix.split("a part with ")[1].split(" KiB")[0].replace(",", ""))
        other = {"flash_bytes": 1 << 20, "ram_bytes": 1 << 18}
        assert cortex.findings(program, part(**other | {size: needed << 10}), cortex.measure(program, part())[0]) == []
        assert finding.needed > (needed - 1) << 10


def test_narrower_weights_and_membranes_are_proposed_where_they_suffice():
    """As computed here: with the weights of the head in 4 bits, and every state in 16 instead of 32."""
    program, roomy = network(), part()
    held = cortex._planned(program, write_source(program), "cortex-m4")
    tight = part(flash_bytes=held.flash_bytes - 11000, ram_bytes=held.ram_bytes - 1000)
    flash, ram = cortex.findings(program, tight, held)
    assert f"or weight_bits = 4 in --config: {held.flash_bytes - 64 * 36 * 10 // 2:,} bytes" in flash.fix
    assert cortex.findings(program, roomy, held) == []
    assert [state.code for state in write_source(program).states] == ["i32", "i32"]
    assert (
        f"or 16-bit membranes (state_bits 16 in a target file of your own): {held.ram_bytes - 2 * 96 * 36:,}" in ram.fix
    )


def test_without_a_cross_compiler_what_the_c_says_of_itself_counts(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    program = network()
    held, misfits = cortex.measure(program, part(ram_bytes=1 << 10))
    assert (held.compiler, held.instructions) == ("", None)
    assert held.flash_by_purpose == {"constants": write_source(program).weight_bytes}
    assert [found.resource for found in misfits] == ["ram"]


def test_the_stack_is_that_of_the_deepest_calls():
    node = 'node: {{ title: "{0}" label: "{0}\\nmodel.c:1:1\\n{1} bytes (static)\\n0 dynamic objects" }}\n'
    edge = 'edge: {{ sourcename: "{0}" targetname: "{1}" label: "model.c:1:1" }}\n'
    graph = "".join(node.format(*n) for n in (("start", 8), ("main", 16), ("a", 100), ("b", 24), ("c", 90)))
    graph += "".join(
        edge.format(*e) for e in (("start", "main"), ("main", "a"), ("main", "b"), ("b", "c"), ("a", "memset"))
    )
    assert cortex.deepest([graph]) == 8 + 16 + 24 + 90


def test_gcc_says_what_the_stack_needs(tmp_path):
    need(cortex.COMPILER)
    (tmp_path / "f.c").write_text("void g(char *); void start(void) { char room[400]; g(room); }")
    execute([cortex.COMPILER, "-fcallgraph-info=su", "-c", str(tmp_path / "f.c"), "-o", str(tmp_path / "f.o")], 60)
    assert 400 <= cortex.deepest([(tmp_path / "f.ci").read_text()]) < 500
