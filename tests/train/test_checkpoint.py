import dataclasses
import pathlib
import zipfile

import pytest
import torch

from hmdf.train import checkpoint
from hmdf.train.data import Preprocessing
from hmdf.train.errors import ModelError
from hmdf.train.networks import NetworkSpec, build
from hmdf.train.online import run

SPEC = NetworkSpec("small", (1, 8, 8), 3, time_steps=2, width=4)


@pytest.fixture
def saved():
    torch.manual_seed(0)
    return checkpoint.Checkpoint(
        network=SPEC,
        preprocessing=Preprocessing(16.0, (0.3,), (0.4,)),
        class_names=("a", "b", "c"),
        dataset="digits",
        state=build(SPEC).state_dict(),
        metrics={"test_accuracy": 0.5},
        training={"epochs": 1},
    )


@pytest.fixture
def path(tmp_path, saved):
    checkpoint.save(tmp_path / "model.pt", saved)
    return tmp_path / "model.pt"


def rewrite(path, **changes):
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save({key: value for key, value in content.items() if value is not ...}, path)


def test_round_trip(path, saved):
    loaded = checkpoint.load(path)
    for field in dataclasses.fields(saved):
        if field.name != "state":
            assert getattr(loaded, field.name) == getattr(saved, field.name), field.name
    model, original = loaded.build(), saved.build()
    assert not model.training
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(run(model, x, 2), run(original, x, 2))


def written_before(path, **network):
    """The file as it was written before some options of networks existed."""
    known = torch.load(path, weights_only=True)["network"]
    for option in ("mpbn_on", "levels", "block", "head", "norm"):
        del known[option]
    rewrite(path, network={**known, **network})


def test_a_former_file_keeps_its_meaning(path, saved):
    spec = dataclasses.replace(SPEC, seca="II-gate")
    torch.manual_seed(0)
    checkpoint.save(path, dataclasses.replace(saved, network=spec, state=build(spec).state_dict()))
    written_before(path, seca="II")  # there was but one, and MPBN was on all neurons
    assert checkpoint.load(path).network == spec
    assert spec.mpbn_on == "all"
    checkpoint.save(
        path, dataclasses.replace(saved, network=dataclasses.replace(spec, seca="II"), state=build(spec).state_dict())
    )
    assert checkpoint.load(path).network.seca == "II"


def test_a_network_that_is_no_more_says_what_to_do(path):
    written_before(path, name="resnet19")
    with pytest.raises(ModelError, match=r"'resnet19' was another network when this .* again with --net resnet19"):
        checkpoint.load(path)


def test_resume_data_travel(path, saved):
    resume = {"epoch": 3, "momentum": {"stem.weight": torch.ones(2)}}
    checkpoint.save(path, dataclasses.replace(saved, resume=resume))
    assert torch.equal(checkpoint.load(path).resume["momentum"]["stem.weight"], torch.ones(2))


def test_interrupted_write_keeps_the_previous_file(path, saved, monkeypatch):
    before = path.read_bytes()

    def half_written(_content, stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half_written)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, saved)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def refused(path, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as error:
        checkpoint.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path):
    refused(tmp_path / "none.pt", "no such file")


def test_pickled_object_is_not_loaded(path):
    rewrite(path, metrics=pathlib.PurePosixPath("x"))
    refused(path, "plain containers")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 0.999])
def test_truncated_file(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "truncated|damaged")


def test_flipped_bytes(path):
    data = path.read_bytes()
    start = data.index(b"hmdf-checkpoint")
    for offset in range(0, 4000, 37):
        damaged = bytearray(data)
        damaged[start + offset] ^= 0x21
        path.write_bytes(damaged)
        refused(path, "damaged")


@pytest.mark.parametrize(
    "key", ["network", "preprocessing", "class_names", "dataset", "training", "metrics", "state", "format", "version"]
)
def test_missing_key(path, key):
    rewrite(path, **{key: ...})
    refused(path, key)


def test_wrong_version(path):
    rewrite(path, version=99)
    refused(path, "version 99, this program reads versions 1 and 2")


def test_wrong_type(path):
    rewrite(path, state=[1, 2])
    refused(path, "'state' must be a dict")


def test_foreign_file(path):
    torch.save({"weight": torch.ones(3)}, path)
    refused(path, "not a checkpoint of hmdf-train")


def test_wrong_shape(path, saved):
    rewrite(path, state={**saved.state, "stem.weight": torch.ones(4, 1, 5, 5)})
    refused(path, "stem.weight")


def test_nan_weight_is_located(path, saved):
    weight = saved.state["classifier.weight"].clone()
    weight[2, 5] = torch.nan
    rewrite(path, state={**saved.state, "classifier.weight": weight})
    refused(path, r"classifier.weight\[2, 5\] is NaN")


def test_surplus_state(path, saved):
    rewrite(path, state={**saved.state, "extra": torch.ones(1)})
    refused(path, "extra")


def test_oversized_network_is_refused_without_being_built(path):
    rewrite(path, network={**SPEC.to_dict(), "width": 10**6})
    refused(path, "stem.weight")


def test_invalid_network(path):
    rewrite(path, network={**SPEC.to_dict(), "neuron": "perceptron"})
    refused(path, "perceptron")


def test_class_names_must_fit(path):
    rewrite(path, class_names=["a"])
    refused(path, "1 class names for 3 classes")


def test_compressed_archive_is_refused(path, tmp_path):
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "new.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    refused(tmp_path / "new.pt", "compressed")
