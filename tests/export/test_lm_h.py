"""LM-H networks through the compiler: a spike is one and worth theta, the soma starts at theta / 2."""

import numpy as np
import pytest
import torch
from networks import images, module_logits, settled, small
from torch import nn

import hmdf
from hmdf.export.c import CompiledC
from hmdf.export.errors import CompileError
from hmdf.export.evaluate import evaluate
from hmdf.export.lava import Lava
from hmdf.export.onnx import OnnxRuntime
from hmdf.sim import reference, storage
from hmdf.sim.contract import LeakyIntegrateAndFire, MultiHierarchical, Population
from hmdf.sim.encoder import encode
from hmdf.sim.simulator import Simulator
from hmdf.sim.verify import compare
from hmdf.train import neurons as trained

T, THETA = 4, 0.75


def network(neuron: str = "lm-h", **options) -> tuple[nn.Module, np.ndarray]:
    """A network whose factors are not those of the start, and samples."""
    x = images(16)
    module = settled(small(neuron=neuron, threshold=THETA, **options), torch.from_numpy(x).float(), T)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("_logit"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module, x


def compiled(module: nn.Module, x: np.ndarray, target: str = "loihi2"):
    return hmdf.compile(module, torch.from_numpy(x[:1]).float(), calibration=x, target=target)


def fired(program, kind) -> list[Population]:
    return [p for p in program.populations if isinstance(p.dynamics, kind)]


@pytest.fixture(scope="module")
def compilation():
    module, x = network("lm-h-radical")
    return module, x, compiled(module, x)


def test_the_integers_are_the_neurons(compilation):
    """Threshold, initial soma and factors in units of the membrane; the message is one bit, worth theta."""
    module, _, found = compilation
    populations = fired(found.program, MultiHierarchical)
    assert [p.name for p in populations] == ["block.act1", "block.act2", "act3", "act4"]
    for population in populations:
        neuron, dynamics = module.get_submodule(population.name), population.dynamics
        assert (population.message.bits, population.message.scale) == (1, THETA)
        theta = dynamics.threshold.item()
        assert theta in [1 << n for n in range(6, 13)]
        assert population.initial().keys() == {"v"}
        assert population.initial()["v"].item() == theta // 2
        for name, values in neuron.factors().items():
            real = getattr(dynamics, name) / 2.0**dynamics.leak_shift
            assert np.abs(real[:, 0] - values.numpy()).max() <= 2.0 ** -(dynamics.leak_shift + 1)


def test_theta_goes_into_the_next_multiplier(compilation):
    """The accumulator of a convolution that reads spikes counts them; the port that takes it in makes theta of each."""
    _, _, found = compilation
    (port,) = found.program.by_name["block.act2"].ports
    (folded,) = found.folded.by_name["block.act2"].ports
    unit = THETA / float(found.program.by_name["block.act2"].dynamics.threshold.flat[0])
    gain = port.multiplier / 2.0**port.shift * unit
    assert np.abs(gain - folded.gain * THETA).max() <= 2.0 ** -(port.shift + 1) * unit


def test_nearly_every_spike_is_that_of_the_float_network(compilation):
    _, x, found = compilation
    program = found.program
    taps, equal = reference.run(program, encode(program, x)), []

    def observe(name: str, t: int, message: np.ndarray) -> np.ndarray:
        real = taps.messages[name][:, t] * program.message_of(name).scale
        if name in {p.name for p in fired(program, MultiHierarchical)}:
            equal.append((real == message.astype(np.float64)).mean())
        return real.astype(np.float64)  # each layer for itself: what one sends is what the next one reads

    evaluate(found.folded, x, observe)
    assert len(equal) == 4 * T
    assert min(equal) > 0.98, equal


def test_logits_are_those_of_the_module(compilation):
    module, x, found = compilation
    with torch.no_grad():
        wanted = module_logits(module, torch.from_numpy(x).float(), T).numpy()
    assert np.abs(evaluate(found.folded, x).logits - wanted).max() < 1e-4 * np.abs(wanted).max()
    logits = reference.run(found.program, encode(found.program, x)).logits * found.program.readout.scale
    assert np.linalg.norm(logits - wanted) < 0.2 * np.linalg.norm(wanted)


def test_every_executor_gives_the_same_integers(compilation, tmp_path):
    _, x, found = compilation
    storage.save(found.program, tmp_path / "model.hmdf")
    program = storage.load(tmp_path / "model.hmdf")
    executors = Simulator(threads=1), OnnxRuntime(threads=1), CompiledC(), Lava(time_limit=120)
    for verdict in compare(program, encode(program, x[:3]), list(executors)):
        assert verdict.bit_exact, f"{verdict.executor}: {verdict.first_mismatch}"
    assert all(not found.ranges.populations[p.name].state_clamps for p in fired(program, MultiHierarchical))


def one_layer(**options) -> tuple[nn.Module, np.ndarray]:
    """A convolution, one LM-H neuron a channel, a classifier."""
    torch.manual_seed(0)
    neuron = trained.MultiHierarchical(4, T, threshold=THETA, **options)
    module = nn.Sequential(nn.Conv2d(2, 4, 3), neuron, nn.Flatten(), nn.Linear(4 * 36, 3))
    return module.eval(), images(16)


def test_a_dendrite_that_is_the_current_is_leaky_integrate_and_fire():
    module, x = one_layer()
    messages = {}
    for feedback, kind in ((0.0, LeakyIntegrateAndFire), (1e-3, MultiHierarchical)):
        module[1].set_factors({"dendrite_feedback": feedback, "soma_leak": 0.9375})
        program = compiled(module, x).program
        (population,) = fired(program, kind)
        assert population.initial()["v"].item() == population.dynamics.threshold.item() // 2
        messages[feedback] = reference.run(program, encode(program, x)).messages[population.name]
    assert (messages[0.0] == messages[1e-3]).mean() > 0.99
    assert 0.1 < messages[0.0].mean() < 0.9


def test_a_neuron_that_starts_at_zero_has_no_initial_state():
    module, x = one_layer(initial_potential=0.0)
    assert not any(p.initial_state for p in compiled(module, x).program.populations)


@pytest.mark.parametrize("potential", [1e30, -1e30])
def test_a_start_that_no_register_holds_is_a_finding(potential):
    module, x = one_layer(initial_potential=potential)
    with pytest.raises(CompileError) as caught:
        compiled(module, x)
    assert "which 24 state bits and 16-bit multipliers cannot hold" in str(caught.value)
