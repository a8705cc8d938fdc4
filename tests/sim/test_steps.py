"""More steps than a program was made for; fewer are tested with `first_steps`."""

import numpy as np
import pytest

from hmdf.sim import reference
from hmdf.sim.errors import ProgramError
from hmdf.sim.steps import changing, with_steps
from programs import random_messages, random_program


@pytest.mark.parametrize("seed", range(20))
def test_more_steps_go_on_as_before(seed):
    """A program of one step has the same parameters at every step."""
    whole = random_program(seed)
    one = with_steps(whole, 1)
    assert changing(one) == []
    longer = with_steps(one, 5)
    assert (longer.time_steps, with_steps(longer, 5)) == (5, longer)
    messages = random_messages(longer, 2, seed)
    taps = reference.run(longer, messages)
    for steps in (1, 3):
        shorter = reference.run(with_steps(longer, steps), messages[:, :steps])
        for name, sent in shorter.messages.items():
            assert np.array_equal(sent, taps.messages[name][:, :steps]), name
    first = reference.run(whole, random_messages(whole, 2, seed)[:, : whole.input_steps])
    again = reference.run(one, random_messages(whole, 2, seed)[:, :1])
    assert all(np.array_equal(again.messages[name], sent[:, :1]) for name, sent in first.messages.items())


def test_parameters_that_change_are_named():
    program = next(p for p in map(random_program, range(99)) if len(changing(p)) > 1)
    first = changing(program)[0]
    assert first.where in program.by_name
    with pytest.raises(ProgramError) as caught:
        with_steps(program, program.time_steps + 1)
    assert f"'{first.where}': its " in str(caught.value)
    assert f"change from step to step, and there are {program.time_steps}" in str(caught.value)
