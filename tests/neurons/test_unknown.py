"""Neurons of others that keep their own surrogate are named."""

import pytest
import torch
from torch import nn

from purespike.models import Defended, create
from purespike.neurons import LIF, SpikingNeuron, membrane_census, unknown_spiking_modules


class Sigmoid(nn.Module):
    """A surrogate as a module."""

    def forward(self, distance):
        return (distance >= 0).float()


class OwnNode(nn.Module):
    def __init__(self):
        super().__init__()
        self.derivative = Sigmoid()

    def forward(self, current):
        return self.derivative(current - 0.1)


class Graded(nn.Module):
    """Values of a function with the gradient of the identity, and no custom function."""

    def __init__(self, graded, passes=True):
        super().__init__()
        self.graded, self.passes = graded, passes

    def forward(self, current):
        values = self.graded(current)
        return current + (values - current).detach() if self.passes else values


class Reached(OwnNode):
    """As SpikingJelly has it: the spike function is an attribute that :func:`surrogate_gradient` finds."""

    def __init__(self):
        super().__init__()
        self.surrogate_function = Sigmoid()

    def forward(self, current):
        return self.surrogate_function(current - 0.1)


class TorchCell(nn.Module):
    """A cell that returns spikes and membrane."""

    def forward(self, current, membrane):
        membrane = 0.9 * membrane + current
        return (membrane > 0.5).float(), membrane


class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.cell, self.last = nn.Conv2d(3, 4, 3), TorchCell(), nn.Linear(4, 5)

    def forward(self, images):
        current, total = self.first(images), 0
        membrane = torch.zeros_like(current)
        for _ in range(3):
            spikes, membrane = self.cell(current, membrane)
            total = total + self.last(spikes.mean((2, 3)))
        return total


def analog(*middle):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *middle, nn.Flatten(), nn.LazyLinear(5))


IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: analog(nn.ReLU()), []),
        (lambda: analog(OwnNode()), ["1"]),
        (lambda: analog(nn.Sequential(nn.BatchNorm2d(4), OwnNode()), nn.MaxPool2d(2)), ["1.1"]),
        (lambda: analog(OwnNode(), nn.Conv2d(4, 4, 3), OwnNode()), ["1", "3"]),
        (Steps, ["cell"]),
        (lambda: analog(Graded(lambda v: 0.5 * (v > 0))), ["1"]),
        (lambda: analog(Graded(lambda v: (4 * v).round().clamp(0, 4) / 4)), ["1"]),
        (lambda: analog(Graded(lambda v: (8 * v).round() / 8, passes=False)), []),
        (lambda: analog(Graded(lambda v: 0.5 * (v > 0)), nn.AvgPool2d(2), nn.Dropout(), nn.ReLU()), ["1"]),
        (lambda: analog(nn.Hardtanh(-0.1, 0.1)), []),
        (lambda: analog(nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(), nn.MaxPool2d(2)), []),
        (lambda: Defended(nn.Identity(), Steps()), ["classifier.cell"]),
        (lambda: analog(Reached()), []),
        (lambda: analog(LIF(time_steps=1)), []),
        (lambda: analog(SpikingNeuron("adaptivelif", time_steps=1)), []),
        (lambda: analog(nn.Sequential(nn.Conv2d(4, 4, 1), LIF(time_steps=1)), nn.MaxPool2d(2)), []),
        (lambda: create("resnet14_snn", width=1 / 16, time_steps=2), []),
    ],
    ids=[
        "analog",
        "own",
        "nested",
        "two",
        "cell",
        "half",
        "rates",
        "rounding",
        "after half",
        "clipping",
        "pooling",
        "defended",
        "reached",
        "ours",
        "dynamics",
        "on spikes",
        "network",
    ],
)
def test_names(make, names):
    torch.manual_seed(0)
    model = make()
    model(IMAGES)
    assert unknown_spiking_modules(model.train(), IMAGES) == names
    assert model.training


def test_a_layer_that_is_silent_is_no_neuron():
    assert unknown_spiking_modules(analog(nn.Threshold(99, 0)), IMAGES) == []


def test_many_analog_values_are_no_levels():
    # so many that, rounded, they fill all places in between
    batch_norm = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8))
    torch.manual_seed(0)
    assert unknown_spiking_modules(batch_norm, torch.rand(40, 1, 64, 64)) == []


@pytest.mark.parametrize("levels", [2, 4, 256])
def test_few_levels_among_as_many_values_are(levels):
    class Quantiser(nn.Module):
        def forward(self, x):
            return x + ((x * (levels - 1)).round() / (levels - 1) - x).detach()

    model = nn.Sequential(Quantiser(), nn.Conv2d(1, 2, 3))
    torch.manual_seed(0)
    assert unknown_spiking_modules(model, torch.rand(40, 1, 64, 64)) == ["0"]


class Darker(nn.Module):
    """Works in place."""

    def forward(self, images):
        return images.mul_(0.5)


@pytest.mark.parametrize("ask", [unknown_spiking_modules, membrane_census])
def test_the_model_gets_a_copy_in_its_own_type(ask):
    model = nn.Sequential(Darker(), nn.Conv2d(3, 4, 3), LIF(time_steps=1)).double()
    images = torch.rand(2, 3, 8, 8)
    before = images.clone()
    ask(model, images)
    assert torch.equal(images, before)
