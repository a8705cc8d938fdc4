"""The inner loops for Arm, which no test here can run: LLVM's assembly for such a processor is read instead."""

import re

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from hmdf.sim.kernels.paths.loops import Loops, Scheme
from hmdf.sim.kernels.paths.neondot import QUADS_NEON
from hmdf.sim.kernels.paths.neoni8mm import QUADS_I8MM

PIXELS, VECTORS = 6, 4


def inner_loop(scheme: Scheme, features: str) -> list[str]:
    """Instructions of the loop over positions, in the assembly of `scheme` for a generic AArch64 with `features`."""
    module, wide = ir.Module(), ir.IntType(64)
    module.triple = "aarch64-unknown-linux-gnu"
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [wide] * 8), "dot")
    builder = ir.IRBuilder(function.append_basic_block())
    Loops(builder, PIXELS, VECTORS, scheme).generate(*function.args)
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(module.triple).create_target_machine(features=features, opt=3)
    parsed = llvm.parse_assembly(str(module))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder_of_passes = llvm.create_pass_builder(machine, options)
    builder_of_passes.getModulePassManager().run(parsed, builder_of_passes)
    lines = [line.split("//")[0].strip() for line in machine.emit_assembly(parsed).splitlines()]
    loops: list[list[str]] = []
    for i, line in enumerate(lines):
        if (jump := re.match(r"b\.\w+\s+(\.\w+)|cbn?z\s+\w+, (\.\w+)", line)) is not None:
            label = (jump[1] or jump[2]) + ":"
            if label in lines[:i]:
                body = [each for each in lines[lines.index(label) : i + 1] if each and not each.startswith(".")]
                loops.append(body)
    return min((loop for loop in loops if any("dot" in each for each in loop)), key=len)


@pytest.mark.parametrize(
    ("scheme", "instruction", "features"),
    [(QUADS_I8MM, "usdot", "+neon,+dotprod,+i8mm"), (QUADS_NEON, "sdot", "+neon,+dotprod")],
)
def test_inner_loop_for_arm(scheme, instruction, features):
    """The wanted instruction and no other product, no register spilled, few instructions beside."""
    loop = inner_loop(scheme, features)
    names = [line.split()[0] for line in loop]
    assert names.count(instruction) == PIXELS * VECTORS
    assert not {"mla", "mul", "smlal", "smull", "smlal2", "udot", "sdot", "usdot"} - {instruction} & set(names)
    assert not [line for line in loop if "[sp" in line]
    macs = PIXELS * VECTORS * 16
    assert len(loop) / macs < 0.12, "\n".join(loop)
