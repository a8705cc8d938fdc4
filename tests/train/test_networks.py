from itertools import pairwise

import pytest
import torch
from torch import fx, nn

from hmdf.train.attention import SECA
from hmdf.train.errors import ModelError
from hmdf.train.networks import NETWORKS, NetworkSpec, build
from hmdf.train.neurons import HybridFiring, LeakyIntegrateAndFire, Neuron, ParallelFiring, Temporal
from hmdf.train.online import run
from hmdf.train.synapses import BinaryConv2d, BinaryLinear, LowBit, TernaryConv2d, TernaryLinear

PUBLISHED = [  # network, input, classes, options; low-bit weights, stem, classifier
    ("resnet18", (3, 32, 32), 10, {}, 11_157_504, 1_728, 5_130),
    ("resnet18", (3, 32, 32), 100, {}, 11_157_504, 1_728, 51_300),
    ("resnet34", (3, 224, 224), 1000, {"stem": "imagenet"}, 21_258_240, 9_408, 513_000),
    ("vgg13", (3, 64, 64), 200, {}, 9_400_320, 1_728, 102_600),
    ("vgg-snn", (2, 48, 48), 10, {"event": True}, 9_217_152, 0, 46_090),
]

PRINTED = [  # network, input, classes, options; MB of full-precision weights that LM-H and HM-DF print
    ("resnet19", (3, 32, 32), 10, {}, "50.48"),
    ("resnet19", (3, 32, 32), 100, {}, "50.57"),
    ("resnet18", (3, 32, 32), 10, {}, "44.66"),
    ("resnet18", (3, 32, 32), 100, {}, "44.84"),
    ("vgg13", (3, 64, 64), 200, {}, "38.02"),
    ("resnet34", (3, 224, 224), 1000, {"stem": "imagenet"}, "87.12"),
    ("vgg-snn", (2, 48, 48), 10, {"event": True}, "37.05"),
]

VARIANTS = [
    {"neuron": "plain", "parallel": "second"},
    {"neuron": "mpbn", "seca": "I", "downsample": "spikes", "weights": "binary"},
    {"neuron": "mpbn", "seca": "II", "parallel": "second", "mpbn_on": "membrane", "pool": "max"},
    {"neuron": "parallel", "seca": "II-gate", "weights": "binary", "weight_scale": "tensor"},
    {"neuron": "lif", "seca": "I", "weight_scale": "channel"},
    {"neuron": "lm-h", "threshold": 0.5, "weights": "float"},
    {"neuron": "plain", "block": "post", "seca": "II", "parallel": "second"},
    {"neuron": "qcfs", "weights": "float", "time_steps": 1},
]


@pytest.mark.parametrize(("name", "shape", "classes", "options", "megabytes"), PRINTED)
def test_full_precision_weights_have_the_printed_size(name, shape, classes, options, megabytes):
    """Weights and the classifier's biases at 4 bytes."""
    with torch.device("meta"):
        model = build(NetworkSpec(name, shape, classes, weights="float", **options))
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    count = sum(weight.numel() for weight in weights) + model.classifier.bias.numel()
    assert f"{count * 4 / 1e6:.2f}" == megabytes
    assert not any(isinstance(module, LowBit) for module in model.modules())


LM_H = {  # channels of convolutions with 3x3 kernels in order, sizes of the linear layers
    "resnet20": ((3, 16, *[16] * 6, *[32] * 6, *[64] * 6), (64, 10)),
    "resnet19": ((3, 64, *[128] * 6, *[256] * 6, *[512] * 4), (512, 256, 10)),
    "resnet19-wide": ((3, 128, *[128] * 6, *[256] * 6, *[512] * 4), (512 * 16, 256, 10)),
    "vgg13": ((3, 64, 64, 128, 128, 256, 256, 512, 512, 512, 512), (512, 4096, 4096, 10)),
    "vgg16": ((3, 64, 64, 128, 128, *[256] * 3, *[512] * 6), (512, 4096, 4096, 10)),
}


@pytest.mark.parametrize("name", LM_H)
def test_the_networks_of_lm_h(name):
    head = {"head": "linear"} if name == "vgg13" else {}
    with torch.device("meta"):
        model = build(NetworkSpec(name, (3, 32, 32), 10, weights="float", neuron="lm-h", **head))
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    sizes = linears[0].in_features, *(m.out_features for m in linears)
    assert ((3, *(m.out_channels for m in convs)), sizes) == LM_H[name]
    assert all(one.out_channels == two.in_channels for one, two in pairwise(convs))
    neurons = [m for m in model.modules() if isinstance(m, Neuron)]
    assert len(neurons) == len(convs) + len(linears) - 1
    shortcuts = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(shortcuts) == {"resnet20": 2, "resnet19": 3, "resnet19-wide": 2}.get(name, 0)


