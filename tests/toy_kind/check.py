"""Programs with the toy kind in every executor, in the cost model, in a file and as text. Run in a tree that has it."""

import tempfile
from pathlib import Path

import msgspec

from hmdf.export.c import CompiledC
from hmdf.export.lava import Lava
from hmdf.export.onnx import OnnxRuntime
from hmdf.hw_targets.judge.fit import check
from hmdf.hw_targets.target import load_target
from hmdf.sim import reference, storage
from hmdf.sim.contract import HybridFiring
from hmdf.sim.contract.dynamics import ToyIntegrator
from hmdf.sim.memory import memory_of
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import compare
from programs import random_messages, random_program


def with_toy_kind(seed):
    """A random program whose hybrid neurons are toy integrators."""
    program, nodes = random_program(seed), []
    for node in program.nodes:
        dynamics = getattr(node, "dynamics", None)
        if isinstance(dynamics, HybridFiring):
            node = msgspec.structs.replace(node, dynamics=ToyIntegrator(dynamics.leak, dynamics.leak_shift))
        nodes.append(node)
    return msgspec.structs.replace(program, nodes=tuple(nodes))


def toys(program):
    return [p for p in program.populations if isinstance(p.dynamics, ToyIntegrator)]


programs = [program for program in map(with_toy_kind, range(24)) if toys(program)]
states = saturated = 0
for seed, program in enumerate(programs):
    executors = [
        Simulator(threads=1),
        OnnxRuntime(threads=1),
        *([] if seed else [Lava()]),
        *([CompiledC()] if seed < 4 else []),
    ]
    messages = random_messages(program, 2, seed)
    compared = compare(program, messages, executors)
    assert all(found.bit_exact for found in compared), compared
    saturated += sum(int(reference.run(program, messages).saturations[p.name][0]) for p in toys(program))
    states += memory_of(program).state_bytes
assert len(programs) > 10
assert states
assert saturated

program = programs[0]
name = toys(program)[0].name
finding = next(f for f in check(program, load_target("loihi1")) if (f.where, f.resource) == (name, "dynamics"))
assert "no toy integrator neuron" in finding.problem
assert "toy_integrator: leak" in str(program)
path = Path(tempfile.mkdtemp()) / "toy.hmdf"
storage.save(program, path)
assert storage.load(path).sha256 == program.sha256
print(f"{len(programs)} programs equal in all executors")
