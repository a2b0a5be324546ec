import errno
import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from models.small import classifier, purifier
from purespike import tensors as tensors_on_disk
from purespike.errors import InputError
from purespike.models import Defended, Purifier, create, list_models, load, save
from purespike.models.coding import parse_coding
from purespike.models.guard import guarded
from purespike.models.output import OUTPUTS
from purespike.neurons import AdaptiveLIF, ATan, SpikingNeuron, parse_surrogate, spiking_neurons
from purespike.training import accelerator

MODELS = {
    **{name: lambda name=name: classifier(name) for name in list_models()},
    "settings": lambda: classifier(
        in_channels=1, thresholds=(0.5, 1.5), surrogate=ATan(3), mean=(0.4,), std=[0.2], time_steps=2
    ),
    "numpy settings": lambda: classifier(
        mean=np.array([0.5, 0.4, 0.3]), std=torch.tensor([0.2, 0.3, 0.25]), width=np.float32(0.0625)
    ),
    "purifier": purifier,
    "purifier with settings": lambda: purifier(in_channels=1, thresholds=(0.4, 1.1), surrogate=ATan()),
    "defended": lambda: Defended(purifier(), classifier()).eval(),
    "defended twice": lambda: Defended(purifier(), Defended(purifier(), classifier())).eval(),
}


def channels(model):
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d)).in_channels


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_round_trip(make, tmp_path):
    model = make()
    images = torch.rand(3, channels(model), 8, 8)
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert type(loaded) is type(model) and not loaded.training
    expected, actual = model(images), loaded(images)
    if isinstance(expected, torch.Tensor):
        expected, actual = (expected,), (actual,)
    for a, b in zip(expected, actual, strict=True):
        assert torch.equal(a, b)
    # and once more from what was loaded
    save(loaded, tmp_path / "again.safetensors")
    again = load(tmp_path / "again.safetensors").state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())


def test_round_trip_of_neuron_settings(tmp_path):
    save(MODELS["settings"](), tmp_path / "model.safetensors")
    neurons = load(tmp_path / "model.safetensors").neurons
    assert (neurons.dynamics.thresholds, neurons.surrogate, neurons.time_steps) == ((0.5, 1.5), ATan(3), 2)


def test_class_names_survive(tmp_path):
    path = tmp_path / "model.safetensors"
    names = ("cat", "Hündin", "a, b", '"quoted"')
    model = classifier()
    save(model, path, class_names=names)
    loaded = load(path)
    assert loaded.class_names == names
    save(loaded, path)
    assert load(path).class_names == names
    save(model, path)
    assert not hasattr(load(path), "class_names")


def test_holds_no_pickle(tmp_path):
    save(classifier(), tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="numpy") as file:
        assert set(file.metadata()) == {"format", "config", "class_names"}
        assert json.loads(file.metadata()["config"])["architecture"] == "resnet14_snn"


@pytest.mark.parametrize("values", [torch.nan, torch.inf])
def test_weights_that_are_not_numbers_are_not_saved(tmp_path, values):
    model = classifier()
    nn.init.constant_(model.readout.bias, values)
    with pytest.raises(InputError, match=r"save: .*readout\.bias holds 4 of 4"):
        save(model, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_as_many_class_names_as_classes(tmp_path):
    with pytest.raises(InputError, match="3 names, but the model has 4 classes"):
        save(Defended(purifier(), classifier()), tmp_path / "model.safetensors", class_names=("a", "b", "c"))


def test_equal_models_are_equal_files(tmp_path):
    """The library writes its metadata in a random order: eight files in a row would differ."""
    model = classifier()
    for index in range(8):
        save(model, tmp_path / f"{index}.safetensors", class_names=("a", "ü", '"', "\\\n\x7f\x01"))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert load(tmp_path / "0.safetensors").class_names[3] == "\\\n\x7f\x01"


def test_the_default_dtype_of_the_caller_does_not_matter(tmp_path):
    model = Defended(purifier(), classifier())
    save(model, tmp_path / "model.safetensors")
    torch.set_default_dtype(torch.float64)
    try:
        loaded = load(tmp_path / "model.safetensors")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in loaded.state_dict().values() if value.is_floating_point()} == {
        torch.float32
    }
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


