"""HoSNN: usual membranes recorded before training, the weights of the plain network, and what is refused."""

from dataclasses import replace

import pytest
import torch

from purespike import InputError, load, save
from purespike.data import Data, load_data
from purespike.experiment import share_of
from purespike.models.predict import as_float
from purespike.neurons import spiking_neurons
from purespike.training import accelerator, build_classifier, train_classifier
from purespike.training.objectives.homeostasis import usual_membranes
from training.test_loop import equal, stopped_after
from training.tiny import history, recipe

HOMEOSTATIC = {"dynamics": "talif", "objective": ["fgsm", "homeostasis"]}
PLAIN = {"thresholds": [1.0], "decay": 0.8}


@pytest.fixture(scope="module")
def data():
    return small()


def small():
    """60 and 20 digits of 8 by 8 pixels."""
    whole = share_of(recipe(), load_data("digits"))
    sets = (replace(part, images=part.images[..., ::4, ::4]) for part in (whole.train, whole.test))
    return Data("small", *sets)


def train(data, folder, **settings):
    section = recipe(classifier={**HOMEOSTATIC, **settings}).classifier
    return train_classifier(section, data, folder=folder, seed=3, accelerator=accelerator(device="cpu"))


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """The plain network that the part trains, by itself, and its file."""
    folder = tmp_path_factory.mktemp("plain")
    model = train(data, folder, dynamics=None, objective="none", **PLAIN)
    save(model, folder / "model.safetensors")
    return model, folder / "model.safetensors"


def test_usual_membranes_are_the_means_of_a_plain_loop(data, plain):
    """At the first layer and behind a batch norm inside, over all training images, in float64."""
    model, images = plain[0], data.train.images
    found = usual_membranes(model, images, torch.device("cpu"))
    assert found.keys() == {name for name, each in model.named_modules() if each in spiking_neurons(model)}
    normed = []
    hook = model.body[1].residual[1].register_forward_hook(lambda *given: normed.append(given[2]))
    model(as_float(images))
    hook.remove()
    currents = {
        "body.0": torch.cat([model.stem(model.normalise(as_float(images)))] * 2),
        "body.1.residual.2": normed[0],
    }
    for name, current in currents.items():
        membrane, fired, means = 0.0, 0.0, []
        for x in current.detach().double().unflatten(0, (2, -1)):
            membrane = 0.8 * membrane * (1 - fired) + x
            fired = (membrane >= 1).double()
            means.append(membrane.mean(0))
        torch.testing.assert_close(found[name], torch.stack(means), atol=1e-5, rtol=1e-5)


def test_it_starts_from_the_plain_network_and_goes_on_where_it_was_stopped(
    data, plain, tmp_path, monkeypatch
):
    """In the training of the plain network, and in its own; the same network from a file is the same."""
    import purespike.training.classifier as module

    place = tmp_path / "stopped"
    for epochs, reached in ((1, 1), (2, 2)):
        stopped_after(place, epochs, lambda folder: train(data, folder), monkeypatch, module)
        rows = history(place / "homeostasis")
        assert rows[-1]["epoch"] == reached, "the first stop is in the plain network, the second after it"
    assert history(place)[-1]["epoch"] == 1
    straight = train(data, tmp_path / "straight")
    assert equal(train(data, place), straight) and history(place) == history(tmp_path / "straight")
    source = {"objective": ["fgsm", {"name": "homeostasis", "source": str(plain[1])}]}
    assert equal(train(data, tmp_path / "read", **source), straight)
    usual = usual_membranes(plain[0], data.train.images, torch.device("cpu"))
    for name, trace in usual.items():
        neurons = straight.get_submodule(name)
        torch.testing.assert_close(neurons.recorded.trace, trace.float())
        assert (neurons.learned["rise"] >= 0).all()
    assert any((each.learned["rise"] != 0.2).any() for each in spiking_neurons(straight))
    save(straight, tmp_path / "model.safetensors")
    assert equal(load(tmp_path / "model.safetensors"), straight)


def test_the_plain_network_lacks_what_only_these_neurons_have(data, tmp_path):
    """Gates and recalibration, and groups of the optimiser that hold nothing but their parameters."""
    model = train(
        data,
        tmp_path,
        gates="channel",
        care=0.25,
        epochs=1,
        objective=["homeostasis", "care", {"name": "gate_prior", "weight": 0.01}],
        optimiser={"groups": [{"pattern": "gates|learned", "weight_decay": 0}]},
    )
    assert all(neurons.recalibration.known for neurons in spiking_neurons(model))
    assert all(neurons.get_buffer("recorded.trace").any() for neurons in spiking_neurons(model))


def test_with_thresholds_at_rest_it_is_the_plain_network(data, plain, tmp_path):
    """Up to the rounding of a batch norm that is fused with the neurons there."""
    still = {"objective": [{"name": "homeostasis", "source": str(plain[1])}], "learning_rate": 1e-30}
    model = train(data, tmp_path, dynamics="talif(rise=0)", optimiser={"momentum": 0}, **still)
    statistics = {name: value for name, value in plain[0].state_dict().items() if "running" in name}
    model.load_state_dict(statistics, strict=False)
    images = as_float(data.test.images)
    torch.testing.assert_close(model(images), plain[0](images), atol=1e-4, rtol=1e-4)


def test_refuses(data, plain, tmp_path):
    for settings, message in (
        ({"dynamics": None}, "homeostasis: records membranes for classifier.dynamics talif, got mlf"),
        ({"objective": "fgsm"}, "talif adapts to membranes that homeostasis records; add homeostasis"),
        ({"dynamics": "talif(decay=0.5)", "objective": [{"name": "homeostasis", "source": str(plain[1])}]},
         "has neurons of other thresholds or decay than talif has, \\(1,\\) and 0.5"),
        ({"width": 0.1, "objective": [{"name": "homeostasis", "source": str(plain[1])}]},
         "source is a network of another architecture"),
        ({"objective": [{"name": "homeostasis", "source": str(plain[1]), "epochs": 2}]},
         "give only one of them"),
        ({"objective": [{"name": "homeostasis", "epochs": 0}]}, "epochs"),
        ({"objective": [{"name": "homeostasis", "source": "nowhere.safetensors"}]}, "nowhere.safetensors"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            train(data, tmp_path, **settings)


def test_the_size_of_the_images_is_that_of_the_data(data):
    assert build_classifier(recipe(classifier=HOMEOSTATIC).classifier, data, seed=3).image_size == (8, 8)