def test_the_post_activation_block_fires_after_the_sum():
    model = build(NetworkSpec("resnet20", (3, 8, 8), 10, width=4, neuron="lm-h")).eval()
    block = model.stages[1][0]
    seen = {}
    for name, module in (("conv", block.layer2.norm), ("shortcut", block.shortcut)):
        module.register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output}))
    block.act2.register_forward_hook(lambda _m, inputs, output: seen.update({"sum": inputs[0], "spikes": output}))
    x = (torch.rand(2, 4, 8, 8) > 0.5).float()
    assert torch.equal(block(x), seen["spikes"])
    assert torch.equal(seen["sum"], seen["conv"] + seen["shortcut"])
    identity = model.stages[0][0]
    torch.nn.init.zeros_(identity.layer2.norm.weight)
    x = (torch.rand(2, 4, 8, 8) > 0.5).float()
    assert torch.equal(identity(x), x)  # half a threshold to begin with, and a threshold where there is a spike


class LayerTracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, Temporal | LowBit | SECA) or super().is_leaf_module(module, name)


@pytest.mark.parametrize(("name", "shape", "classes", "options", "low_bit", "stem", "head"), PUBLISHED)
def test_weights_are_the_published_numbers(name, shape, classes, options, low_bit, stem, head):
    with torch.device("meta"):
        model = build(NetworkSpec(name, shape, classes, **options))
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert sum(module.weight.numel() for module in convs if isinstance(module, LowBit)) == low_bit
    assert sum(module.weight.numel() for module in convs if not isinstance(module, LowBit)) == stem
    assert sum(parameter.numel() for parameter in model.classifier.parameters()) == head


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_variant_runs_and_is_traced_exactly(name, variant):
    torch.manual_seed(0)
    event = name == "vgg-snn"
    shape = (2, 16, 16) if event else (3, 32, 33) if name == "vgg16" else (3, 18, 22)
    options = {"time_steps": 3, **variant}
    steps = options["time_steps"]
    model = build(NetworkSpec(name, shape, classes=7, width=4, event=event, **options)).eval()
    x = torch.randn(2, steps, *shape) if event else torch.randn(2, *shape)
    with torch.no_grad():
        logits = run(model, x, steps)
        traced = fx.GraphModule(model, LayerTracer().trace(model))
        assert torch.equal(run(traced, x, steps), logits)
    assert logits.shape == (steps, 2, 7)
    assert logits[0].std() > 0
    kinds = {"ternary": (TernaryConv2d, TernaryLinear), "binary": (BinaryConv2d, BinaryLinear), "float": ()}
    wanted = kinds[variant.get("weights", "ternary")]
    assert all(isinstance(module, wanted) for module in model.modules() if isinstance(module, LowBit))
    assert any(isinstance(module, SECA) for module in model.modules()) == ("seca" in variant)


def neurons_of(**options) -> list[type]:
    model = build(NetworkSpec("resnet18", (3, 8, 8), 10, width=2, **options))
    return [type(module) for module in model.modules() if isinstance(module, Neuron)]


def test_parallel_option_chooses_the_neurons():
    assert set(neurons_of(parallel="none")) == {HybridFiring}
    assert neurons_of(parallel="second") == [HybridFiring, ParallelFiring] * 8
    assert set(neurons_of(parallel="all")) == set(neurons_of(neuron="parallel")) == {ParallelFiring}
    assert set(neurons_of(neuron="lif")) == {LeakyIntegrateAndFire}


def test_the_papers_mix_normalises_the_membranes_alone():
    """Fig. 2(c), MPBN, for the first neuron of a block, and fig. 2(a), which has none, for the second."""
    for mpbn_on, second in (("membrane", False), ("all", True)):
        model = build(NetworkSpec("resnet18", (3, 8, 8), 10, width=2, parallel="second", mpbn_on=mpbn_on))
        neurons = [module for module in model.modules() if isinstance(module, Neuron)]
        assert [type(neuron) for neuron in neurons] == [HybridFiring, ParallelFiring] * 8
        assert [neuron.mpbn for neuron in neurons] == [True, second] * 8


def gate_of(seca: SECA, pooled: torch.Tensor) -> torch.Tensor:
    """sigmoid(conv1d(global average)), (N, C, 1, 1)."""
    return torch.sigmoid(seca.conv(pooled.mean((2, 3))[:, None]))[:, 0, :, None, None]


