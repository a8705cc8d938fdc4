"""hmdf-sim --verify: yes where all integers agree; exit code 5 and the place of the first one that does not."""

import json

import msgspec
import numpy as np
import pytest

from hmdf.sim import reference, simulator, storage
from hmdf.sim.contract import Synapse
from hmdf.sim.encoder import encode, normalise

SAMPLES = 12


@pytest.fixture
def inputs(demo):
    """(program, messages) of the first samples of the data, as hmdf-sim makes them."""
    program = storage.load(demo.program)
    images = np.load(demo.data)["x_test"][:SAMPLES, None]
    return program, encode(program, normalise(images, program.input.preprocessing))


def verify(call, demo, *options):
    return call(
        "sim", demo.program, "--data", demo.data, "--samples", SAMPLES, "--verify", "reference", "--json", "out.json",
        *options,
    )  # fmt: skip


def with_flipped_weight(program):
    """The program with one bit flipped: one ternary weight of layer3 is 1 instead of 0."""
    nodes = list(program.nodes)
    index = next(i for i, node in enumerate(nodes) if node.name == "layer3.conv")
    weight = nodes[index].op.weight.copy()
    where = tuple(np.argwhere(weight == 0)[0])
    weight[where] ^= 1
    nodes[index] = Synapse("layer3.conv", nodes[index].source, msgspec.structs.replace(nodes[index].op, weight=weight))
    fields = {field: getattr(program, field) for field in program.__struct_fields__} | {"nodes": tuple(nodes)}
    return type(program)(**fields)


def test_bit_exact(call, demo, inputs, tmp_path):
    outcome = verify(call, demo)
    assert outcome.code == 0
    assert "bit exact: yes" in outcome.out
    verdict = json.loads((tmp_path / "out.json").read_text())["verify"]["reference"]
    program, _ = inputs
    integers = sum(np.prod(p.shape) for p in program.populations) * program.time_steps + program.classes
    assert (verdict["bit_exact"], verdict["first_mismatch"]) == (True, None)
    assert (verdict["compared"], verdict["samples"]) == (SAMPLES * integers, SAMPLES)


def test_fewer_samples_are_verified_than_simulated(call, demo, tmp_path):
    assert verify(call, demo, "--verify-samples", "5").code == 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert (document["samples"], document["verify"]["reference"]["samples"]) == (SAMPLES, 5)


def test_a_flipped_bit_in_the_kernels_weights_is_located(call, demo, inputs, tmp_path, monkeypatch):
    """The kernels get one wrong weight bit; what is reported is the first integer it changes, not a consequence."""
    program, messages = inputs
    wrong = with_flipped_weight(program)
    build_plan = simulator.build_plan
    monkeypatch.setattr(simulator, "build_plan", lambda _program, *options: build_plan(wrong, *options))
    expected, got = (reference.run(p, messages).messages["act4"] for p in (program, wrong))
    step = min(np.argwhere(expected != got)[:, 1])
    sample, channel, y, x = (int(i) for i in np.argwhere(expected[:, step] != got[:, step])[0])
    values = expected[sample, step, channel, y, x], got[sample, step, channel, y, x]

    outcome = verify(call, demo)
    assert outcome.code == 5
    assert "bit exact: no" in outcome.out
    assert (
        f"population 'act4', sample {sample}, time-step {step}, channel {channel}, position ({y}, {x}): "
        f"expected {values[0]}, got {values[1]}"
    ) in outcome.err
    verdict = json.loads((tmp_path / "out.json").read_text())["verify"]["reference"]
    assert verdict["bit_exact"] is False
    assert verdict["first_mismatch"] == {
        "population": "act4", "sample": sample, "time_step": int(step), "channel": channel, "position": [y, x],
        "expected": int(values[0]), "got": int(values[1]),
    }  # fmt: skip


def test_a_flipped_bit_in_one_message_is_located(call, demo, inputs, monkeypatch):
    """Lava's and ONNX's values come in the same way: as messages of an executor."""
    run = simulator.Simulator.run

    def flipped(self, program, messages):
        taps = run(self, program, messages)
        if len(messages) == 1:  # the sample that the report shows
            return taps
        wrong = taps.messages["pool"].copy()
        wrong[2, 1, 5, 3, 0] ^= 1
        return reference.Taps(taps.messages | {"pool": wrong}, taps.logits, taps.saturations)

    monkeypatch.setattr(simulator.Simulator, "run", flipped)
    program, messages = inputs
    right = int(reference.run(program, messages).messages["pool"][2, 1, 5, 3, 0])
    outcome = verify(call, demo)
    assert outcome.code == 5
    assert outcome.err == (
        "error: the executors differ\n  reference: first mismatch at population 'pool', sample 2, time-step 1, "
        f"channel 5, position (3, 0): expected {right}, got {right ^ 1}\n"
    )


def test_a_wrong_logit_is_located(call, demo, monkeypatch):
    run = simulator.Simulator.run

    def wrong(self, program, messages):
        taps = run(self, program, messages)
        if len(messages) == 1:
            return taps
        logits = taps.logits.copy()
        logits[1, 7] += 1
        return reference.Taps(taps.messages, logits, taps.saturations)

    monkeypatch.setattr(simulator.Simulator, "run", wrong)
    outcome = verify(call, demo)
    assert outcome.code == 5
    assert "population 'readout', sample 1, time-step 1, channel 7: expected" in outcome.err
