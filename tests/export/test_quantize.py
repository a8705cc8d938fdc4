"""Choosing the integers: accuracy against the folded float network, safety of every register, and what is told."""

from itertools import product

import numpy as np
import pytest
import torch
from networks import images, module_logits, settled, small
from torch import nn

import hmdf
from hmdf.export.config import Config, ConfigError, load_config
from hmdf.export.errors import CompileError, NarrowAccumulators
from hmdf.export.evaluate import evaluate
from hmdf.export.integers import largest_shift
from hmdf.export.passes.calibrate import best_lsb
from hmdf.export.passes.quantize import _ternary
from hmdf.sim import ranges, reference
from hmdf.sim.contract import HybridFiring, LookupTable, Relay, WeightedOp
from hmdf.sim.encoder import clipped_share, encode, normalise
from hmdf.sim.errors import InputError
from hmdf.sim.program import Preprocessing
from hmdf.train.neurons import GradedSpike, ParallelFiring, powers_of_two
from hmdf.train.neurons import HybridFiring as HybridFiringNeuron
from hmdf.train.synapses import BinaryLinear, TernaryConv2d

T = 4


def compiled(module: nn.Module, x: np.ndarray, **options):
    example = torch.from_numpy(x[:1]).float()
    return hmdf.compile(module, example, calibration=x, target=options.pop("target", "loihi2"), **options)


def network(**options) -> tuple[nn.Module, np.ndarray]:
    x = images(16)
    module = settled(small(**options), torch.from_numpy(x).float(), T)
    return module, x


def noise_ratio(compilation, x: np.ndarray) -> dict[str, float]:
    """Root mean square error of every message, relative to the float message's root mean square."""
    program = compilation.program
    taps = reference.run(program, encode(program, x))
    ratios: dict[str, float] = {}
    errors: dict[str, list] = {p.name: [] for p in program.populations}

    def observe(name: str, t: int, message: np.ndarray) -> None:
        real = taps.messages[name][:, t] * program.message_of(name).scale
        errors[name].append((np.square(real - message).mean(), np.square(message).mean()))

    evaluate(compilation.folded, x, observe)
    for name, pairs in errors.items():
        noise, signal = np.mean(pairs, axis=0)
        ratios[name] = float(np.sqrt(noise / max(signal, 1e-12)))
    return ratios


@pytest.mark.parametrize("seca", ["none", "I", "II", "II-gate"])
@pytest.mark.parametrize("neuron", ["plain", "mpbn", "parallel"])
def test_with_fine_spikes_every_message_is_close_to_the_float_network(neuron, seca):
    module, x = network(neuron=neuron, seca=seca, spike_bits=8, spike_lsb=1 / 64)
    compilation = compiled(module, x, config=Config(input_bits=16, gate_bits=12))
    worst = noise_ratio(compilation, x)
    assert max(worst.values()) < 0.05, worst


def test_logits_follow_the_float_network():
    module, x = network(neuron="mpbn", spike_bits=8, spike_lsb=1 / 32)
    compilation = compiled(module, x, config=Config(input_bits=16))
    program = compilation.program
    logits = reference.run(program, encode(program, x)).logits * program.readout.scale
    expected = evaluate(compilation.folded, x).logits
    assert np.abs(logits - expected).max() < 0.03 * np.abs(expected).max()


def test_spikes_keep_bits_and_lsb_of_training():
    module, x = network(neuron="plain", spike_bits=3, spike_lsb=0.5)
    for population in compiled(module, x).program.populations:
        if isinstance(population.dynamics, HybridFiring):
            assert (population.message.bits, population.message.scale) == (3, 0.5)


@pytest.mark.parametrize("activation", ["clipped", "power-of-two"])
def test_other_activations_are_the_same_in_integers(activation):
    module, x = network(neuron="mpbn", spike_bits=4, activation=activation)
    program = compiled(module, x).program
    taps = reference.run(program, encode(program, x))
    expected = module_logits(module, torch.from_numpy(x).float(), program.time_steps).detach().numpy()
    assert np.abs(taps.logits * program.readout.scale - expected).mean() < 0.2 * np.abs(expected).mean()
    rounded = [name for name in taps.messages if name.endswith(".powers")]
    assert len(rounded) == (4 if activation == "power-of-two" else 0)
    for name in rounded:
        spikes = taps.messages[name.removesuffix(".powers")]
        assert spikes.max() > 4
        assert np.array_equal(taps.messages[name], np.array(powers_of_two(4))[spikes])


