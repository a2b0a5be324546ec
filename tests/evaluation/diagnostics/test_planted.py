"""Planted adversarial images: they exist, honest attacks find them, weak ones do not."""

import pytest
import torch
from torch import nn

from evaluation.victims import defended, foreign, photographs, spiking
from purespike.attacks import SignAttack, worst_case
from purespike.attacks.objective import frozen_eval
from purespike.evaluation.diagnostics import planted
from purespike.evaluation.diagnostics.planted import (
    Binarised,
    Readouts,
    _last_linear,
    _plant,
    _readout,
    check_planted,
)
from purespike.models import Defended
from purespike.settings import Thresholds

from .asking import one

SURROGATES = ("rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)")


@pytest.fixture(scope="module")
def given():
    return photographs(10, seed=31)


class Rounding(nn.Module):
    def forward(self, images):
        return (images * 12).round() / 12


def attack(norm="linf", **settings):
    eps = 16 / 255 if norm == "linf" else 1.0
    return SignAttack(eps=eps, norm=norm, **{"steps": 15, "step_size": eps / 4, **settings})


def ensemble(settings):
    def attacker(model, images, labels):
        return worst_case(model, images, labels, attack=settings, surrogates=SURROGATES)[0]

    return attacker


def check(model, given, settings=None, **more):
    return one(check_planted, model, *given, attack=settings or attack(), surrogates=SURROGATES, **more)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("make", [foreign, spiking, defended])
def test_an_honest_attack_finds_them(given, make, norm):
    found = check(make(), given, attack(norm))
    assert found.level == "reliable" and "planted adversarial images" in found.message, found.message


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (lambda: Defended(Rounding(), foreign()).eval(), {}),
        (foreign, {"steps": 1, "step_size": 1e-4}),
        (spiking, {"steps": 1, "step_size": 1e-4}),
    ],
    ids=["no gradient", "no steps", "no steps, spiking"],
)
def test_a_weak_attack_does_not(given, model, settings):
    found = check(model(), given, attack(**settings))
    assert found.level == "unreliable" and "not reportable" in found.advice, found.message
    assert check(model(), given, attack(**settings), thresholds=Thresholds(planted=0.0)).level == "reliable"


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("make", [foreign, spiking])
def test_they_exist_within_the_budget_and_chance_does_not_find_them(given, make, norm):
    model, settings = make(), attack(norm)
    images = given[0]
    with frozen_eval(model), torch.no_grad():
        binarised = _plant(model, _last_linear(model, images[:1]), images, settings)
        anchors = binarised.readouts.anchors
        assert len(anchors) >= 4
        assert (binarised(anchors).argmax(1) == 0).all()
        draw = torch.Generator().manual_seed(77)
        hits = 0
        for _ in range(20):
            if norm == "linf":
                offset = settings.eps * (2 * torch.rand(anchors.shape, generator=draw) - 1)
            else:
                offset = torch.randn(anchors.shape, generator=draw)
                offset *= settings.eps / offset.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            hits += int((binarised((anchors + offset).clamp(0, 1)).argmax(1) == 1).sum())
    assert hits / (20 * len(anchors)) < 0.1
    result = ensemble(settings)(binarised, anchors, torch.zeros(len(anchors), dtype=torch.long))
    away = (result.images - anchors).flatten(1)
    length = away.abs().amax(1) if norm == "linf" else away.norm(dim=1)
    assert (length <= settings.eps + 1e-5).all() and result.success.float().mean() > 0.8


