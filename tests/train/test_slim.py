"""Slim checkpoints: a tenth of the length, the same network to the last bit."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hmdf.train import checkpoint, slim
from hmdf.train.data import Preprocessing
from hmdf.train.errors import ModelError
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.online import run
from hmdf.train.synapses import BinaryConv2d, BinaryLinear, TernaryConv2d, TernaryLinear

KINDS = [
    (kind, per) for kind in (TernaryConv2d, BinaryConv2d, TernaryLinear, BinaryLinear) for per in ("tensor", "channel")
]
WEIGHT = "block.layer1.conv.weight"


def layer(kind, per: str, weight: torch.Tensor):
    """A synapse with these weights, (C_out, C_in) or (C_out, C_in, k, k)."""
    synapse = kind(weight.shape[1], weight.shape[0], *weight.shape[3:], scale_per=per)
    synapse.weight = torch.nn.Parameter(weight.clone())
    return synapse


def check_exact(kind, per: str, weight: torch.Tensor) -> None:
    original = layer(kind, per, weight)
    packed = slim.pack(original)
    assert packed is not None
    assert packed["codes"].numel() == -(-weight.numel() * original.weight_bits // 8)
    restored = layer(kind, per, slim.unpack(original, packed))
    for one, other in zip(original.quantized(), restored.quantized(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(original.low_bit_weight(), restored.low_bit_weight())
    # magnitudes add up without rounding in any order: the scale depends neither on threads nor on the processor
    groups = restored.weight.detach().abs().reshape(1 if per == "tensor" else len(weight), -1)
    for order in (torch.arange(groups.shape[1]), torch.randperm(groups.shape[1])):
        one_by_one = groups[:, order].cumsum(1)[:, -1]
        assert torch.equal(one_by_one.double(), groups.double().sum(1))
    again = slim.pack(restored)
    assert all(torch.equal(again[key], packed[key]) for key in packed)


# Magnitudes of trained weights and far beyond; outside, a layer may be kept as it is, see below.
values = st.floats(-1e6, 1e6, width=32).map(lambda v: v if abs(v) > 1e-12 else 0.0)
shapes = st.tuples(st.integers(1, 5), st.integers(1, 7))


@pytest.mark.parametrize(("kind", "per"), [pair for pair in KINDS if "Linear" in pair[0].__name__])
@given(weight=shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=values)))
@settings(max_examples=300, deadline=None)
def test_packed_weights_are_used_exactly_as_before(kind, per, weight):
    check_exact(kind, per, torch.from_numpy(weight))


@pytest.mark.parametrize(("kind", "per"), [pair for pair in KINDS if "Conv" in pair[0].__name__])
@given(seed=st.integers(0, 2**32), shape=st.sampled_from([(1, 1, 1), (3, 5, 3), (16, 16, 3), (64, 48, 3)]),
       spread=st.floats(1e-6, 1e3))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_weights_of_every_spread(kind, per, seed, shape, spread):
    generator = torch.Generator().manual_seed(seed)
    check_exact(kind, per, torch.randn(*shape, shape[-1], generator=generator) * spread)


@pytest.mark.parametrize(("kind", "per"), KINDS[:4])
def test_a_large_layer(kind, per):
    check_exact(kind, per, torch.randn(512, 512, 3, 3, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(("kind", "per"), KINDS)
def test_layers_of_zeros(kind, per):
    shape = (3, 4, 1, 1) if "Conv" in kind.__name__ else (3, 4)
    check_exact(kind, per, torch.zeros(shape))
    half = torch.zeros(shape)
    half[1] = torch.tensor([0.0, 0.5, -0.25, 1.0]).view(half[1].shape)
    check_exact(kind, per, half)


def test_what_cannot_be_exact_stays_as_it_is():
    weight = torch.full((2, 3), torch.inf)
    model = torch.nn.Sequential(layer(BinaryLinear, "tensor", weight))
    state, packed = slim.pack_state(model)
    assert packed == {}
    assert torch.equal(state["0.weight"], weight)


# ------------------------------------------------------------------------------------ files


def saved(path, slim_form: bool, **options):
    spec = NetworkSpec("small", (1, 8, 8), 3, time_steps=2, width=6, **options)
    torch.manual_seed(0)
    found = checkpoint.Checkpoint(
        network=spec,
        preprocessing=Preprocessing(16.0, (0.3,), (0.4,)),
        class_names=("a", "b", "c"),
        dataset="digits",
        state=build(spec).state_dict(),
        metrics={"test_accuracy": 0.5},
        training={"epochs": 1},
        slim=slim_form,
    )
    checkpoint.save(path, found)
    return found


@pytest.fixture
def path(tmp_path):
    saved(tmp_path / "model.pt", True)
    return tmp_path / "model.pt"


@pytest.mark.parametrize("weights", ["ternary", "binary"])
@pytest.mark.parametrize("scale", ["tensor", "channel"])
def test_round_trip(tmp_path, weights, scale):
    full = saved(tmp_path / "full.pt", False, weights=weights, weight_scale=scale)
    saved(tmp_path / "slim.pt", True, weights=weights, weight_scale=scale)
    loaded = checkpoint.load(tmp_path / "slim.pt")
    assert loaded.slim
    assert not checkpoint.load(tmp_path / "full.pt").slim
    for field in dataclasses.fields(full):
        if field.name not in ("state", "slim"):
            assert getattr(loaded, field.name) == getattr(full, field.name), field.name
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(run(loaded.build(), x, 2), run(full.build(), x, 2))
    stored = torch.load(tmp_path / "slim.pt", weights_only=True)
    assert len(stored["low_bit"]) == 3
    assert not set(stored["low_bit"]) & set(stored["state"])
    checkpoint.save(tmp_path / "again.pt", loaded)
    again = checkpoint.load(tmp_path / "again.pt")
    assert all(torch.equal(tensor, again.state[name]) for name, tensor in loaded.state.items())


def test_a_network_of_millions_of_weights_is_about_a_megabyte(tmp_path):
    spec = NetworkSpec("resnet18", (3, 32, 32), 10, width=32)
    preprocessing = Preprocessing(255.0, (0.5,), (0.25,))
    state = build(spec).state_dict()
    found = checkpoint.Checkpoint(spec, preprocessing, tuple("abcdefghij"), "cifar10", state, slim=True)
    checkpoint.save(tmp_path / "model.pt", found)
    assert (tmp_path / "model.pt").stat().st_size < 1.1e6
    assert sum(tensor.numel() for tensor in state.values()) > 2.8e6


def test_a_slim_checkpoint_has_nothing_to_resume(tmp_path, path):
    with pytest.raises(ModelError, match="cannot hold what a run needs"):
        checkpoint.save(path, dataclasses.replace(checkpoint.load(path), resume={"epoch": 1}))
    assert checkpoint.is_slim(path)
    saved(path, False)
    assert not checkpoint.is_slim(path)
    path.write_bytes(b"no checkpoint")
    assert not checkpoint.is_slim(path)
    assert not checkpoint.is_slim(tmp_path / "none.pt")


def refused(path, reason: str, change) -> None:
    """The file is refused after ``change(content)``, in one line that names it."""
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(ModelError, match=reason) as error:
        checkpoint.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def replaced(key: str, value):
    return lambda content: content["low_bit"][WEIGHT].update({key: value})


CODES = torch.full((81,), 0b01010101, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content.pop("low_bit"), "lacks 'low_bit'"),
        (lambda content: content.update(low_bit=[1]), "'low_bit' must be a dict"),
        (lambda content: content["low_bit"].pop(WEIGHT), f"the state lacks '{WEIGHT}'"),
        (lambda content: content["low_bit"].update({"none.weight": {}}), "'none.weight' is packed, but is no low-bit"),
        (lambda content: content["low_bit"].update({7: {}}), "7 is packed, but is no low-bit"),
        (lambda content: content["low_bit"].update({WEIGHT: torch.ones(3)}), "must have 'codes' and 'total'"),
        (lambda content: content["low_bit"][WEIGHT].pop("total"), "must have 'codes' and 'total'"),
        (lambda content: content["state"].update({WEIGHT: torch.ones(6, 6, 3, 3)}), "which is packed too"),
        (replaced("codes", CODES[:-1]), r"'codes' is torch.uint8 \(80,\), the network needs torch.uint8 \(81,\)"),
        (replaced("codes", CODES.float()), "'codes' is torch.float32"),
        (replaced("codes", [1, 2]), "'codes' is a list"),
        (replaced("codes", CODES + 0b10), "the code 3 stands for no ternary weight"),
        (replaced("total", torch.ones(6)), r"'total' is torch.float32 \(6,\), the network needs torch.float32 \(1,\)"),
        (replaced("total", torch.tensor([torch.nan])), "must be finite and not negative"),
        (replaced("total", torch.tensor([torch.inf])), "must be finite and not negative"),
        (replaced("total", torch.tensor([-1.0])), "must be finite and not negative"),
        (lambda content: content["network"].update(width=10**6), "'codes' is torch.uint8"),
    ],
)
def test_a_hostile_file(path, change, reason):
    refused(path, reason, change)


def test_a_view_larger_than_the_file(path):
    """A byte that is repeated a million million times would fit the shape of an enormous network."""
    huge = NetworkSpec("small", (1, 8, 8), 3, time_steps=2, width=10**6).to_dict()
    codes = torch.zeros(1, dtype=torch.uint8).expand(9 * 10**12 // 4)

    def enlarge(content):
        content["network"] = huge
        content["low_bit"][WEIGHT]["codes"] = codes

    refused(path, "its tensors are 22500", enlarge)


@pytest.mark.parametrize("tensor", [torch.zeros(6, 1, 3, 3).to_sparse(), torch.empty(6, 1, 3, 3, device="meta")])
def test_a_tensor_that_is_not_stored_whole(path, tensor):
    refused(path, "not stored whole", lambda content: content["state"].update({"stem.weight": tensor}))
