"""Networks with dead layers, vanishing variances and currents of any size compile, or are refused with a finding."""

import pytest
from networks import compiled_hostile

from hmdf.export.errors import CompileError
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import compare


@pytest.mark.parametrize("start", range(0, 60, 30))  # more of them: make soak
def test_compiled_to_the_bit_or_refused(start):
    compiled = 0
    for seed in range(start, start + 30):
        try:
            program, messages = compiled_hostile(seed)
        except CompileError:
            continue
        (verdict,) = compare(program, messages, [Simulator(1)])
        assert verdict.bit_exact, (seed, verdict.first_mismatch)
        compiled += 1
    assert compiled >= 10
