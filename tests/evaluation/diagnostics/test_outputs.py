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


class Last(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, logits):
        return self.function(logits)


@pytest.mark.parametrize("scale", [100, 0.5, 10])
def test_probabilities_times_a_number(scale):
    (found,) = ask(check_outputs, network(Last(lambda z: scale * (3 * z).softmax(1))), *GIVEN)
    assert found.level == "suspicious"
    assert found.message.startswith(f"outputs are probabilities times {scale}; use logits")


def winners(logits, steps):
    """Spike counts where each time step has one winner."""
    draw = torch.Generator().manual_seed(0)
    drawn = logits.softmax(1).multinomial(steps, replacement=True, generator=draw)
    return nn.functional.one_hot(drawn, CLASSES).sum(1).float()


NO_PROBABILITIES = {
    "counts": lambda z: winners(z, 8),
    "many counts": lambda z: winners(z, 997),
    "rates": lambda z: 10 * winners(z, 997) / 997,
    "centred": lambda z: z - z.mean(1, keepdim=True),
    "positive": lambda z: (3 * z).exp(),
}


@pytest.mark.parametrize("function", NO_PROBABILITIES.values(), ids=NO_PROBABILITIES)
def test_what_is_no_probability(function):
    model = network(Last(function))
    assert ask(check_outputs, model, *GIVEN) == []


def test_of_few_images_equal_sums_say_nothing():
    model = network(Last(lambda z: 100 * z.softmax(1)))
    assert ask(check_outputs, model, GIVEN[0][:3], GIVEN[1][:3]) == []


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
