"""Gradients that vanish, sit in flat spots, hide behind large logits or point nowhere; and honest ones."""

import math
import re

import pytest
import torch
from torch import nn

from purespike.attacks import SignAttack, worst_case
from purespike.evaluation.direction import DIRECTIONS, _judge, check_direction
from purespike.evaluation.finding import Limits
from purespike.evaluation.gradient_health import check_gradients, check_norms, check_scale
from purespike.neurons import MultiLevelFiring, parse_surrogate, surrogate_gradient

from .victims import foreign, photographs, spiking

EPS = 16 / 255
ATTACK = SignAttack(eps=EPS, steps=10, step_size=EPS / 4)


@pytest.fixture(scope="module")
def given():
    images, labels = photographs(12, seed=21)
    right = foreign()(images).argmax(1) == labels
    return images[right], labels[right]


class Before(nn.Module):
    """A linear classifier that sees what ``look`` makes of an image."""

    def __init__(self, look):
        super().__init__()
        self.look = look

    def forward(self, images):
        return foreign()(self.look(images))


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_pixels_without_gradient(given):
    def columns(kept):
        mask = (torch.arange(12) < kept).float()
        return by_name(check_gradients(Before(lambda images: images * mask), *given))

    seen = columns(4)["pixels without gradient"]
    assert seen.level == "suspicious" and "67%" in seen.seen and seen.advice
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

    flat = check_norms(Bowl(2), centre, labels, attack=ATTACK)
    assert flat.level == "suspicious" and "at random" in flat.advice
    assert check_norms(Bowl(1), centre, labels, attack=ATTACK).level == "reliable"


def test_norms_are_those_of_the_margin(given):
    images, labels = given
    weight = foreign()[1].weight.detach().double()
    with torch.no_grad():
        rivals = foreign()(images).scatter(1, labels[:, None], -torch.inf).argmax(1)
    expected = (weight[rivals] - weight[labels]).norm(dim=1)
    quantiles = torch.quantile(expected, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    seen = check_norms(foreign(), images, labels, attack=ATTACK).seen
    assert f"{', '.join(f'{value:.2g}' for value in quantiles.tolist())} at the images" in seen


def test_large_logits_hide_the_gradient_from_the_cross_entropy_only(given):
    class Loud(nn.Module):
        def forward(self, images):
            return 1000 * foreign()(images)

    attack = SignAttack(eps=0.3, steps=10, step_size=0.1)

    def judged(model, losses):
        left = ~worst_case(model, *given, attack=attack, surrogates=["hart"], losses=losses)[0].success
        return check_scale(model, *given, left, attack=attack)

    hidden = judged(Loud(), ["ce"])
    assert hidden.level == "suspicious" and "margin" in hidden.advice, hidden.seen
    assert judged(Loud(), ["ce", "margin"]).level == "reliable"
    assert judged(foreign(), ["ce"]).level == "reliable"


class Lying(torch.autograd.Function):
    """The identity, whose backward does as it likes."""

    @staticmethod
    def forward(ctx, images, lie):
        ctx.lie = lie
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.lie(gradient), None


def noise(gradient):
    return torch.randn(gradient.shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("lie", "level"),
    [
        (lambda gradient: gradient, "reliable"),
        (lambda gradient: 0.1 * gradient + 0.1 * gradient.abs().mean() * noise(gradient), "reliable"),
        (noise, "suspicious"),
        (torch.neg, "suspicious"),
        (torch.zeros_like, "suspicious"),
    ],
    ids=["true", "noisy", "random", "negated", "zero"],
)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_gradient_must_tell_up_from_down(given, lie, level, norm):
    model = Before(lambda images: Lying.apply(images, lie))
    attack = SignAttack(eps=EPS if norm == "linf" else 1.0, norm=norm, steps=5)
    found = check_direction(model, *given, attack=attack)
    assert found.level == level, found.seen
    if lie is torch.neg:
        honest = check_direction(foreign(), *given, attack=attack)
        shares = [int(re.search(r"along (\d+)%", each.seen)[1]) for each in (found, honest)]
        assert sum(shares) == 100 and shares[0] < 10


def test_a_true_gradient_s_cosine_reaches_what_is_possible():
    # for a linear loss the estimate is a projection on the directions, of which the mean cosine is known
    draw = torch.Generator().manual_seed(0)
    gradient = torch.randn((8, 3, 12, 12), generator=draw, dtype=torch.float64)
    directions = torch.randint(2, (DIRECTIONS, 1, 3, 12, 12), generator=draw).double() * 2 - 1
    samples = (gradient * directions).sum((2, 3, 4), keepdim=True) * directions
    share, error, cosine, usable = _judge(gradient, samples)
    assert (share, error, usable) == (1.0, 0.0, DIRECTIONS)
    assert cosine == pytest.approx(math.sqrt(DIRECTIONS / (DIRECTIONS + 432)), rel=0.1)


def test_where_nothing_changes_nothing_is_said(given):
    found = check_direction(Before(lambda images: 0 * images), *given, attack=ATTACK)
    assert found.level == "reliable" and "too few" in found.seen


def test_a_surrogate_so_narrow_that_gradients_lie_and_an_attacker_who_has_another():
    images, labels = photographs(6, seed=22)
    model = spiking()
    narrow = "rectangle(width=0.001)"
    owns = {m: m.surrogate for m in model.modules() if isinstance(m, MultiLevelFiring)}
    with surrogate_gradient(model, narrow):
        lied = check_direction(model, images, labels, attack=ATTACK)
        helped = check_direction(model, images, labels, attack=ATTACK, used=["atan(alpha=2)"])
    assert lied.level == "suspicious"
    assert helped.level == "reliable" and "atan(alpha=2)" in helped.seen
    assert parse_surrogate(narrow) not in owns.values()
    assert all(module.surrogate == own for module, own in owns.items())


def test_thresholds_can_be_set(given):
    mask = (torch.arange(12) < 4).float()
    found = check_gradients(Before(lambda images: images * mask), *given, Limits(zero_pixels=0.7))
    assert by_name(found)["pixels without gradient"].level == "reliable"
