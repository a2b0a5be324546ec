"""Outputs that are probabilities are found; logits are not mistaken for them."""

import pytest
import torch
from torch import nn

import purespike
from evaluation.victims import CLASSES, photographs
from purespike.evaluation.diagnostics.outputs import check_outputs

from .asking import ask

GIVEN = photographs(8, seed=3)


def network(*last):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 144, CLASSES), *last)


@pytest.mark.parametrize(
    ("last", "level", "kind"),
    [
        (nn.Softmax(1), "suspicious", "outputs are probabilities; use logits"),
        (nn.LogSoftmax(1), "reliable", "outputs are log-probabilities; use logits"),
    ],
)
def test_probabilities(last, level, kind):
    (found,) = ask(check_outputs, network(last), *GIVEN)
    assert found.level == level and found.message.startswith(kind)


def test_log_probabilities_that_round_to_nothing():
    class Sharp(nn.Module):
        def forward(self, logits):
            return (10_000 * logits).softmax(1).log()

    (found,) = ask(check_outputs, network(Sharp()), *GIVEN)
    assert found.level == "suspicious"


@pytest.mark.parametrize("last", [(), (nn.Sigmoid(),), (nn.ReLU(),)])
def test_logits(last):
    assert ask(check_outputs, network(*last), *GIVEN) == []


def test_an_evaluation_says_so():
    model = network(nn.Softmax(1))
    labels = model(GIVEN[0]).argmax(1)
    found = purespike.evaluate(model, (GIVEN[0], labels), attacks=["fgsm"], diagnose=4)
    assert any(reason.startswith("outputs: outputs are probabilities") for reason in found.verdict.reasons)
