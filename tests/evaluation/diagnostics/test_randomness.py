"""Stochastic models attacked over too few passes; BPDA against the exact gradient of a purifier."""

import pytest
import torch
from torch import nn

from evaluation.victims import foreign, photographs
from purespike.attacks import SignAttack
from purespike.evaluation.diagnostics.bpda import check_bpda_beyond, check_bpda_transfer
from purespike.evaluation.diagnostics.randomness import check_expectation, check_passes
from purespike.models import Defended

from .asking import ask, cell, one

CENTRE = torch.full((8, 3, 8, 8), 0.5)
LABELS = torch.zeros(8, dtype=torch.long)


class Slanted(nn.Module):
    """A plane that falls to class 1, tilted at random around the centre in each pass."""

    def __init__(self, tilt):
        super().__init__()
        self.tilt = tilt

    def forward(self, images):
        offset = images - 0.5
        slope = 1 + self.tilt * torch.randn(images.shape[1:])
        # of the falling side alone: noise is no answer by itself
        height = (slope * offset).mean((1, 2, 3))
        return torch.stack([torch.full_like(height, 0.02), height], 1)


def expectation(model, eot):
    torch.manual_seed(0)
    attack = SignAttack(eps=0.05, steps=1, step_size=0.05, eot=eot, loss="margin")
    # at the centre itself the tilt changes nothing
    known = {"attack": attack, "losses": ["margin"], "stochastic": True}
    return one(check_expectation, model, CENTRE, LABELS, **known)


def test_a_gradient_of_one_draw_where_the_mean_of_many_is_needed():
    found = expectation(Slanted(6.0), 1)
    assert found.level == "suspicious" and found.remedy == {"eot": 50}
    assert "over 1," in found.message and "over 50 passes" in found.message
    assert expectation(Slanted(6.0), 50).level == "reliable"


def test_a_gradient_of_one_draw_where_it_is_enough():
    assert expectation(Slanted(0.1), 1).level == "reliable"


def test_a_number_outside_the_list_is_compared_too():
    assert "over 7," in expectation(Slanted(0.1), 7).message


class Coin(nn.Module):
    """Right in half of all passes."""

    def forward(self, images):
        heads = (torch.rand(len(images)) < 0.5).float()
        return torch.stack([heads, 1 - heads], 1) + 0 * images.flatten(1)[:, :2]


def test_a_score_of_one_pass():
    torch.manual_seed(0)
    images = torch.rand((200, 3, 4, 4))
    labels = torch.zeros(200, dtype=torch.long)
    result = SignAttack(eps=0.1, steps=1)(Coin(), images, labels)
    once = one(check_passes, Coin(), images, labels, as_run=result, passes=1)
    assert once.level == "suspicious" and "in 10 passes" in once.message
    many = one(check_passes, Coin(), images, labels, as_run=result, passes=30)
    assert many.level == "reliable" and "in 30 passes" in many.message
    mean, deviation = (
        float(part.split("%")[0]) / 100 for part in many.message.split("passes: ")[1].split(" ± ")
    )
    # binomial: a half, and its deviation over 200 images
    assert mean == pytest.approx(0.5, abs=0.03) and deviation == pytest.approx(0.5 / 200**0.5, rel=0.5)


def beyond(*cells):
    return ask(check_bpda_beyond, nn.Identity(), CENTRE[:0], LABELS[:0], cells=cells)


def test_what_bpda_breaks_beyond_the_exact_gradient():
    adaptive = cell("adaptive", [1, 1, 1, 1, 0, 0])
    (found,) = beyond(cell("bpda", [0, 0, 1, 1, 1, 1]), adaptive)
    # equal numbers, other images
    assert found.level == "suspicious" and "2 of 6" in found.message and "worst case of both" in found.advice
    (found,) = beyond(cell("bpda", [0, 1, 1, 1, 1, 1]), adaptive)
    assert found.level == "reliable", "one image may be chance"
    # what one bpda attack breaks, another adaptive one may break
    others = [cell("bpda", [0, 0, 1, 1, 0, 0]), adaptive, cell("adaptive", [0, 0, 1, 1, 1, 1], attack="fgsm")]
    assert beyond(*others)[0].level == "reliable"
    assert beyond(cell("bpda", [0, 0, 0, 0, 0, 0])) == []
    elsewhere = cell("bpda", [0, 0, 0, 0, 0, 0], eps=1.0, norm="l2")
    assert beyond(elsewhere, adaptive) == []


class Shifted(nn.Module):
    """A purifier that the identity describes badly: it moves the picture."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, images):
        return images.roll(self.by, 3)


@pytest.mark.parametrize(
    ("by", "threats", "level"),
    [(5, ["bpda"], "suspicious"), (5, ["bpda", "adaptive"], "reliable"), (0, ["bpda"], "reliable")],
)
def test_bpda_that_does_not_transfer_to_the_defended_model(by, threats, level):
    pictures, labels = photographs(16, seed=41)
    model = Defended(Shifted(by), foreign()).eval()
    images = pictures.roll(-by, 3)
    right = model(images).argmax(1) == labels
    images, labels = images[right], labels[right]
    attack = SignAttack(eps=0.25, steps=10, step_size=0.06)
    broken = attack(model, images, labels).success
    known = {"attack": attack, "robust": ~broken, "threats": threats}
    found = one(check_bpda_transfer, model, images, labels, **known)
    assert found.level == level, found.message
    if level == "suspicious":
        assert "adaptive" in found.advice
