"""Comparison of executors: agreement is seen, and any difference is named where it begins."""

import msgspec
import numpy as np
import pytest

from hmdf.sim import simulator as simulator_module
from hmdf.sim.contract import WeightedOp
from hmdf.sim.errors import HmdfError
from hmdf.sim.executor import Taps
from hmdf.sim.kernels.plan import build_plan
from hmdf.sim.reference import Reference
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import Difference, compare
from programs import random_messages, random_program


class Altered:
    """The reference with some messages changed: {(population, sample, step, channel, *position): difference}."""

    name = "altered"

    def __init__(self, changes: dict, logits: dict | None = None) -> None:
        self.changes, self.logits, self.done = changes, logits or {}, 0

    def run(self, program, messages):
        taps = Reference().run(program, messages)
        for (name, sample, *index), difference in self.changes.items():
            if 0 <= sample - self.done < len(messages):
                taps.messages[name][(sample - self.done, *index)] += difference
        for (sample, channel), difference in self.logits.items():
            if 0 <= sample - self.done < len(messages):
                taps.logits[sample - self.done, channel] += difference
        self.done += len(messages)
        return taps


def spatial_program():
    for seed in range(100):
        program = random_program(seed)
        spatial = [p for p in program.populations if len(p.shape) == 3 and min(p.shape) > 1]
        if program.time_steps >= 3 and len(spatial) >= 2:
            return program, spatial
    raise AssertionError


def test_the_simulator_is_bit_exact():
    program, _ = spatial_program()
    messages = random_messages(program, 20, 0)
    verdict, again = compare(program, messages, [Simulator(2), Reference()], block=6)
    assert verdict.bit_exact
    assert again.bit_exact
    assert (verdict.executor, verdict.samples, verdict.populations) == ("numba", 20, len(program.populations))
    values = sum(np.prod(p.shape) for p in program.populations) * program.time_steps + program.classes
    assert verdict.compared == 20 * values
    assert verdict.first_mismatch is None


def test_first_mismatch_is_the_earliest_in_time_then_node_then_sample():
    program, (early, late, *_) = spatial_program()
    messages = random_messages(program, 9, 0)
    changes = {
        (early.name, 0, 2, 0, 0, 0): 1,
        (late.name, 1, 1, 0, 0, 0): 1,
        (early.name, 7, 1, 1, 1, 1): 5,
        (early.name, 8, 1, 0, 0, 0): 1,
    }
    verdict = compare(program, messages, [Altered(changes, {(0, 0): 1})], block=4)[0]
    expected = Reference().run(program, messages).messages[early.name][7, 1, 1, 1, 1]
    assert verdict.first_mismatch == Difference(early.name, 7, 1, 1, (1, 1), expected, expected + 5)
    assert not verdict.bit_exact
    text = str(verdict.first_mismatch)
    for part in (early.name, "sample 7", "time-step 1", "channel 1", "(1, 1)", f"got {expected + 5}"):
        assert part in text


def test_logits_are_compared():
    program, _ = spatial_program()
    messages = random_messages(program, 4, 0)
    found = compare(program, messages, [Altered({}, {(2, 1): -3})], block=3)[0].first_mismatch
    assert (found.population, found.sample, found.channel, found.position) == ("readout", 2, 1, ())
    assert found.got == found.expected - 3


def test_a_planted_bit_in_a_kernels_weights_is_found(monkeypatch):
    """One flipped bit in the weights that the kernels read, of one synapse: its population is named."""
    drawn = [p for p in map(random_program, range(99)) if isinstance(p.nodes[0].op, WeightedOp)]
    program = next(p for p in drawn if p.populations[0].message.bits > 4)  # a message that shows a small change

    def planted(wanted, path):
        plan = build_plan(wanted, path)
        weights = plan.tables.weights.copy()
        weights[0] ^= 2
        return plan._replace(tables=plan.tables._replace(weights=weights))

    messages = random_messages(program, 8, 0)
    assert compare(program, messages, [Simulator(1)])[0].bit_exact
    monkeypatch.setattr(simulator_module, "build_plan", planted)
    found = compare(program, messages, [Simulator(1)])[0].first_mismatch
    weighted = {s.name for s in program.synapses if isinstance(s.op, WeightedOp)}
    reader = next(p.name for p in program.populations if any(port.source in weighted for port in p.ports))
    assert found.population == reader
    assert found.expected != found.got


def test_an_executor_that_leaves_something_out():
    program, (early, *_) = spatial_program()
    messages = random_messages(program, 2, 0)

    class Partial:
        name = "partial"

        def run(self, program, messages):
            taps = Reference().run(program, messages)
            del taps.messages[early.name]
            return taps

    class Short:
        name = "short"

        def run(self, program, messages):
            taps = Reference().run(program, messages)
            return Taps(taps.messages, taps.logits[:, :1])

    with pytest.raises(HmdfError, match=f"'partial' gave no messages for population '{early.name}'"):
        compare(program, messages, [Partial()])
    with pytest.raises(HmdfError, match="'short' gave logits"):
        compare(program, messages, [Short()])


def test_a_verdict_is_plain_data():
    program, (early, *_) = spatial_program()
    verdict = compare(program, random_messages(program, 2, 0), [Altered({(early.name, 0, 0, 0, 0, 0): 1})])[0]
    document = msgspec.json.decode(msgspec.json.encode(verdict))
    assert document["first_mismatch"]["population"] == early.name
    assert document["bit_exact"] is False
