import pytest

from hmdf.train.config import CONFIG_FOLDER, TrainingConfig, config_names, read_config
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

# Table S1 of HM-DF (arXiv 2410.07547): of its version 2, but for two rows of version 1 (VGG-13 with SECA, ResNet-34 of
# 1 bit), whose dashes are what the settings take over from version 2, marked as ours. T = 4, on DVS-CIFAR10 10;
# real-valued spikes; SGD, cosine; Auto-Augment, Cutout, Mixup on pictures (A.1).
# "version" is the part of figure 2 that the neurons are: (b) learnable, (c) with MPBN; + (a), the parallel one, as the
# second of a block.
HM_DF = """
data          network    SECA  bits  batch  epochs  lr     wd    version      settings
CIFAR-10      ResNet-18  -     1     64     300     0.01   5e-4  2(b)+2(a)    resnet18-cifar10
CIFAR-10      ResNet-18  yes   1     64     300     0.01   5e-4  2(c)+2(a)    resnet18-seca-cifar10
CIFAR-100     ResNet-18  -     1     64     300     0.01   5e-4  2(b)+2(a)    resnet18-cifar100
CIFAR-100     ResNet-18  -     1.5   64     300     0.01   5e-4  2(b)+2(a)    resnet18-cifar100-ternary
CIFAR-100     ResNet-18  yes   1     64     300     0.01   5e-4  2(c)+2(a)    resnet18-seca-cifar100
ImageNet-200  VGG-13     -     1     64     300     0.01   5e-4  2(b)         vgg13-tiny-imagenet
ImageNet-200  VGG-13     yes   1     -      -       -      -     2(c)         vgg13-seca-tiny-imagenet
ImageNet-1k   ResNet-34  -     1.5   256    300     0.025  0     2(b)+2(a)    resnet34-imagenet
ImageNet-1k   ResNet-34  -     1     -      120     -      -     2(b)+2(a)    resnet34-imagenet-binary
DVS-CIFAR10   ResNet-18  -     1     32     300     0.01   5e-4  2(c)+2(a)    resnet18-dvs-cifar10
DVS-CIFAR10   ResNet-18  -     1.5   32     300     0.01   5e-4  2(c)+2(a)    resnet18-dvs-cifar10-ternary
DVS-CIFAR10   ResNet-18  yes   1     32     300     0.01   5e-4  2(c)+2(a)    resnet18-seca-dvs-cifar10
DVS-CIFAR10   VGG-SNN    -     1     32     300     0.01   5e-4  2(c)         vgg-snn-dvs-cifar10
"""