def test_the_readout_is_that_of_the_widest_margin():
    # the planted point at (3, 0), the nearest inner one at (1, 0): the threshold is x = 2
    inner = [(0.0, 0.0), (1.0, 0.0), (-1.0, 1.0), (-1.0, -1.0)]
    points = torch.tensor([*inner, *[inner[0]] * (planted.INNER - 3), (3.0, 0.0)], dtype=torch.float64)
    weight, bias = _readout(points.numpy())
    assert abs(weight[1]) < 1e-3 * abs(weight[0]) and -bias / weight[0] == pytest.approx(2, rel=1e-3)
    # a further random point, between them, moves the threshold only
    closer = torch.cat([points[:-1], torch.tensor([[2.0, 0.5]]).double(), points[-1:]])
    weight, bias = _readout(closer.numpy())
    assert -bias / weight[0] == pytest.approx(2.5, rel=1e-3)
    # inside the others nothing separates it
    points[-1] = torch.tensor([0.0, 0.0])
    assert _readout(points.numpy()) is None
    points[-1] = torch.tensor([-0.5, 0.2])
    assert _readout(points.numpy()) is None


def test_each_image_meets_its_own_readout_in_any_batch(given):
    images, model = given[0][:4], foreign()
    linear = model[1]
    weights = torch.randn((4, linear.in_features), generator=torch.Generator().manual_seed(1))
    biases = torch.arange(4.0)
    binarised = Binarised(model, linear, Readouts(images, weights, biases, "linf"))
    expected = (weights.double() * images.flatten(1).double()).sum(1) + biases.double()
    order = torch.tensor([2, 0, 3, 3, 1])
    logits = binarised((images + 0.01)[order] - 0.01)
    assert torch.allclose((logits[:, 1] - logits[:, 0]).double(), expected[order], atol=1e-4)
    assert torch.equal(model(images), foreign()(images)), "the model itself is left as it is"
    assert not linear._forward_hooks


class Steps(nn.Module):
    """A readout at every time step, in each of the ways that frameworks write it."""

    def __init__(self, way, last=None):
        super().__init__()
        self.way, self.readout = way, nn.Linear(3 * 12 * 12, 4)
        self.last = last or nn.Identity()

    def forward(self, images):
        steps = torch.stack([images.flatten(1), images.flatten(1) ** 2, images.flatten(1).sqrt()])
        if self.way == "folded":
            logits = self.readout(steps.flatten(0, 1)).unflatten(0, (3, -1)).mean(0)
        elif self.way == "time first":
            logits = self.readout(steps).mean(0)
        elif self.way == "time second":
            logits = self.readout(steps.transpose(0, 1)).mean(1)
        else:
            logits = torch.stack([self.readout(step) for step in steps]).mean(0)
        return self.last(logits)


def test_time_steps_in_any_order_are_averaged(given):
    images = given[0]
    torch.manual_seed(0)
    found = []
    for way in ("folded", "time first", "time second", "loop"):
        model = Steps(way)
        model.load_state_dict(found[0][0].state_dict() if found else model.state_dict())
        with frozen_eval(model), torch.no_grad():
            binarised = _plant(model, model.readout, images, attack())
        found.append((model, binarised.readouts, binarised(images)))
    for _, readouts, logits in found[1:]:
        assert len(readouts.anchors) >= 4
        assert torch.allclose(readouts.weights, found[0][1].weights, rtol=1e-3, atol=1e-3)
        assert torch.allclose(logits, found[0][2], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 12), nn.Flatten()), "nn.Linear"),
        (Steps("folded", nn.LayerNorm(4)), "takes all classes"),
    ],
    ids=["no linear layer", "classes are needed later"],
)
def test_where_it_does_not_apply_it_says_so(given, model, why):
    found = check(model.eval(), given)
    assert found.level == "reliable" and found.message.startswith("not applicable") and why in found.message


def test_where_features_do_not_move_nothing_can_be_planted(given):
    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.readout = nn.Linear(432, 4)

        def forward(self, images):
            return self.readout((images.flatten(1) > 2).float() + 0 * images.flatten(1))

    found = check(Still().eval(), given)
    assert found.level == "reliable" and "10 admit no such readout" in found.message


def test_images_in_each_other_s_balls_are_not_confused(given):
    images, labels = given
    twice = torch.cat([images[:5], images[:5] + 0.001]).clamp(0, 1)
    found = check(foreign(), (twice, torch.cat([labels[:5]] * 2)))
    assert "5 of 5 planted" in found.message