class Configured(nn.Module):
    """A stranger with a ``config`` of its own, as other libraries' models have."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, images):
        return images


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(2, 2),
        lambda: Defended(purifier(), nn.Flatten()),
        lambda: Defended(nn.Identity(), classifier()),
        lambda: Defended(purifier(), Defended(nn.Identity(), classifier())),
        lambda: Configured({"hidden_size": 3}),
        lambda: Defended(purifier(), Configured(object())),
    ],
    ids=["foreign", "foreign classifier", "foreign purifier", "nested", "own config", "own config inside"],
)
def test_foreign_models_are_not_saved(make, tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match="save the purifier alone") as caught:
        save(make(), path)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def half_written(tensors, path, metadata):
    with open(path, "wb") as file:
        file.write(b"half")
    full()


@pytest.mark.parametrize("place", ["fsync", "save_file"])
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch, place):
    path = tmp_path / "model.safetensors"
    save(classifier(), path)
    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        if place == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(tensors_on_disk, "save_file", half_written)
        save(classifier(num_classes=7), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_load_returns_what_was_saved_not_what_was_drawn(tmp_path):
    model = classifier()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    save(model, tmp_path / "model.safetensors")
    torch.manual_seed(123)
    loaded = load(tmp_path / "model.safetensors").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("make", [partial(create, "resnet14_snn"), partial(Purifier, calibrated=False)])
def test_dynamics_with_what_they_learned_travel(make, tmp_path):
    model = make(width=1 / 16, time_steps=2, dynamics="adaptivelif(rise=0.5, learned=true)")
    for neuron in spiking_neurons(model):
        nn.init.uniform_(neuron.learned["rise"])
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert {neuron.dynamics for neuron in spiking_neurons(again)} == {AdaptiveLIF(rise=0.5, learned=True)}
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert sum("learned" in name for name in again.state_dict()) == len(spiking_neurons(model)) > 3


def test_a_model_whose_modules_were_replaced_is_not_saved(tmp_path):
    """Its settings would build it as it was, or refuse its weights."""
    for change in (lambda: nn.ReLU(), lambda: nn.BatchNorm2d(4)):
        model = create("resnet14_snn", width=1 / 16, num_classes=4)
        name = next(name for name, module in model.named_modules() if isinstance(module, SpikingNeuron))
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, change())
        for made in (model, Defended(Purifier(width=1 / 16, time_steps=2), model)):
            with pytest.raises(InputError, match=f"{name}.* was replaced or set anew"):
                save(made, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


HOOKS = {
    "forward": lambda module: module.register_forward_hook(lambda module, given, output: -output),
    "before": lambda module: module.register_forward_pre_hook(lambda module, given: None),
    "backward": lambda module: module.register_full_backward_hook(lambda module, given, output: None),
    "before backward": lambda module: module.register_full_backward_pre_hook(lambda module, output: None),
}


@pytest.mark.parametrize("register", HOOKS.values(), ids=HOOKS)
@pytest.mark.parametrize("name", ["", "readout"])
def test_a_model_with_hooks_is_not_saved(name, register, tmp_path):
    """A hook may change every answer, and no checkpoint holds it."""
    model = classifier()
    handle = register(model.get_submodule(name))
    for made in (model, Defended(purifier(), model)):
        with pytest.raises(InputError, match=r"save: .* has a hook, .*remove it first") as error:
            save(made, tmp_path / "model.safetensors")
        assert (name or "SpikingClassifier") in str(error.value) and "\n" not in str(error.value)
    handle.remove()
    save(model, tmp_path / "model.safetensors")


def test_a_model_with_a_forward_of_its_own_is_not_saved(tmp_path):
    model = classifier()
    model.forward = lambda images: images.mean((2, 3))
    with pytest.raises(InputError, match=r"the model \(\w+\) has a forward of its own"):
        save(model, tmp_path / "model.safetensors")


def test_what_accelerate_and_guards_wrap_is_saved(tmp_path):
    model = classifier()
    with guarded(model):
        save(model, tmp_path / "model.safetensors")
    accelerator(device="cpu", precision="bf16").prepare(model)
    assert "forward" in vars(model)
    save(model, tmp_path / "model.safetensors")
    # what comes after shares Accelerate's state
    accelerator(device="cpu")


def test_another_surrogate_than_that_of_the_settings_is_not_lost_in_silence(tmp_path):
    model = create("resnet14_snn", width=1 / 16, num_classes=4)
    neuron = next(module for module in model.modules() if isinstance(module, SpikingNeuron))
    neuron.surrogate = parse_surrogate("atan(alpha=3)")
    with pytest.raises(InputError, match="replaced or set anew"):
        save(model, tmp_path / "model.safetensors")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match=r"is a folder; name a file, .*model\.safetensors"):
        save(classifier(), tmp_path)


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (purifier, lambda model: setattr(model, "noise", 0.4)),
        (purifier, lambda model: setattr(model, "output", OUTPUTS["reconstruction"])),
        (purifier, lambda model: setattr(model.denoiser, "coding", parse_coding("poisson"))),
        (classifier, lambda model: setattr(model, "coding", parse_coding("poisson"))),
        (lambda: Defended(purifier(), classifier()), lambda model: setattr(model.purifier, "passes", 5)),
    ],
    ids=["noise", "output", "coding of a part", "coding", "passes"],
)
def test_a_setting_that_was_changed_on_the_built_model_is_not_lost_in_silence(make, change, tmp_path):
    model = make()
    save(model, tmp_path / "before.safetensors")
    change(model)
    with pytest.raises(InputError, match=r"save: .* was replaced or set anew"):
        save(model, tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", [*list_models(), "purifier"])
def test_reading_needs_no_compiler(name, tmp_path):
    """PyTorch's takes more than a second to load, many times what the rest of it takes."""
    save(MODELS[name](), tmp_path / "model.safetensors")
    code = f"import sys, purespike\npurespike.load({str(tmp_path / 'model.safetensors')!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch._dynamo' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
