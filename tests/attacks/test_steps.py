"""The adaptive rule and the schedule of step sizes: SA-PGD."""

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from purespike.attacks import SignAttack, create_attack
from purespike.attacks.steps import step_sizes


def test_halves_at_the_checkpoints_of_apgd():
    sizes = step_sizes(1.0, steps=100, schedule="halving")
    # 22 steps, then 19, 16, 13, 10, 7, and 6 for ever
    periods = [22, 19, 16, 13, 10, 7, 6, 6, 1]
    assert sizes == [0.5**k for k, period in enumerate(periods) for _ in range(period)]
    assert step_sizes(0.3, steps=4, schedule="constant") == [0.3] * 4
    assert step_sizes(0.8, steps=3, schedule="halving") == [0.8, 0.4, 0.2]


@given(steps=st.integers(1, 400))
def test_every_step_has_a_size(steps):
    sizes = step_sizes(1.0, steps=steps, schedule="halving")
    assert len(sizes) == steps and sizes[0] == 1.0
    assert all(after in (before, before / 2) for before, after in pairwise(sizes))


def sa_pgd(model, images, labels, *, eps, steps, momentum):
    """As its paper and code describe it, pixel by pixel, without a random start."""
    period, next_halving, step_size = max(int(0.22 * steps), 1), max(int(0.22 * steps), 1), eps
    x = images.clone()
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(steps):
        if step == next_halving:
            step_size /= 2
            period = max(period - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
            next_halving += period
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), labels, reduction="sum"), x)
        x = x.detach()
        for i in range(len(x)):
            first[i] = momentum * first[i] + gradient[i] / gradient[i].abs().mean()
            second[i] = 0.8 * second[i] + gradient[i] ** 2 / (gradient[i] ** 2).mean()
            change = step_size * first[i] / (second[i] ** 0.5 + 1e-12)
            change = torch.minimum(torch.maximum(change, -torch.tensor(step_size)), torch.tensor(step_size))
            x[i] = torch.minimum(torch.maximum(x[i] + change, images[i] - eps), images[i] + eps).clamp(0, 1)
    return x


@pytest.mark.parametrize(("eps", "steps", "momentum"), [(8 / 255, 20, 0.5), (0.3, 40, 0.5), (0.1, 9, 0.9)])
def test_sa_pgd_is_its_formula(eps, steps, momentum, plain):
    model, images, labels = plain
    model = copy.deepcopy(model).double()
    images = images.double()
    expected = sa_pgd(model, images, labels, eps=eps, steps=steps, momentum=momentum)
    common = {"eps": eps, "steps": steps, "keep": "last", "random_start": False}
    ours = create_attack("sa_pgd", momentum=momentum, **common)(model, images, labels).images
    # a kink of the network may send a pixel elsewhere
    assert ((ours - expected).abs() > 1e-4).double().mean() < 0.005
    # the signs alone lead elsewhere
    signed = SignAttack(rule="steepest", schedule="halving", momentum=momentum, **common)
    assert ((signed(model, images, labels).images - expected).abs() > 1e-3).double().mean() > 0.02


def test_sa_pgd_has_its_authors_constants():
    attack = create_attack("sa_pgd", eps="8/255")
    assert (attack.steps, attack.momentum, attack.step_size) == (100, 0.5, 8 / 255)
    assert (attack.rule, attack.schedule, attack.random_start) == ("adaptive", "halving", True)
    assert attack.restarts == attack.eot == 1 and attack.loss == "ce" and attack.differentiates


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["mifgsm", "pgd", "sa_pgd", "spsa"]),
    eps=st.floats(0, 1),
    step_size=st.floats(0, 1),
    halving=st.booleans(),
    start=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_stays_in_the_ball(name, eps, step_size, halving, start, seed):
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand((3, 2, 3, 3), generator=draws)
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn((3, 18), generator=draws))
    more = {"samples": 2} if name == "spsa" else {}
    attack = create_attack(
        name,
        eps=eps,
        step_size=step_size,
        steps=4,
        schedule="halving" if halving else "constant",
        random_start=start,
        seed=seed,
        **more,
    )
    labels = torch.randint(3, (3,), generator=draws)
    for found in (attack(model, images, labels).images, attack.perturb(model, images, labels)):
        assert found.min() >= 0 and found.max() <= 1
        assert (found - images).abs().max() <= eps + 1e-6


class Fading(nn.Module):
    """Right about class 0; its gradient vanishes in every image but the last, where it is tiny."""

    def forward(self, images):
        height = images.mean((1, 2, 3)) * 1e-30
        height = torch.where(torch.arange(len(images)) < len(images) - 1, 0 * height, height)
        return torch.stack((torch.ones_like(height), height), 1)


def test_a_vanished_gradient_moves_nothing_and_a_tiny_one_does():
    images, labels = torch.full((3, 1, 4, 4), 0.5), torch.zeros(3, dtype=torch.long)
    attack = create_attack("sa_pgd", eps=0.1, steps=5, random_start=False, loss="margin", keep="last")
    moved = attack(Fading(), images, labels).images
    assert torch.equal(moved[:2], images[:2])
    torch.testing.assert_close(moved[2], images[2] + 0.1)
