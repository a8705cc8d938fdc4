"""The first k steps of a program are those of the whole program, and the logits their partial sums."""

import numpy as np
import pytest

from hmdf.export.passes.first_steps import first_steps
from hmdf.sim import reference
from hmdf.sim.executor import Taps
from programs import random_messages, random_program


@pytest.mark.parametrize("seed", range(60))
def test_the_first_steps_are_those_of_the_whole_program(seed):
    program = random_program(seed)
    messages = random_messages(program, 3, seed)
    whole = reference.run(program, messages)
    logits = []
    for steps in range(1, program.time_steps + 1):
        shorter = first_steps(program, steps)
        assert shorter.time_steps == steps
        assert all(len(a) in (1, steps) for p in shorter.populations for _, a, _ in p.parameters())
        taps = reference.run(shorter, messages[:, : shorter.input_steps])
        for name, sent in taps.messages.items():
            assert np.array_equal(sent, whole.messages[name][:, :steps]), name
        logits.append(taps.logits)
    assert np.array_equal(logits[-1], whole.logits)
    assert_partial_sums(program, whole, logits)


def assert_partial_sums(program, whole: Taps, logits: list[np.ndarray]) -> None:
    """The logits after k steps, from the messages of the whole program and the read-out's definition."""
    synapse = program.by_name[program.readout.source]
    sent = whole.messages.get(synapse.source)
    if sent is None:
        return  # it reads the input itself
    weight = synapse.op.weight.astype(np.int64)
    flat = sent.reshape(len(sent), program.time_steps, -1).astype(np.int64)
    sums = np.cumsum(flat @ weight.T + program.readout.bias, axis=1)
    for k, got in enumerate(logits):
        assert np.array_equal(got, sums[:, k])


def test_all_steps_change_nothing_and_none_are_refused():
    program = next(p for p in map(random_program, range(99)) if p.time_steps > 1)
    assert first_steps(program, program.time_steps) is program
    for steps in (0, program.time_steps + 1):
        with pytest.raises(ValueError, match=r"steps must be in 1\.\."):
            first_steps(program, steps)