def test_float_spikes_are_calibrated():
    module, x = network(neuron="plain", spike_bits=None)
    program = compiled(module, x, config=Config(spike_bits=6)).program
    scales = {p.message.scale for p in program.populations if isinstance(p.dynamics, HybridFiring)}
    assert len(scales) > 1
    assert {p.message.bits for p in program.populations if isinstance(p.dynamics, HybridFiring)} == {6}


def test_pools_of_spikes_lose_nothing():
    module, x = network(neuron="plain", spike_bits=4)
    program = compiled(module, x).program
    pool = program.by_name["pool"]
    assert isinstance(pool.dynamics, Relay)
    assert pool.message.bits == 6
    assert pool.message.scale == 0.25 / 4
    assert pool.ports[0].multiplier.tolist() == [[1]]
    assert pool.ports[0].shift == 0


def test_nothing_saturates_where_the_compiler_says_so():
    module, x = network(neuron="mpbn", seca="I")
    compilation = compiled(module, x)
    taps = reference.run(compilation.program, encode(compilation.program, 30 * x))
    for name, proof in compilation.ranges.populations.items():
        assert proof.state_clamps or not taps.saturations[name][0], name


def test_a_gate_is_a_table_between_zero_and_one():
    module, x = network(neuron="plain", seca="I")
    program = compiled(module, x).program
    tables = [p for p in program.populations if isinstance(p.dynamics, LookupTable)]
    assert tables
    for gate in tables:
        values = gate.dynamics.table * gate.message.scale
        assert (np.diff(values) >= 0).all()
        assert 0 <= values[0] < 0.5 <= values[128] < 1


# ------------------------------------------------------------------ accumulators that must be safe


