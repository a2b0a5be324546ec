"""A gradient must tell up from down: true, noisy, random, negated and zero ones, and a linear loss."""

import math
import re

import pytest
import torch
from torch import nn

from evaluation.victims import foreign, photographs, spiking
from purespike.attacks import SignAttack
from purespike.evaluation.diagnostics.direction import DIRECTIONS, _judge, check_direction
from purespike.neurons import MultiLevelFiring, parse_surrogate, surrogate_gradient

from .asking import one

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
    found = one(check_direction, model, *given, attack=attack)
    assert found.level == level, found.message
    if lie is torch.neg:
        honest = one(check_direction, foreign(), *given, attack=attack)
        shares = [int(re.search(r"along (\d+)%", each.message)[1]) for each in (found, honest)]
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
    found = one(check_direction, Before(lambda images: 0 * images), *given, attack=ATTACK)
    assert found.level == "reliable" and "too few" in found.message


def test_a_surrogate_so_narrow_that_gradients_lie_and_an_attacker_who_has_another():
    images, labels = photographs(6, seed=22)
    model = spiking()
    narrow = "rectangle(width=0.001)"
    owns = {m: m.surrogate for m in model.modules() if isinstance(m, MultiLevelFiring)}
    with surrogate_gradient(model, narrow):
        lied = one(check_direction, model, images, labels, attack=ATTACK, surrogates=())
        helped = one(check_direction, model, images, labels, attack=ATTACK, surrogates=["atan(alpha=2)"])
    assert lied.level == "suspicious"
    assert helped.level == "reliable" and "atan(alpha=2)" in helped.message
    assert parse_surrogate(narrow) not in owns.values()
    assert all(module.surrogate == own for module, own in owns.items())