# LM-H (ICLR 2024): table S1; section 5.3 and algorithm 1 (hybrid: at most 30 epochs, T = L; its text has a weight decay
# of 2e-4 and 1e-4, the table 5e-4); algorithm 2 (slices of K steps, two of them); eq. S1 and S2 (sparse, D = 0.05). SGD
# of momentum 0.9, Nesterov's with slices alone, cosine without warm-up; crop by 4, flip, Auto-Augment, Cutout;
# full-precision weights; neurons after the residual sum, in the ResNet-34 before the convolutions. A dash is what the
# paper does not state.
LM_H = """
data          network     T   stage     K  batch  epochs  lr       wd    settings
CIFAR-10      ResNet-18   4   -         -  64     300     0.025    5e-4  lm-h-resnet18-cifar10
CIFAR-10      ResNet-19   4   -         -  64     300     0.025    5e-4  lm-h-resnet19-cifar10
CIFAR-10      VGG-13      4   -         -  64     300     0.025    5e-4  lm-h-vgg13-cifar10
CIFAR-100     ResNet-18   4   -         -  64     300     0.025    5e-4  lm-h-resnet18-cifar100
CIFAR-100     ResNet-19   4   -         -  64     300     0.025    5e-4  lm-h-resnet19-cifar100
CIFAR-100     ResNet-19*  4   -         -  64     300     0.025    5e-4  lm-h-resnet19-wide-cifar100
CIFAR-100     VGG-13      4   -         -  64     300     0.025    5e-4  lm-h-vgg13-cifar100
ImageNet-200  VGG-13      4   -         -  64     300     0.025    5e-4  lm-h-vgg13-tiny-imagenet
ImageNet-1k   ResNet-34   4   radical   -  256    320     0.1      0     lm-h-resnet34-imagenet
DVS-CIFAR10   ResNet-19   10  -         -  32     300     0.1      5e-4  lm-h-resnet19-dvs-cifar10
CIFAR-10      ResNet-18   1   ANN       -  -      -       -        5e-4  qcfs-resnet18-cifar10
CIFAR-10      ResNet-18   4   hybrid    -  64     30      0.002    5e-4  lm-h-hybrid-resnet18-cifar10
CIFAR-10      ResNet-20   1   ANN       -  -      -       -        5e-4  qcfs-resnet20-cifar10
CIFAR-10      ResNet-20   4   hybrid    -  64     30      0.002    5e-4  lm-h-hybrid-resnet20-cifar10
CIFAR-100     VGG-16      1   ANN       -  -      -       -        5e-4  qcfs-vgg16-cifar100
CIFAR-100     VGG-16      4   hybrid    -  64     30      0.002    5e-4  lm-h-hybrid-vgg16-cifar100
CIFAR-100     ResNet-20   1   ANN       -  -      -       -        5e-4  qcfs-resnet20-cifar100
CIFAR-100     ResNet-20   4   hybrid    -  64     30      0.002    5e-4  lm-h-hybrid-resnet20-cifar100
ImageNet-200  VGG-13      1   ANN       -  -      -       -        5e-4  qcfs-vgg13-tiny-imagenet
ImageNet-200  VGG-13      4   hybrid    -  64     30      0.001    5e-4  lm-h-hybrid-vgg13-tiny-imagenet
CIFAR-100     ResNet-18   4   slices    2  64     300     0.0125   5e-4  lm-h-slices2-resnet18-cifar100
CIFAR-100     ResNet-18   6   slices    3  64     300     0.01875  5e-4  lm-h-slices3-resnet18-cifar100
CIFAR-100     ResNet-18   8   slices    4  64     300     0.025    5e-4  lm-h-slices4-resnet18-cifar100
CIFAR-10      ResNet-19   4   sparse    -  64     300     0.025    5e-4  lm-h-sparse-resnet19-cifar10
CIFAR-100     ResNet-19   4   sparse    -  64     300     0.025    5e-4  lm-h-sparse-resnet19-cifar100
"""

DATA = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet-200": "tiny-imagenet", "ImageNet-1k": "imagenet"}
NETS = {"ResNet-19*": "resnet19-wide", "VGG-SNN": "vgg-snn"}
VERSIONS = {
    "2(b)": {"neuron": "plain", "parallel": "none"},
    "2(b)+2(a)": {"neuron": "plain", "parallel": "second"},
    "2(c)": {"neuron": "mpbn", "parallel": "none"},
    "2(c)+2(a)": {"neuron": "mpbn", "parallel": "second", "mpbn_on": "membrane"},
}
STAGES = {
    "-": {},
    "radical": {"neuron": "lm-h-radical"},
    "ANN": {"neuron": "qcfs", "levels": 4},
    "hybrid": {"levels": 4},
    "slices": {"backprop": "slices", "nesterov": True},
    "sparse": {"sparsify": 0.05},
}


def rows_of(table: str) -> dict[str, dict[str, str]]:
    head, *lines = (line.split() for line in table.strip().splitlines())
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    return {row["settings"]: row for row in rows}


def training_of(row: dict[str, str]) -> dict:
    numbers = {"batch_size": ("batch", int), "epochs": ("epochs", int)}
    numbers |= {"learning_rate": ("lr", float), "weight_decay": ("wd", float)}
    return {key: kind(row[column]) for key, (column, kind) in numbers.items() if row[column] != "-"}


def of_hm_df(row: dict[str, str]) -> dict:
    """What a row states, as options."""
    dvs, large = row["data"] == "DVS-CIFAR10", row["data"] == "ImageNet-1k"
    stated = {"name": NETS.get(row["network"], row["network"].replace("-", "").lower())}
    stated |= {"weights": {"1": "binary", "1.5": "ternary"}[row["bits"]], "time_steps": 10 if dvs else 4}
    stated |= {"spike_bits": None, **VERSIONS[row["version"]], **training_of(row)}
    return stated | ({"stem": "imagenet"} if large else {}) | ({} if dvs else {"data": DATA[row["data"]]})


