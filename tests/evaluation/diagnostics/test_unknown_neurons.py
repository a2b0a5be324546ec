"""Neurons of other libraries: named, and suspicious unless an attack without gradients was run."""

import pytest
import torch
from torch import nn

import purespike
from evaluation.victims import CLASSES, foreign, photographs, spiking
from purespike.evaluation.diagnostics.surrogates import check_unknown_neurons

from .asking import ask, cell, one

pytest.importorskip("purespike.neurons.unknown")


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, current):
        return (current > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Node(nn.Module):
    """A neuron as another library writes it."""

    def forward(self, current):
        return Spike.apply(current)


def network(layers=1):
    torch.manual_seed(0)
    hidden = [module for _ in range(layers) for module in (nn.Linear(32, 32), Node())]
    return nn.Sequential(nn.Flatten(), nn.Linear(432, 32), *hidden, nn.Linear(32, CLASSES)).eval()


def found(*attacks, layers=1):
    cells = [cell("adaptive", attack=attack) for attack in attacks]
    return one(check_unknown_neurons, network(layers), *photographs(4, seed=3), cells=cells)


def test_they_are_named():
    finding = found("pgd")
    assert (finding.name, finding.level) == ("unknown neurons", "suspicious")
    assert "(3)" in finding.message and "square" in finding.advice
    assert "(3, 5, 7 …)" in found("pgd", layers=4).message


@pytest.mark.parametrize(
    ("attack", "level"),
    [
        ("square", "reliable"),
        ("spsa", "reliable"),
        ("autoattack", "reliable"),
        ("apgd_ce", "suspicious"),
        ("gaussian_noise", "suspicious"),
        ("unheard_of", "suspicious"),
    ],
)
def test_an_attack_without_gradients_confirms_the_number(attack, level):
    assert found("fgsm", attack).level == level


@pytest.mark.parametrize("model", [foreign, spiking])
def test_known_neurons_and_analog_models_are_no_finding(model):
    assert ask(check_unknown_neurons, model(), *photographs(4, seed=3)) == []


def test_an_evaluation_of_them_says_so():
    model, (images, _) = network(), photographs(8, seed=3)
    data = images, model(images).argmax(1)
    verdict = purespike.evaluate(model, data, attacks=["fgsm"], eps="1/255", diagnose=4).verdict
    assert any(reason.startswith("unknown neurons: ") for reason in verdict.reasons)
