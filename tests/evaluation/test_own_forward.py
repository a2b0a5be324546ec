"""A defended model is measured by its own answers, not by those of its parts."""

import pytest
import torch
from torch import nn

import purespike as ps
from purespike.attacks.bpda import IdentityBackward
from purespike.evaluation.inputs import nature
from purespike.models import Defended, Purifier
from purespike.rejection import Rejecting

SIDE = 8


class Halving(nn.Module):
    def forward(self, images):
        return 1 - images


class Bypassing(Defended):
    """Answers as its classifier does, whatever its purifier makes of the images."""

    def forward(self, images):
        return self.classifier(images)


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 3))


@pytest.fixture
def data():
    images = torch.rand(12, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return images, linear()(images).argmax(1)


def test_a_forward_of_its_own_is_what_is_measured(data):
    model = Bypassing(Halving(), linear())
    found = ps.evaluate(
        model, data, attacks=["fgsm"], eps="1/255", threat=["oblivious", "bpda", "adaptive"], diagnose=0
    )
    right = (model(data[0]).argmax(1) == data[1]).sum().item()
    assert right == 12 and found.clean.defended.correct == right
    broken = ps.attacks.fgsm(model, *data, eps="1/255").success.sum().item()
    for threat in ("oblivious", "adaptive"):
        assert found.cell("fgsm", threat, "1/255").score.correct == 12 - broken
    assert Defended(Halving(), linear()).by_parts and not model.by_parts


def test_rejecting_answers_as_its_model_does(data):
    rejecting = Rejecting(Bypassing(Halving(), linear()), "purification_distance", 1e9)
    assert rejecting.decide(data[0]).logits.equal(rejecting(data[0]))


def test_bpda_s_answers_are_those_of_the_model(data):
    model = Bypassing(Halving(), linear())
    images = data[0].clone().requires_grad_()
    logits = IdentityBackward(model)(images)
    torch.testing.assert_close(logits, model(images))
    (gradient,) = torch.autograd.grad(logits.sum(), images)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("passes", [1, 9])
def test_a_vote_that_hides_its_draws_is_stochastic(passes, data):
    torch.manual_seed(0)
    purifier = Purifier(in_channels=1, width=1 / 8, noise=1e-3, passes=passes, vote="majority")
    model = Defended(purifier, linear()).eval()
    assert nature(model, data[0][:4], 1e-4).kind == "stochastic"


def test_a_model_that_draws_for_nothing_is_deterministic(data):
    class Idle(nn.Module):
        def forward(self, images):
            torch.rand(3)
            return images.flatten(1)[:, :3]

    assert nature(Idle(), data[0], 1e-4).kind == "deterministic"
