import pytest

from hmdf.train.config import TrainingConfig, config_names, read_config
from hmdf.train.data import DATASETS
from hmdf.train.errors import ModelError
from hmdf.train.networks import NetworkSpec, build

SHAPES = {
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "tiny-imagenet": ((3, 64, 64), 200),
    "imagenet": ((3, 224, 224), 1000),
    "dvs-cifar10": ((2, 48, 48), 10),
}
# low-bit weights and all weights that the papers print for these networks
WEIGHTS = {
    "resnet18-cifar10": (11_157_504, 1_728 + 5_130),
    "resnet18-cifar100": (11_157_504, 1_728 + 51_300),
    "resnet34-imagenet": (21_258_240, 9_408 + 513_000),
    "vgg13-tiny-imagenet": (9_400_320, 1_728 + 102_600),
    "vgg-snn-dvs-cifar10": (9_217_152, 46_090),
}


def spec_of(name: str) -> NetworkSpec:
    config = read_config(name)
    assert config.data is not None
    shape, classes = SHAPES[config.data.partition(":")[0]]
    return NetworkSpec(**{**config.network, "input_shape": shape, "classes": classes, "event": shape[0] == 2})


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_setting_is_complete(name):
    config = read_config(name)
    assert config.data is not None
    assert config.data.partition(":")[0] in DATASETS
    training = TrainingConfig(**config.training)
    assert (training.epochs, training.momentum, training.backprop, training.warmup_epochs) == (300, 0.9, "random", 0)
    spec = spec_of(name)
    assert spec.width is None
    assert spec.spike_bits is None


def test_the_papers_rows():
    rows = {name: (spec_of(name), TrainingConfig(**read_config(name).training)) for name in config_names()}
    assert {name: (spec.neuron, spec.parallel, spec.weights, spec.time_steps) for name, (spec, _) in rows.items()} == {
        "resnet18-cifar10": ("plain", "second", "binary", 4),
        "resnet18-cifar100": ("plain", "second", "binary", 4),
        "resnet18-seca-cifar10": ("mpbn", "second", "binary", 4),
        "resnet18-seca-cifar100": ("mpbn", "second", "binary", 4),
        "resnet34-imagenet": ("plain", "second", "ternary", 4),
        "vgg13-tiny-imagenet": ("plain", "none", "binary", 4),
        "resnet18-dvs-cifar10": ("mpbn", "second", "binary", 10),
        "vgg-snn-dvs-cifar10": ("mpbn", "none", "binary", 10),
    }
    for name, (_, training) in rows.items():
        size = 256 if "resnet34" in name else 32 if "dvs" in name else 64
        rate, decay = (0.025, 0) if "resnet34" in name else (0.01, 5e-4)
        assert (training.batch_size, training.learning_rate, training.weight_decay) == (size, rate, decay)


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_networks_have_the_published_number_of_weights(name):
    import torch

    with torch.device("meta"):
        model = build(spec_of(name))
    weights = {path: p.numel() for path, p in model.named_parameters() if path.endswith(("weight", "classifier.bias"))}
    low_bit = sum(getattr(m, "weight_bits", 0) > 0 and m.weight.numel() for m in model.modules())
    outside = sum(n for path, n in weights.items() if path.startswith(("stem.", "classifier")))
    if spec_of(name).name.startswith("vgg") and not spec_of(name).event:
        outside += weights["layers.0.currents.conv.weight"]
    assert (low_bit, outside) == WEIGHTS[name]


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('data = "digits"\n[network]\nwidth = 8\nspike_bits = "float"\n[training]\nepochs = 2\n')
    config = read_config(path)
    assert (config.data, config.network, config.training) == (
        "digits", {"width": 8, "spike_bits": None}, {"epochs": 2}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "not valid TOML"),
        ("epoch = 3", "epoch is no option"),
        ("[training]\nepoch = 3", r"\[training\] epoch is no option \(did you mean 'epochs'\?\)"),
        ("[network]\nclasses = 3", r"\[network\] classes is no option"),
        ("[training]\nepochs = 2.5", r"epochs must be a whole number within 1\.\.inf \(got 2\.5\)"),
        ("[training]\nflip = 1", "flip must be true or false"),
        ('[training]\nbackprop = "all"', "backprop must be one of random, every, stbp, slices"),
        ('[training]\nloss = "mean"', "loss 'mean' needs several steps at once"),
        ('[training]\nbackprop = "slices"\naccumulate = 2', "within a mini-batch: accumulate must be 1"),
        ("[training]\nmixup = 2", r"mixup must be a number within 0\.0\.\.1\.0"),
        ("data = 3", "data must be the name of a data set"),
        ("network = 3", r"network must be a table"),
    ],
)
def test_invalid_settings_name_file_and_key(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ModelError, match=message) as error:
        read_config(path)
    assert "mine.toml" in str(error.value)


def test_unknown_settings():
    with pytest.raises(ModelError, match="did you mean 'resnet18-cifar10'"):
        read_config("resnet18-cifar1O")
    with pytest.raises(ModelError, match=r"none\.toml: No such file"):
        read_config("none.toml")
