"""Files of format version 1 that were written once: they load, and give the logits of that day, for ever."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from hmdf.sim import reference, simulator, storage
from hmdf.sim.contract import Dynamics, Op, WeightedOp

FILES = sorted((Path(__file__).parent / "version1").glob("*.hmdf"))
RUNS = np.load(Path(__file__).parent / "version1" / "runs.npz", allow_pickle=False)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_the_logits_are_those_of_that_day(path, tmp_path):
    program = storage.load(path)
    messages, logits = RUNS[f"messages{path.stem}"], RUNS[f"logits{path.stem}"]
    assert np.array_equal(reference.run(program, messages).logits, logits)
    assert np.array_equal(simulator.Simulator().run(program, messages).logits, logits)
    storage.save(program, tmp_path / "again.hmdf")
    assert (tmp_path / "again.hmdf").read_bytes() == path.read_bytes()


def test_every_kind_of_version_1_is_among_them():
    programs = [storage.load(path) for path in FILES]
    kinds = {type(p.dynamics) for program in programs for p in program.populations}
    kinds |= {type(s.op) for program in programs for s in program.synapses}
    bits = {s.op.weight_bits for program in programs for s in program.synapses if isinstance(s.op, WeightedOp)}
    assert kinds >= {k for k in get_args(Dynamics) + get_args(Op) if k.__struct_config__.tag in VERSION_1}
    assert bits == {1, 2, 4, 8}
    assert any(p.gate is not None for program in programs for p in program.populations)


VERSION_1 = {
    "conv2d", "linear", "channel_conv", "sum_pool", "max_pool",
    "relay", "hybrid_firing", "parallel_firing", "leaky_integrate_and_fire", "multi_hierarchical", "lookup_table",
}  # fmt: skip