class Wide(nn.Module):
    """A relay of 16 bits into a linear layer over `features`, whose accumulator 24 bits cannot hold."""

    def __init__(self, features: int = 256, kernel: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(1, features, 3)
        self.act = ParallelFiring(features, 2, spike=GradedSpike(4))
        self.mix = TernaryConv2d(features, features, kernel)
        self.norm = nn.BatchNorm2d(features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(features, 3)

    def forward(self, x):
        return self.head(torch.flatten(self.pool(self.norm(self.mix(self.act(self.conv(x))))), 1))


def test_message_bits_are_lowered_to_the_most_that_is_safe_and_it_is_said():
    torch.manual_seed(0)
    x = images(8, (1, 5, 5))
    module = settled(Wide(), torch.from_numpy(x).float(), 2)
    compilation = compiled(module, x)
    program = compilation.program
    feeding = program.message_of(program.by_name["head"].source)
    assert 2 < feeding.bits < 16
    (note,) = [n for n in compilation.notes if n.where == program.by_name["head"].source]
    assert f"{feeding.bits} bits instead of 16" in note.problem
    assert "'head'" in note.problem
    # One bit more could overflow: the worst case of the head's weights with the wider message.
    reach = int(np.abs(program.by_name["head"].op.weight.astype(int)).sum(axis=1).max())
    assert reach * 2 ** (feeding.bits - 1) < 2**23
    assert reach * 2**feeding.bits >= 2**23
    assert compilation.ranges.synapses["head"].bits <= 24


def test_no_message_is_wider_than_the_target_carries_and_it_is_said():
    """Akida: 8-bit inputs, 4-bit activations; the pool's lossless 6 bits are too many for it."""
    x = images(8)
    module = settled(small(spike_bits=8, spike_lsb=1 / 64), torch.from_numpy(x).float(), T)
    compilation = compiled(module, x, target="akida")
    program = compilation.program
    assert program.input.message.bits == 8
    assert {p.message.bits for p in program.populations} == {4}
    said = {n.where: n.problem for n in compilation.notes}
    assert set(said) >= {p.name for p in program.populations}
    assert said["act3"] == "its message has 4 bits instead of 8: the target carries 4"


def test_an_accumulator_that_no_width_makes_safe_is_refused():
    module = Wide(features=8)
    module.head = nn.Linear(8, 3)
    x = images(4, (1, 5, 5))
    settled(module, torch.from_numpy(x).float(), 2)
    narrow = hmdf.load_target("loihi2")
    import msgspec

    capabilities = msgspec.structs.replace(narrow.capabilities, accumulator_bits=8)
    target = msgspec.structs.replace(narrow, capabilities=capabilities)
    with pytest.raises(NarrowAccumulators) as caught:
        compiled(module, x, target=target)
    assert {finding.resource for finding in caught.value.findings} >= {"accumulator_bits"}
    text = str(caught.value)
    assert "stem" in text or "conv" in text
    assert "cannot be proven safe" in text
    assert "127" in text, "the limit is named"


def test_every_accumulator_of_a_compiled_program_is_proven():
    module, x = network(neuron="mpbn", seca="II")
    program = compiled(module, x).program
    assert all(interval.bits <= 24 for interval in ranges.prove(program).synapses.values())


# ---------------------------------------------------------------------------- settings, input


def test_bits_can_be_set_per_population(tmp_path):
    path = tmp_path / "bits.toml"
    path.write_text('input_bits = 6\n[bits]\nstem_norm = 10\n"block.act1" = 2\n')
    module, x = network(neuron="plain")
    program = compiled(module, x, config=load_config(path)).program
    assert program.input.message.bits == 6
    assert program.message_of("stem_norm").bits == 10
    assert program.message_of("block.act1").bits == 2
    assert program.message_of("block.act1").scale == 0.25 * 4, "the range is kept, the LSB grows"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("message_bits = 99", "message_bits"),
        ("colour = 1", "colour"),
        ("spike_bits = 'x'", "spike_bits"),
        ("= 3", "TOML|Invalid"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, named):
    path = tmp_path / "bits.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_config(path)


@pytest.mark.parametrize("name", ["input", "stem_norm"])
def test_one_bit_for_a_message_with_a_sign_is_refused(name):
    module, x = network()
    with pytest.raises(CompileError, match=f"{name}: its message is set to 1 bit, but it has a sign and needs 2"):
        compiled(module, x, config=Config(bits={name: 1}))


def test_bits_for_a_population_that_is_not_there_are_refused():
    module, x = network(neuron="plain")
    with pytest.raises(CompileError, match=r"'nowhere', which is no population.*block\.act1"):
        compiled(module, x, config=Config(bits={"nowhere": 4}))


def test_calibration_with_a_value_that_is_not_a_number_is_refused():
    module, x = network(neuron="plain")
    x[3, 1, 2, 5] = np.nan
    with pytest.raises(InputError, match=r"sample 3 is nan at \(1, 2, 5\)"):
        compiled(module, x)


def test_event_counts_are_taken_as_they_are():
    module = small(neuron="plain", event=True)
    x = np.random.default_rng(0).poisson(0.3, (8, T, 2, 8, 8)).astype(np.float64)
    settled(module, torch.from_numpy(x).float(), T)
    program = compiled(module, x).program
    assert (program.input.timing, program.input.message.signed, program.input.message.scale) == ("frames", False, 1.0)
    assert np.array_equal(encode(program, x), x)
    assert program.carries_spikes(program.synapses[0])


@pytest.mark.parametrize(("highest", "noted"), [(1, True), (16, True), (200, False)])
def test_raw_values_that_use_little_of_their_range_keep_their_bits(highest, noted):
    """uint8 images of 0 and 1, or of a few grey levels, would lose their low bits to a range of 0..255."""
    raw = np.random.default_rng(0).integers(0, highest + 1, (16, 2, 8, 8))
    preprocessing = Preprocessing(255.0, (raw.mean() / 255,), (raw.std() / 255,))
    x = normalise(raw, preprocessing)
    compilation = compiled(network(neuron="plain")[0], x, preprocessing=preprocessing)
    encoded = encode(compilation.program, x)
    assert len(np.unique(encoded)) >= min(len(np.unique(raw)), 100)
    assert clipped_share(compilation.program, x) == 0
    assert any("range of raw values" in str(note) for note in compilation.notes) == noted


@pytest.mark.parametrize("gain", [-1.0, 0.0])
def test_logits_with_a_gain_that_is_not_positive(gain):
    module, x = network(neuron="plain")

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            return self.inner(x) * gain

    program, plain = compiled(Scaled(), x).program, compiled(module, x).program
    logits, expected = (reference.run(p, encode(p, x)).logits * p.readout.scale for p in (program, plain))
    assert np.allclose(logits, gain * expected, atol=1e-9 * np.abs(expected).max())


def test_a_dead_layer_compiles_and_is_stored(tmp_path):
    module, x = network(neuron="plain")
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    compilation = compiled(module, x)
    hmdf.save(compilation.program, tmp_path / "dead.hmdf")
    program = hmdf.load(tmp_path / "dead.hmdf")
    assert program.sha256 == compilation.program.sha256
    assert any("its current is 0 on every calibration sample" in str(note) for note in compilation.notes)
    taps = reference.run(program, encode(program, x))
    assert not any(message.any() for message in taps.messages.values())


def test_a_current_far_below_one_unit_of_its_source_compiles():
    """Its LSB is the finest that the largest multiplier can express; with this seed a rounding beyond it."""
    torch.manual_seed(19)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), HybridFiringNeuron(4, 1), TernaryConv2d(4, 4, 3), nn.BatchNorm2d(4),
        nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip
    nn.init.constant_(module[1].bias, -9)  # no spike ever
    module[4].running_mean.uniform_(-1e-6, 1e-6)
    program = compiled(module.eval(), np.random.default_rng(19).normal(size=(8, 1, 8, 8))).program
    largest = [int(np.abs(port.multiplier).max()) for p in program.populations for port in p.ports]
    assert 2**15 - 1 in largest


@pytest.mark.parametrize("real", [32767.0, 32767.49, 32767.51, 1.0, 0.99999, 16383.74, 16383.76, 1e-12, 5e-324, 1e9])
def test_the_shift_of_a_multiplier_is_the_largest_that_fits(real):
    shift = largest_shift(np.array([[real, -real / 3]]), 30)
    fits = [n for n in range(31) if np.rint(real * 2.0**n) <= 2**15 - 1]
    assert shift == max(fits, default=-1)


@pytest.mark.parametrize(("scale_per", "bits"), [("channel", 8), ("tensor", 1)])
def test_a_classifier_with_a_scale_per_class_becomes_8_bit_and_it_is_said(scale_per, bits):
    """The read-out has one scale for all classes, which are compared with each other."""
    torch.manual_seed(1)
    head = BinaryLinear(144, 3, scale_per=scale_per)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), HybridFiringNeuron(4, 2), nn.Flatten(), head)
    compilation = compiled(module.eval(), np.random.default_rng(1).normal(size=(8, 1, 8, 8)))
    assert compilation.program.by_name["layer3"].op.weight_bits == bits
    notes = [note.problem for note in compilation.notes if note.where == "layer3"]
    said = "its 1-bit weights become 8-bit: their scale is one per class, and the read-out has one for all"
    assert notes == ([said] if bits == 8 else [])


