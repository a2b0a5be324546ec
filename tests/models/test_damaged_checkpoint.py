"""Files that are no checkpoint, or one that was damaged: one line that names the file."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from models.small import classifier
from purespike.errors import InputError
from purespike.models import checkpoint, load, save


def rewritten(path, edit):
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    edit(tensors, metadata)
    save_file(tensors, path, metadata)


def configured(**changes):
    def edit(_, metadata):
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), **changes})

    return edit


DAMAGE = {
    "another width": (configured(width=1 / 8), "do not match architecture 'resnet14_snn'"),
    "another architecture": (configured(architecture="resnet20_snn"), "do not match architecture"),
    "an unknown architecture": (configured(architecture="resnet15_snn"), "unknown model"),
    "an unknown setting": (configured(height=3), "unknown setting"),
    "a purifier": (configured(architecture="purifier"), "do not match architecture 'purifier'"),
    "half a defended": (configured(architecture="defended", purifier=None), "do not match"),
    "a missing tensor": (lambda tensors, _: tensors.pop("readout.bias"), "do not match.*readout.bias"),
    "config that is no JSON": (
        lambda _, metadata: metadata.update(config="{'a': 1"),
        "config: not JSON",
    ),
    "config that is a list": (
        lambda _, metadata: metadata.update(config="[1]"),
        "do not match",
    ),
    "another format": (lambda _, metadata: metadata.update(format="pt"), "not a purespike checkpoint"),
    "a width of a million": (configured(width=1e6), "do not match architecture"),
    "an infinite width": (configured(width=float("inf")), "do not match architecture"),
    "a billion classes": (configured(num_classes=10**9), r"readout\.\w+ is .*, expected \[1000000000"),
    "a billion steps": (configured(time_steps=10**9), "at most .* time_steps, got .* 1,000,000,000"),
    "many thresholds": (configured(thresholds=list(range(1, 100001))), "at most 100 thresholds"),
    "a tensor too many": (
        lambda tensors, _: tensors.update(more=torch.zeros(1)),
        "do not match.*unexpected tensor more",
    ),
    "whole-number weights": (
        lambda tensors, _: tensors.update({"readout.bias": torch.ones(4, dtype=torch.long)}),
        r"readout\.bias is torch\.int64, expected torch\.float32",
    ),
    "NaN weights": (
        lambda tensors, _: tensors["readout.weight"].index_fill_(0, torch.tensor([1]), torch.nan),
        r"readout\.weight holds 16 of 64 NaN or infinite",
    ),
    "an infinite statistic": (
        lambda tensors, _: tensors["normalise.std"].fill_(torch.inf),
        r"normalise\.std",
    ),
    "class names that are no JSON": (
        lambda _, metadata: metadata.update(class_names="{"),
        "class_names: not JSON",
    ),
    "class names nested without end": (
        lambda _, metadata: metadata.update(class_names="[" * 100_000),
        "class_names: not JSON",
    ),
    "a number for class names": (
        lambda _, metadata: metadata.update(class_names="5"),
        "class_names: must be a list",
    ),
    "a text for class names": (lambda _, metadata: metadata.update(class_names='"abcd"'), "must be a list"),
    "one name of four": (
        lambda _, metadata: metadata.update(class_names='["a"]'),
        "1 names, but the model has 4",
    ),
    "no metadata": (lambda _, metadata: metadata.clear(), "not a purespike checkpoint"),
}


@pytest.mark.parametrize(("edit", "message"), DAMAGE.values(), ids=DAMAGE)
def test_what_does_not_fit(edit, message, tmp_path):
    path = tmp_path / "model.safetensors"
    save(classifier(), path)
    rewritten(path, edit)
    refused(path, message)


def refused(path, message):
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_missing(tmp_path):
    refused(tmp_path / "nowhere.safetensors", "no such checkpoint")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "link.safetensors", "link to nothing")
    os.mkfifo(tmp_path / "pipe.safetensors")
    refused(tmp_path / "pipe.safetensors", "is a pipe or a device")
    refused(tmp_path, "no such checkpoint")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_truncated(tmp_path, share):
    path = tmp_path / "model.safetensors"
    save(classifier(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "truncated")


@pytest.mark.parametrize("content", [b"PK and no zip", b"\xff" * 64, b"{}"], ids=repr)
def test_not_safetensors(tmp_path, content):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    refused(path, "not a safetensors file")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_called_one(tmp_path, zipped):
    path = tmp_path / "model.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path, _use_new_zipfile_serialization=zipped)
    refused(path, r"a PyTorch file \(.pt, .pth\).*give module:function")


def test_a_deep_nest_costs_no_more_than_its_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save(classifier(), path)

    def nest(_, metadata):
        start, end = (
            '{"architecture": "defended", "purifier": ',
            ', "classifier": {"architecture": "purifier"}}',
        )
        metadata["config"] = start * 200 + metadata["config"] + end * 200

    rewritten(path, nest)
    built = []
    make = checkpoint._build
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_build", lambda config: built.append(config) or make(config))
        refused(path, "do not match architecture 'defended'")
    assert len(built) <= 1
