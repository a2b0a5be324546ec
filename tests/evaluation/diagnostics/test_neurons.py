"""Neurons that are not ours: reported, and held against numbers that rest on their gradient alone."""

import pytest
import torch
from torch import nn

import purespike
from purespike.attacks import create_attack
from purespike.evaluation.diagnostics.neurons import check_unknown_neurons
from purespike.evaluation.plan import Job
from purespike.reporting.robustness import table_title

from ..victims import defended, foreign, photographs, spiking
from .asking import ask, one


class Step(nn.Module):
    def forward(self, images):
        return (images > 0).float()


GIVEN = photographs(4, seed=1)
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(3 * 144, 16), Step(), nn.Linear(16, 4))


@pytest.mark.parametrize("model", [spiking, defended, foreign])
def test_of_known_modules_nothing_is_said(model):
    assert ask(check_unknown_neurons, model(), *GIVEN) == []


@pytest.mark.parametrize(
    ("attacks", "without"),
    [
        (["fgsm", "pgd"], []),
        (["gaussian_noise", "cw"], []),
        (["pgd", "square"], ["square"]),
        (["spsa", "pgd", "autoattack"], ["spsa", "autoattack"]),
    ],
)
def test_an_attack_without_gradients_is_named(attacks, without):
    jobs = [
        Job(create_attack(name), None if name in ("gaussian_noise", "cw") else 8 / 255) for name in attacks
    ]
    torch.manual_seed(0)
    found = one(check_unknown_neurons, MODEL, *GIVEN, jobs=jobs)
    assert found.level == "suspicious"
    assert found.message == (
        "the neurons are not ours, their surrogate was kept: 2"
        + (f"; {', '.join(without)} attacks without gradients" if without else "")
    )


def test_an_evaluation_says_so():
    torch.manual_seed(0)
    labels = MODEL(GIVEN[0]).argmax(1)
    found = purespike.evaluate(MODEL, (GIVEN[0], labels), attacks=["fgsm"], eps="8/255", threat="adaptive")
    assert any(reason.startswith("unknown neurons: ") for reason in found.verdict.reasons)
    # neither the file nor the page speaks of surrogates that did not run
    assert found.content["settings"]["surrogates"] == []
    assert found.content["settings"]["kept_surrogates"] == ["2"]
    assert {part.surrogate for cell in found.cells for part in cell.components} == {"own"}
    assert "full gradient, own surrogates" in table_title(found)
    assert "worst case)" not in table_title(found)


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Turned(nn.Module):
    def forward(self, images):
        return Reversed.apply(images)


def test_a_gradient_that_is_none_is_named():
    torch.manual_seed(0)
    model = nn.Sequential(Turned(), nn.Flatten(), nn.Linear(3 * 144, 4))
    found = one(check_unknown_neurons, model, *GIVEN)
    assert (found.name, found.level) == ("own gradients", "suspicious")
    assert found.message == "the backward of Reversed in 0 is not the derivative of what it computes"