def test_the_compilation_says_what_does_not_fit():
    module, x = network(neuron="plain")
    assert compiled(module, x).fits
    graded = compiled(module, x, target="truenorth")
    assert not graded.fits
    assert {finding.resource for finding in graded.misfits} >= {"message_bits"}
    assert set(graded.findings) == {*graded.notes, *graded.misfits}


def test_best_lsb_beats_its_neighbours():
    values = np.random.default_rng(0).exponential(0.3, 5000)

    def error(lsb: float) -> float:
        return float(np.square(np.clip(np.floor(values / lsb + 0.5), 0, 15) * lsb - values).sum())

    best = best_lsb(values, 4)
    assert error(best) < error(values.max() / 15)
    assert error(best) <= min(error(best * 1.1), error(best / 1.1))


def test_the_api_compiles_and_simulates():
    module, x = network(neuron="plain")
    program = hmdf.compile(module, torch.from_numpy(x).float(), target="loihi2").program
    result = hmdf.simulate(program, x)
    assert result.logits.shape == (16, 5)


def test_ternary_weights_on_request_have_the_least_squared_error():
    """Against every choice of which weights stay, for each output channel."""
    rng = np.random.default_rng(0)
    rows = np.vstack([rng.normal(size=(3, 7)), np.zeros((1, 7))])
    ternary, scale = _ternary(rows)
    assert set(np.unique(ternary)) <= {-1.0, 0.0, 1.0}
    for row, kept, unit in zip(rows, ternary, scale, strict=True):
        errors = []
        for mask in product((0, 1), repeat=len(row)):
            chosen = np.array(mask, bool)
            mean = np.abs(row[chosen]).mean() if chosen.any() else 0.0
            errors.append(np.square(row - np.sign(row) * chosen * mean).sum())
        assert np.isclose(np.square(row - unit * kept).sum(), min(errors))
    module, x = network()
    program = compiled(module, x, config=Config(weight_bits=2)).program
    assert {s.op.weight_bits for s in program.synapses if isinstance(s.op, WeightedOp)} <= {1, 2}