def of_lm_h(row: dict[str, str]) -> dict:
    dvs, large = row["data"] == "DVS-CIFAR10", row["data"] == "ImageNet-1k"
    stated = {"name": NETS.get(row["network"], row["network"].replace("-", "").lower()), "time_steps": int(row["T"])}
    stated |= {"block": "pre" if large else "post", "weights": "float", "neuron": "lm-h", "backprop": "stbp"}
    stated |= {"momentum": 0.9, "nesterov": False, "warmup_epochs": 0, **training_of(row)}
    stated |= {"data": "dvs-cifar10:10:count:48" if dvs else DATA[row["data"]], **STAGES[row["stage"]]}
    stated |= {"stem": "imagenet"} if large else {}
    stated |= {} if dvs or large else {"flip": True}
    stated |= {"crop": 4} if row["data"].startswith("CIFAR") else {}
    stated |= {"head": "linear"} if row["network"] == "VGG-13" else {}
    return stated | ({} if row["K"] == "-" else {"slice": int(row["K"])})


STATED = {name: of_hm_df(row) for name, row in rows_of(HM_DF).items()}
STATED |= {name: of_lm_h(row) for name, row in rows_of(LM_H).items()}


def marked(name: str) -> dict[str, bool]:
    """Of every key of settings, those taken over included: whether its line says that the choice is ours."""
    lines = (CONFIG_FOLDER / f"{name}.toml").read_text("utf-8").splitlines()
    found = {line.partition(" = ")[0]: line for line in lines if " = " in line and not line.startswith("#")}
    taken_over = marked(found.pop("like").split('"')[1]) if "like" in found else {}
    return taken_over | {key: "  # ours" in line for key, line in found.items()}


def spec_of(name: str) -> NetworkSpec:
    config = read_config(name)
    assert config.data is not None
    shape, classes = SHAPES[config.data.partition(":")[0]]
    return NetworkSpec(**{**config.network, "input_shape": shape, "classes": classes, "event": shape[0] == 2})


def test_every_row_of_the_tables_has_settings():
    assert set(config_names()) == set(STATED)


@pytest.mark.parametrize("name", sorted(STATED))
def test_settings_are_what_the_paper_states_and_what_is_marked_as_ours(name):
    config, stated, ours = read_config(name), STATED[name], marked(name)
    chosen = {"data": config.data, **config.network, **config.training}
    assert {key: chosen.get(key, "missing") for key in stated} == stated
    assert ours.keys() == chosen.keys()
    assert not {key for key in stated if ours.get(key)}, f"{name}: stated and marked as ours"
    off = {key for key in chosen if chosen[key] in (0, "none") and key in ("crop", "cutout", "auto_augment")}
    unmarked = {key for key in chosen if not ours[key]} - stated.keys() - off
    assert not unmarked, f"{name}: neither stated nor marked as ours"
    assert config.data is not None
    assert config.data.partition(":")[0] in DATASETS
    assert ("seca" in chosen) == ("seca" in name)
    TrainingConfig(**config.training)
    assert spec_of(name).width is None


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
        ("like = 3", "like must be the name or the path of settings"),
        ('like = "mine.toml"', "is like itself"),
    ],
)
def test_invalid_settings_name_file_and_key(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ModelError, match=message) as error:
        read_config(path)
    assert "mine.toml" in str(error.value)


def test_a_file_like_another(tmp_path):
    (tmp_path / "base.toml").write_text('like = "resnet18-cifar10"\ndata = "digits"\n[training]\nepochs = 2\n')
    (tmp_path / "mine.toml").write_text('like = "base.toml"\n[network]\nwidth = 8\n[training]\nflip = false\n')
    config, base = read_config(tmp_path / "mine.toml"), read_config("resnet18-cifar10")
    assert (config.data, config.network) == ("digits", {**base.network, "width": 8})
    assert config.training == {**base.training, "epochs": 2, "flip": False}


def test_unknown_settings():
    with pytest.raises(ModelError, match="did you mean 'resnet18-cifar10'"):
        read_config("resnet18-cifar1O")
    with pytest.raises(ModelError, match=r"none\.toml: No such file"):
        read_config("none.toml")
