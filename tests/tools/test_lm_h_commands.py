"""An LM-H network through the commands: trained, compiled, and run for more steps than it was trained with."""

import json


def test_more_steps_beside_the_float_network(call, demo, tmp_path):
    model, program = tmp_path / "model.pt", tmp_path / "model.hmdf"
    for command in (
        ["train", "--data", demo.data, "--neuron", "lm-h", "--backprop", "stbp", "--width", "4", "--time-steps", "2",
         "--epochs", "2", "--threads", "1", "--out", tmp_path],
        ["compile", model, "--calibration", demo.data, "--emit", "hmdf", "--out", tmp_path],
        ["sim", program, "--data", demo.data, "--time-steps", "5", "--against", model, "--verify", "reference",
         "--json", tmp_path / "out.json"],
    ):  # fmt: skip
        done = call(*command)
        assert done.code == 0, done.err
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["time_steps"] == 5
    assert document["accuracy"]["agreement"] > 0.9


def test_steps_that_a_program_has_not_got(call, demo):
    done = call("sim", demo.program, "--data", demo.data, "--time-steps", "3")
    assert done.code == 3
    assert "3 time-steps of a program that has 2: 'block.act1': its " in done.err
