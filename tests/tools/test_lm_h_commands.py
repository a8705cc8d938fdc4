"""An LM-H network through the commands: trained, compiled, and run for more steps than it was trained with."""

import dataclasses
import json
import re

import numpy as np

from hmdf.train import checkpoint
from hmdf.train.networks import build


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


def test_more_steps_of_factors_that_agree_at_all_of_them(call, demo, tmp_path):
    """Factors per step that training has not moved: both networks go on with them. A factor that only rounds to the
    same integers is said before anything runs."""
    model, program = tmp_path / "model.pt", tmp_path / "model.hmdf"
    known = {"norm": "each", "width": 4, "time_steps": 2}
    spec = dataclasses.replace(checkpoint.load(demo.model).network, neuron="lm-h-radical", **known)
    untrained = dataclasses.replace(checkpoint.load(demo.model), network=spec, state=build(spec).state_dict())
    checkpoint.save(model, untrained)
    sim = "sim", program, "--data", demo.data, "--time-steps", "4", "--against", model
    assert call("compile", model, "--calibration", demo.data, "--emit", "hmdf", "--out", tmp_path).code == 0
    done = call(*sim, "--json", tmp_path / "out.json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "out.json").read_text())["accuracy"]["agreement"] > 0.9
    untrained.state["block.act2.soma_leak_logit"][1] = 1e-6
    checkpoint.save(model, untrained)
    done = call(*sim)
    assert done.code == 3
    said = "4 time-steps of the float network: block.act2.soma_leak_logit changes from step to step, and there are 2"
    assert said in " ".join(done.err.split())


def test_a_finding_says_why_a_network_with_factors_per_step_has_no_more(call, demo, tmp_path):
    model, out = tmp_path / "model.pt", tmp_path / "steps"
    known = "--neuron", "lm-h-radical", "--norm", "time", "--width", "4", "--time-steps", "2"
    done = call("train", "--data", demo.data, *known, "--epochs", "1", "--threads", "1", "--out", tmp_path)
    assert done.code == 0, done.err
    found = checkpoint.load(model)
    for name, factors in found.state.items():  # one epoch hardly tells the steps apart
        if name.endswith("_logit"):
            factors[1] += 1
    checkpoint.save(model, found)
    for command in (
        ["compile", model, "--calibration", demo.data, "--emit", "hmdf", "--out", tmp_path],
        ["explore", model, "--data", demo.data, "--bits", "1", "--steps", "2,3", "--target", "loihi2", "--jobs", "1",
         "--out", out],
    ):  # fmt: skip
        done = call(*command)
        assert done.code == 0, done.err
    assert checkpoint.load(model).training["backprop"] == "stbp"
    done = call("sim", tmp_path / "model.hmdf", "--data", demo.data, "--time-steps", "3", "--against", model)
    assert done.code == 3
    said = re.search(r"'block.act1': its .*soma_leak.* change from step to step, and there are 2", done.err)
    assert said, done.err
    trained, longer = json.loads((out / "exploration.json").read_text())["points"]
    assert trained["accuracy"] is not None
    assert longer["setting"]["time_steps"] == 3
    assert "accuracy" not in longer or longer["accuracy"] is None
    assert {finding["node"] for finding in longer["findings"]} == {"block.act1", "block.act2", "act3", "act4"}
    assert all("change from step to step" in finding["message"] for finding in longer["findings"])


def test_factors_that_stay_fit_chips_without_compartments(call, tmp_path):
    """Trained with factors as they start, a network is compiled to integrate-and-fire, which small chips have."""
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = (generator.random((40, 2, 2, 16, 16)) < 0.1 + 0.2 * labels[:, None, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "events.npz", images=images, labels=labels)
    known = "--data", tmp_path / "events.npz", "--net", "vgg-snn", "--width", "1", "--time-steps", "2"
    train = "train", *known, "--neuron", "lm-h", "--epochs", "1", "--batch-size", "16", "--threads", "1", "--out"
    (tmp_path / "input.toml").write_text("[bits]\ninput = 1\n")
    for name, options in (("fixed", ["--fixed-factors"]), ("learned", [])):
        trained = call(*train, tmp_path / name, *options)
        assert trained.code == 0, trained.err
    compile_for = (
        "--calibration",
        tmp_path / "events.npz",
        "--config",
        tmp_path / "input.toml",
        "--merge-pools",
        "--absorb-multipliers",
        "--check",
        "--target",
    )
    for chip in ("loihi1", "speck"):
        found = call("compile", tmp_path / "fixed" / "model.pt", *compile_for, chip)
        assert (found.code, "\nfits " in found.out) == (0, True), found.out + found.err
    refused = call("compile", tmp_path / "learned" / "model.pt", *compile_for, "loihi1")
    assert refused.code == 4
    assert "multi_hierarchical" in refused.out + refused.err