@pytest.mark.parametrize("seca", ["I", "II", "II-gate"])
def test_the_kinds_of_attention(seca):
    """Eq. 8 and 9: the current before the first layer is the block's input, that before the second the first's."""
    torch.manual_seed(0)
    block = build(NetworkSpec("resnet18", (3, 8, 8), 10, width=4, neuron="plain", seca=seca)).eval().stages[0][0]
    seen = {}
    block.act2.register_forward_hook(lambda _m, inputs, _o: seen.update(first=inputs[0]))
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        y = block(x)
        block.act1.reset()
        block.act2.reset()
        one = block.layer1.norm(block.layer1.conv(block.act1(x)))
        two = block.layer2.norm(block.layer2.conv(block.act2(seen["first"])))
    for layer, previous, current, found in (
        (block.layer1, x, one, seen["first"]),
        (block.layer2, one, two, y - x),
    ):
        pooled = current if seca == "I" else previous + current
        scaled = previous + current if seca == "II" else current
        assert torch.allclose(found, gate_of(layer.seca, pooled) * scaled, atol=1e-6)


def test_only_the_stem_and_the_classifier_of_image_models_are_full_precision():
    for event, full in ((False, ["stem", "classifier"]), (True, ["classifier"])):
        model = build(NetworkSpec("resnet18", (2, 8, 8), 10, width=2, event=event))
        kinds = (nn.Conv2d, nn.Linear)
        names = [n for n, m in model.named_modules() if isinstance(m, kinds) and not isinstance(m, LowBit)]
        assert names == full


def test_downsample_reads_current_or_spikes():
    for downsample in ("current", "spikes"):
        model = build(NetworkSpec("resnet18", (3, 8, 8), 10, width=4, downsample=downsample)).eval()
        block = model.stages[1][0]
        seen = []
        block.act1.register_forward_hook(lambda _m, inputs, output, seen=seen: seen.extend([inputs[0], output]))
        block.shortcut.register_forward_hook(lambda _m, inputs, _o, seen=seen: seen.append(inputs[0]))
        model(torch.randn(2, 3, 8, 8))
        current, spikes, read = seen
        assert torch.equal(read, current if downsample == "current" else spikes)


def test_residual_block_adds_the_real_valued_current():
    model = build(NetworkSpec("resnet18", (3, 8, 8), 10, width=4)).eval()
    block = model.stages[0][1]
    torch.nn.init.zeros_(block.layer2.norm.weight)
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), x)


def test_spec_round_trip_and_unknown_options():
    spec = NetworkSpec("vgg13", (3, 64, 64), 200, seca="II", spike_bits=None)
    assert NetworkSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(ModelError, match=r"unknown network option 'neurn' \(did you mean 'neuron'"):
        NetworkSpec.from_dict({**spec.to_dict(), "neurn": "lif"})
    with pytest.raises(ModelError, match="lacks classes"):
        NetworkSpec.from_dict({"name": "small", "input_shape": (1, 8, 8)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "smal"}, "did you mean 'small'"),
        ({"weights": "quaternary"}, "weights must be one of ternary, binary"),
        ({"input_shape": (3, 0, 8)}, "input_shape"),
        ({"classes": -1}, "classes"),
        ({"time_steps": 10**9}, "time_steps"),
        ({"width": 2.5}, "width"),
        ({"spike_bits": 12}, "spike_bits"),
        ({"spike_lsb": 0.0}, "spike_lsb"),
        ({"neuron": "lif", "parallel": "all"}, "lif neuron has no parallel form"),
        ({"head": "linear"}, "head is chosen for vgg13 alone"),
        ({"neuron": "lm-h", "parallel": "second"}, "lm-h neuron has no parallel form"),
        ({"threshold": 0}, "threshold must be positive"),
        ({"initial_potential": "half"}, "initial_potential must be a finite number"),
        ({"seca": "III"}, "seca must be one of none, I, II, II-gate"),
        ({"neuron": "qcfs"}, r"no time: time_steps must be 1 \(got 4\)"),
        ({"neuron": "qcfs", "time_steps": 1, "levels": 0}, "levels must be a positive integer"),
    ],
)
def test_invalid_spec_names_the_option(change, message):
    with pytest.raises(ModelError, match=message):
        NetworkSpec(**{"name": "resnet18", "input_shape": (3, 32, 32), "classes": 10, **change})


def test_vgg_on_a_too_small_input_is_refused():
    with pytest.raises(ModelError, match="down to nothing"):
        build(NetworkSpec("vgg-snn", (2, 8, 8), 10))
