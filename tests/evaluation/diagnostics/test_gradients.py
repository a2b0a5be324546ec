"""Gradients that vanish, sit in flat spots or hide behind large logits; and honest ones."""

import pytest
import torch
from torch import nn

from evaluation.victims import foreign, photographs
from purespike.attacks import SignAttack, worst_case
from purespike.evaluation.diagnostics.gradients import check_gradients, check_norms, check_scale
from purespike.settings import Thresholds

from .asking import ask, by_name, one

EPS = 16 / 255
ATTACK = SignAttack(eps=EPS, steps=10, step_size=EPS / 4)


@pytest.fixture(scope="module")
def given():
    images, labels = photographs(12, seed=21)
    right = foreign()(images).argmax(1) == labels
    return images[right], labels[right]


class Before(nn.Module):
    """A linear classifier behind ``change``."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, images):
        return foreign()(self.change(images))


def test_pixels_without_gradient(given):
    def columns(kept):
        mask = (torch.arange(12) < kept).float()
        return by_name(ask(check_gradients, Before(lambda images: images * mask), *given))

    found = columns(4)["pixels without gradient"]
    assert found.level == "suspicious" and "67%" in found.message and found.advice
    assert columns(8)["pixels without gradient"].level == "reliable"
    assert columns(4)["gradients"].level == "reliable", "each image has a gradient"


def test_flat_spots_at_the_images():
    centre, labels = torch.full((6, 3, 12, 12), 0.5), torch.zeros(6, dtype=torch.long)

    class Bowl(nn.Module):
        """Flat at the centre, steep around it."""

        def __init__(self, power):
            super().__init__()
            self.power = power

        def forward(self, images):
            fall = (images - 0.45).abs() if self.power == 1 else (images - 0.5).abs() ** self.power
            return torch.stack([1 - fall.mean((1, 2, 3)), torch.full((len(images),), 0.9)], 1)

    flat = one(check_norms, Bowl(2), centre, labels, attack=ATTACK)
    assert flat.level == "suspicious" and "at random" in flat.advice
    assert one(check_norms, Bowl(1), centre, labels, attack=ATTACK).level == "reliable"


def test_norms_are_those_of_the_margin(given):
    images, labels = given
    weight = foreign()[1].weight.detach().double()
    with torch.no_grad():
        rivals = foreign()(images).scatter(1, labels[:, None], -torch.inf).argmax(1)
    expected = (weight[rivals] - weight[labels]).norm(dim=1)
    quantiles = torch.quantile(expected, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    message = one(check_norms, foreign(), images, labels, attack=ATTACK).message
    assert f"{', '.join(f'{value:.2g}' for value in quantiles.tolist())} at the images" in message


def test_large_logits_hide_the_gradient_from_the_cross_entropy_only(given):
    class Loud(nn.Module):
        def forward(self, images):
            return 1000 * foreign()(images)

    attack = SignAttack(eps=0.3, steps=10, step_size=0.1)

    def judged(model, losses):
        robust = ~worst_case(model, *given, attack=attack, surrogates=["hart"], losses=losses)[0].success
        return one(check_scale, model, *given, attack=attack, robust=robust)

    hidden = judged(Loud(), ["ce"])
    assert hidden.level == "suspicious" and "margin" in hidden.advice, hidden.message
    assert judged(Loud(), ["ce", "margin"]).level == "reliable"
    assert judged(foreign(), ["ce"]).level == "reliable"


def test_thresholds_can_be_set(given):
    mask = (torch.arange(12) < 4).float()
    thresholds = Thresholds(zero_pixels=0.7)
    found = ask(check_gradients, Before(lambda images: images * mask), *given, thresholds=thresholds)
    assert by_name(found)["pixels without gradient"].level == "reliable"
