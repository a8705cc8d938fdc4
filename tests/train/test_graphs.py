import dataclasses

import pytest
import torch

from hmdf.train.config import TrainingConfig
from hmdf.train.data import load
from hmdf.train.graphs import Graphs
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.optimiser import Optimiser
from hmdf.train.trainer import train

TRAIN, TEST = load("digits", "train"), load("digits", "test")
SPEC = NetworkSpec("small", (1, 8, 8), 10, neuron="plain", parallel="second", width=8)
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def test_without_a_gpu_a_step_is_a_plain_call():
    graphs = Graphs(torch.device("cpu"), True)
    assert not graphs.enabled
    with graphs.stream():
        results = [graphs.run("key", lambda x: x + 1, torch.tensor(value)).item() for value in range(6)]
    assert results == list(range(1, 7))


@on_gpu
def test_a_recorded_call_reads_its_inputs_and_the_memory_it_knows():
    device = torch.device("cuda")
    graphs, weight = Graphs(device, True), torch.ones((), device=device)

    def times(x):
        return x * weight

    with graphs.stream():
        for value in range(8):
            given = torch.tensor([float(value)], device=device)
            assert graphs.run("key", times, given).item() == value * weight.item()
            weight += 1
            assert graphs.run("key", times, given.expand(2)).tolist() == [value * weight.item()] * 2
    assert len(graphs.recorded) == 2


@on_gpu
@pytest.mark.parametrize("options", [{}, {"backprop": "every"}, {"optimizer": "muon"}, {"precision": "bf16-mixed"}])
@pytest.mark.parametrize("neuron", ["plain", "mpbn", "lif"])
def test_recorded_training_is_the_same_training(options, neuron):
    spec = dataclasses.replace(SPEC, neuron=neuron, parallel="none" if neuron == "lif" else "second")
    config = TrainingConfig(epochs=4, batch_size=32, accelerator="cuda", **options)
    plain, recorded = (
        train(spec, dataclasses.replace(config, cuda_graphs=wanted), TRAIN, TEST) for wanted in (False, True)
    )
    # sums over many threads come in any order, and a weight near its threshold may fall to the other side
    assert recorded.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=0.15)
    assert recorded.metrics["train_accuracy"] > 0.75


OPTIONS = [{}, {"accumulate": 2}, {"mixup": 0.5}, {"small_size": 6, "small_epochs": 1}, {"optimizer": "muon"}]


@on_gpu
@pytest.mark.parametrize("options", OPTIONS)
def test_few_recorded_steps_are_nearly_the_same_steps(options):
    """By how far each tensor moves: a rate wrong by 5 % is a median of 0.04, another order of sums 0.001 to 0.01."""
    config = TrainingConfig(
        epochs=1, batch_size=128, backprop="every", learning_rate=0.02, accelerator="cuda", **options
    )
    torch.manual_seed(config.seed)
    start = build(SPEC).state_dict()
    plain, recorded = (
        train(SPEC, dataclasses.replace(config, cuda_graphs=wanted), TRAIN, TEST).state for wanted in (False, True)
    )
    apart = [
        float(
            (recorded[name] - plain[name]).float().norm() / (plain[name] - start[name]).float().norm().clamp(min=1e-4)
        )
        for name in start
    ]
    assert sorted(apart)[len(apart) // 2] < 0.02


@on_gpu
@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_recorded_steps_of_the_optimiser_follow_its_rate(optimizer):
    device, results = torch.device("cuda"), []
    for wanted in (False, True):
        torch.manual_seed(0)
        model, graphs = build(SPEC).to(device), Graphs(device, wanted)
        optimiser = Optimiser(model, TrainingConfig(optimizer=optimizer))
        with graphs.stream():
            for parameter in model.parameters():
                parameter.grad = torch.zeros_like(parameter)
            for step in range(8):
                for parameter in model.parameters():
                    parameter.grad.copy_(torch.randn(parameter.shape))
                optimiser.set_rate(0.1 + 0.1 * step)
                graphs.run("step", optimiser.step)
        assert len(graphs.recorded) == wanted
        results.append([parameter.detach().clone() for parameter in model.parameters()])
    for plain, recorded in zip(*results, strict=True):
        torch.testing.assert_close(recorded, plain, rtol=1e-4, atol=1e-6)
