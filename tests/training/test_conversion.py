"""Robust conversion: the ANN, the thresholds by its currents, and the network that begins with them."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import purespike.training.classifier as module
from purespike import InputError, load
from purespike.data import load_data
from purespike.experiment import share_of
from purespike.models import create
from purespike.models.classifier import ClassifierSettings, SpikingClassifier
from purespike.models.conversion import _batch_statistics, find_thresholds, take_weights
from purespike.models.layers import Layers, conv3x3
from purespike.models.predict import as_float
from purespike.models.steps import time_steps
from purespike.neurons import spiking_neurons
from purespike.training import accelerator, build_classifier, train_classifier
from purespike.training.objectives import Stage, create_objective
from purespike.training.objectives.layers import recording
from training.test_loop import equal, stopped_after
from training.tiny import history, recipe

IF = "learnablelif(learn_decay=false)"
SOFT = "learnablelif(learn_decay=false, soft=true)"


@pytest.fixture
def images():
    draw = torch.Generator().manual_seed(1)
    return list(torch.rand((6, 3, 8, 8), generator=draw).split(3))


def network(**settings):
    torch.manual_seed(0)
    return create("senet18_snn", width=0.05, time_steps=2, **settings)


@pytest.mark.parametrize(
    "settings", [{"dynamics": IF}, {"thresholds": [1.0], "decay": 1.0}, {}], ids=["learned", "LIF", "MLF"]
)
def test_thresholds_are_percentiles_of_the_currents(images, settings):
    """Those of NumPy, at every layer at once, once all of them are set; several are scaled together."""
    model = network(**settings)
    found = find_thresholds(model, images, percentile=97, scale=1, steps=4)
    top = model.body[0].thresholds[-1]
    expected = {}
    with torch.no_grad(), _batch_statistics(model), time_steps(model, 4):
        for batch in images:
            with recording(model) as layers:
                model(batch)
            for layer in layers:
                values = layer.current.double().numpy().ravel()
                level = np.percentile(values, 97, method="inverted_cdf")
                assert (values > level).mean() <= 0.03
                expected[layer.name] = max(level, expected.get(layer.name, 0.03))
    assert list(found) == list(expected)
    for name, neurons in model.named_modules():
        if name in found:
            learned = neurons.tensors().get("threshold")
            level, highest = (found[name], learned.item()) if learned is not None else (top, top)
            assert highest == pytest.approx(level, rel=1e-4)
            assert expected[name] == pytest.approx(level, rel=1e-3), name


def test_a_scale_is_a_factor_and_statistics_are_the_networks_own(images):
    images = [batch.mean(1, keepdim=True) for batch in images]
    torch.manual_seed(0)
    halved = chain(IF, 4)
    whole = copy.deepcopy(halved)
    found = [
        find_thresholds(model, images, percentile=99, scale=scale, steps=4)
        for model, scale in ((halved, 0.5), (whole, 1))
    ]
    assert found[0] == {name: 0.5 * value for name, value in found[1].items()}
    for one, other in zip(halved.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other if other.ndim else 0.5 * other)
    again = copy.deepcopy(halved)
    torch.optim.swa_utils.update_bn(images, again)
    assert equal(halved, again)


def test_fixed_thresholds_are_the_learned_ones_folded(images):
    """In one layer, behind which a spike less, by rounding at a threshold, would change all currents."""
    logits, found = [], []
    for settings in ({"dynamics": IF}, {"thresholds": [1.0], "decay": 1.0}):
        own = ClassifierSettings(time_steps=4, **settings)
        neurons = own.neurons()
        stem = nn.Sequential(conv3x3(3, 8), neurons.norm(8))
        torch.manual_seed(0)
        model = SpikingClassifier(stem, Layers(neurons.make(8)), 8, own, neurons)
        found.append(find_thresholds(model, images[:1], percentile=99, scale=0.3, steps=4))
        logits.append(model.eval()(images[1]))
    assert list(found[0].values()) == pytest.approx(list(found[1].values()), rel=1e-5)
    torch.testing.assert_close(*logits)


def test_frames_that_are_drawn_are_the_same_in_every_look(images):
    """Else a threshold that is folded into the layer before it would not seem to be."""
    model = network(thresholds=[1.0], decay=1.0, coding="poisson")
    other = copy.deepcopy(model)
    one, two = (find_thresholds(each, images, percentile=97, scale=0.5, steps=4) for each in (model, other))
    assert len(one) == len(spiking_neurons(model)) and one == two


def test_what_has_no_meaning_is_refused_before_anything_is_trained(data, tmp_path):
    parts = [{"name": "conversion", "ann": {"epochs": 1}}, "convex"]
    with pytest.raises(InputError, match="convex: the network joins no residual"):
        made(data, tmp_path, objective=parts)
    assert not (tmp_path / "ann").exists()


def test_thresholds_after_a_sum_of_layers_must_be_learned(images):
    """No layer before them takes their factor."""

    class Sum(nn.Module):
        def __init__(self, neurons):
            super().__init__()
            self.one, self.other, self.neurons = conv3x3(3, 3), conv3x3(3, 3), neurons

        def forward(self, current):
            return self.neurons(self.one(current) + self.other(current))

    for dynamics in (None, IF):
        settings = ClassifierSettings(time_steps=2, dynamics=dynamics)
        model = SpikingClassifier(
            nn.Identity(), Sum(settings.neurons().make(3)), 3, settings, settings.neurons()
        )
        if dynamics is None:
            with pytest.raises(InputError, match=r"no layer before body.neurons .*dynamics: learnablelif"):
                find_thresholds(model, images, percentile=99, scale=1, steps=2)
        else:
            assert len(find_thresholds(model, images, percentile=99, scale=1, steps=2)) == 1


def chain(dynamics, steps):
    settings = ClassifierSettings(time_steps=steps, dynamics=dynamics, in_channels=1)
    neurons = settings.neurons()
    body = Layers(
        neurons.make(8), conv3x3(8, 12, 2), neurons.norm(12), neurons.make(12), conv3x3(12, 16, 2),
        *(neurons.norm(16), neurons.make(16)),
    )  # fmt: skip
    stem = nn.Sequential(conv3x3(1, 8, 2), neurons.norm(8))
    model = SpikingClassifier(stem, body, 16, settings, neurons)
    # the rates of the last layer are its activities over V: of the logits all but a bias keeps its rank
    nn.init.zeros_(model.readout.bias).requires_grad_(False)
    return model


def test_many_steps_with_a_soft_reset_answer_as_the_ann():
    digits = load_data("digits16").train
    images, labels = as_float(digits.images[:600]), digits.labels[:600]
    torch.manual_seed(0)
    ann, optimiser = chain("relu", 1), None
    optimiser = torch.optim.Adam([p for p in ann.parameters() if p.requires_grad], 0.01)
    for _ in range(4):
        for rows in torch.randperm(600).split(50):
            optimiser.zero_grad()
            functional.cross_entropy(ann(images[rows]), labels[rows]).backward()
            optimiser.step()
    shown = images[:60]
    with torch.no_grad():
        answers = ann.eval()(shown).argmax(1)
        agreement = {}
        for dynamics in (SOFT, IF):
            spiking = chain(dynamics, 64)
            take_weights(spiking, ann)
            find_thresholds(spiking, images[100:200].split(50), percentile=99.7, scale=1, steps=20)
            agreement[dynamics] = (spiking.eval()(shown).argmax(1) == answers).float().mean().item()
    assert (answers == labels[:60]).float().mean() > 0.8
    assert agreement[SOFT] >= 0.95 and agreement[SOFT] >= agreement[IF]


# ---- the part of an objective

ANN = {"epochs": 1, "learning_rate": 0.1, "objective": {"name": "pgd", "eps": "8/255", "steps": 1}}
CONVERSION = {"name": "conversion", "ann": ANN, "steps": 4, "batches": 2}
SETTINGS = {"dynamics": IF, "objective": [{"name": "trades", "attack": "rfgsm", "beta": 2}, CONVERSION]}


@pytest.fixture(scope="module")
def data():
    return share_of(recipe(data={"source": "digits16"}), load_data("digits16"))


def made(data, folder, **changes):
    settings = recipe(classifier={**SETTINGS, **changes}).classifier
    return train_classifier(settings, data, folder=folder, seed=3, accelerator=accelerator(device="cpu"))


def test_a_conversion_killed_and_resumed_ends_as_one_never_killed(data, tmp_path, monkeypatch):
    """In the training of the ANN, and in that of the converted network."""
    whole = made(data, tmp_path / "whole")
    for epochs in (0, 1):
        stopped_after(tmp_path / "stopped", epochs, lambda f: made(data, f), monkeypatch, module)
    assert equal(made(data, tmp_path / "stopped"), whole)
    rows = history(tmp_path / "whole")
    assert history(tmp_path / "stopped") == rows
    assert [(row["stage"], row["epoch"]) for row in rows] == [
        *(("ann", 0), ("ann", 1)),
        *(("classifier", epoch) for epoch in range(3)),
    ]
    assert rows[1]["passes"] == 60 * 2 / 2, "a pass of PGD and one of training, of half the steps"
    assert rows[3]["passes"] == 60 * 4 and "firing_rates" not in rows[1]


def test_the_network_begins_as_the_converted_ann(data, tmp_path):
    settings = recipe(classifier=SETTINGS).classifier
    objective = create_objective(settings.objective)
    model = build_classifier(settings, data, seed=3)
    stage = Stage(
        *("classifier", model, data.train, settings, tmp_path, 3, accelerator(device="cpu")), test=data.test
    )
    objective.begin(stage, None)
    ann = load(tmp_path / "ann")
    twin = {"architecture": "resnet14_snn", "width": 0.05, "time_steps": 1, "dynamics": "relu"}
    assert {key: ann.config[key] for key in twin} == twin
    given = dict(ann.named_parameters())
    for name, parameter in model.named_parameters():
        if ".learned." in name:
            assert parameter.item() != 1 and parameter.item() >= 0.3 * 0.03 * (1 - 1e-6)
        else:
            assert torch.equal(parameter, given[name])
    plain = made(data, tmp_path / "plain", objective="none")
    assert not equal(plain, model)


def test_neurons_and_coding_keep_what_their_twin_does_not_have(data, tmp_path):
    """Gates, recalibration, groups of their parameters, and frames that are normalised otherwise."""
    parts = [CONVERSION, {"name": "gate_prior", "weight": 0.01}, "care"]
    groups = [{"pattern": "gates|learned", "weight_decay": 0}, {"pattern": "^readout", "rate": 2}]
    model = made(
        data,
        tmp_path,
        gates="channel",
        care=0.25,
        coding="signedpoisson",
        epochs=1,
        objective=parts,
        optimiser={"groups": groups},
    )
    ann = load(tmp_path / "ann")
    assert not any("gates" in name or "recalibration" in name for name in ann.state_dict())
    assert model.normalise.mean.eq(0).all() and model.normalise.std.eq(1).all()
    assert not ann.normalise.mean.eq(0).all()
    assert all(neurons.recalibration.known for neurons in spiking_neurons(model))


def test_an_error_of_the_ann_says_whose_it_is(data, tmp_path):
    hire = {"name": "hire", "periods": 2, "eps": "4/255"}
    part = {**CONVERSION, "ann": {"epochs": 1, "objective": hire}}
    with pytest.raises(InputError, match=r"conversion: the ANN: .*periods"):
        made(data, tmp_path, objective=[part])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dynamics": "relu"}, "dynamics relu make an ANN"),
        ({"dynamics": "dlif(steps=2)"}, "dlif has a value for each of 2 steps, .* set steps: 2"),
        ({"dynamics": "steplif"}, "steplif has a value for each of 2 steps, .* set steps: 2"),
        ({"coding": "frequency(radii=[8, 4])"}, "coding frequency.* set steps: 2"),
        (
            {"dynamics": "talif", "objective": [{**CONVERSION, "steps": 2}, "homeostasis"]},
            "homeostasis starts from weights of its own",
        ),
    ],
)
def test_combinations_without_meaning_are_one_line(changes, message, data, tmp_path):
    with pytest.raises(InputError, match=f"conversion: .*{message}") as error:
        made(data, tmp_path, **changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"name": "conversion"}, r"classifier\.objective: conversion: ann: is missing"),
        ({**CONVERSION, "ann": {"epoch": 1}}, r"conversion: ann: unknown setting of the ANN 'epoch'"),
        ({**CONVERSION, "ann": {"epochs": 0}}, r"conversion: ann: .*epochs"),
        ({**CONVERSION, "ann": {"width": 2}}, r"unknown setting of the ANN 'width'"),
        ({**CONVERSION, "ann": {"objective": CONVERSION}}, "an ANN is not converted"),
        ({**CONVERSION, "ann": {"objective": {"name": "pgd", "step": 1}}}, "did you mean 'steps'"),
        ({**CONVERSION, "percentile": 101}, r"conversion: percentile: .*got 101"),
        ({**CONVERSION, "scale": 0}, "conversion: scale: "),
        ({**CONVERSION, "steps": 0}, "conversion: steps: "),
    ],
)
def test_bad_settings_are_one_line(part, message):
    with pytest.raises(InputError, match=message) as error:
        create_objective([part])
    assert "\n" not in str(error.value)
