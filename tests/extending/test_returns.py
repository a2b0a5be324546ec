"""Parts from outside that return something else than they must are named in one line."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from purespike import InputError
from purespike.data import data_source, load_data, sources
from purespike.models import create, register, registry
from purespike.models.coding import Coding
from purespike.neurons import SpikingNeuron, Surrogate
from purespike.training.objectives import Batch, Step, create_objective, objective, penalty
from purespike.training.objectives import registry as parts

IMAGES, LABELS = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    for owner, name in ((Coding, "known"), (Surrogate, "known"), (registry, "_builders")):
        monkeypatch.setattr(owner, name, dict(getattr(owner, name)))
    for owner, name in ((sources, "_SOURCES"), (parts, "_entries")):
        monkeypatch.setattr(owner, name, dict(getattr(owner, name)))


def test_an_architecture_returns_a_module():
    @register
    def nothing(settings):
        """Nothing."""

    with pytest.raises(InputError, match=r"nothing\(\) must return an nn.Module, got NoneType"):
        create("nothing")


def test_a_source_returns_data():
    data_source("pictures")(lambda rest, cache_dir: IMAGES)
    with pytest.raises(InputError, match=r"'pictures': must return .*Data, got Tensor \[4, 3, 8, 8\]"):
        load_data("pictures")


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        (lambda images: None, r"encode must return \[T·N, C, H, W\], got NoneType"),
        (lambda images: images.flatten(1), r"encode must return \[T·N, C, H, W\], got Tensor \[4, 192\]"),
        (lambda images: images[:, :2], r"encode returns 2 channels, but channels\(\) says 3"),
        (lambda images: images, r"gives 4 frames for 4 images, not 8"),
    ],
)
def test_a_coding_returns_frames(frames, says):
    @dataclass(frozen=True)
    class Odd(Coding):
        def encode(self, images, time_steps):
            return frames(images)

    model = create("resnet14_snn", width=0.05, time_steps=2, coding="odd")
    with pytest.raises(InputError, match=f"coding odd: {says}"):
        model(IMAGES)


@pytest.mark.parametrize(
    ("derivative", "says"),
    [(lambda distance: None, "NoneType"), (lambda distance: distance[:1], r"Tensor \[1, 1\]")],
)
def test_a_surrogate_returns_a_value_for_each_distance(derivative, says):
    @dataclass(frozen=True)
    class Odd(Surrogate):
        def derivative(self, distance):
            return derivative(distance)

    with pytest.raises(InputError, match=rf"surrogate odd: derivative must return .* \[6, 1\], got {says}"):
        SpikingNeuron("adaptivelif", "odd")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda batch: None, "NoneType"),
        (lambda batch: batch.criterion(batch.forward(batch.images)[0].logits, batch.labels), r"Tensor \[\]"),
        (lambda batch: Step(batch.forward(batch.images)[0].logits, {}), r"Tensor \[4, 2\]"),
        (lambda batch: iter([None]), "NoneType"),
    ],
)
def test_an_objective_returns_steps(answer, says):
    @objective("odd")
    def odd(batch: Batch) -> Step:
        return answer(batch)

    batch = Batch(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), IMAGES, LABELS)
    with pytest.raises(InputError, match=rf"objective odd: must return a Step .*, got {says}"):
        list(create_objective("odd").steps(batch))


@pytest.mark.parametrize(
    ("value", "says"), [(lambda view: None, "NoneType"), (lambda view: view.logits, "T")]
)
def test_a_penalty_returns_a_scalar(value, says):
    @penalty("odd")
    def odd(view):
        return value(view)

    batch = Batch(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), IMAGES, LABELS)
    with pytest.raises(InputError, match=rf"penalty odd: must return a scalar tensor, got {says}"):
        list(create_objective(["none", "odd"]).steps(batch))
