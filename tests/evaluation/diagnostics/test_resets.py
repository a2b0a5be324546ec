"""The reset that breaks more than the model's own is told."""

from dataclasses import replace

import pytest
import torch

from evaluation.victims import photographs, spiking
from purespike.attacks import SignAttack
from purespike.evaluation.diagnostics.resets import check_resets
from purespike.models import Defended
from purespike.neurons import LIF, surrogate_gradient
from purespike.results import AttackSettings, Cell, Score

from .asking import ask, one

EPS = 16 / 255
ATTACK = SignAttack(eps=EPS, steps=5, step_size=EPS / 3)


class Hidden(torch.nn.Module):
    """Class 1 where a neuron spikes at the second of two steps; brighter images bring it there.

    Silent at the first step, at a membrane above 1: the gradient through the reset, 1 minus the membrane
    times that of the spike, has the wrong sign; without the reset it is right.
    """

    def __init__(self):
        super().__init__()
        self.neurons = LIF(2.0, decay=1.0, surrogate="straightthrough")

    def forward(self, images):
        current = 5 * images.flatten(1).mean(1)
        spikes = self.neurons(torch.stack([current, torch.full_like(current, 0.4)]))
        return torch.stack([0.5 - spikes[1], spikes[1] - 0.5], 1)


def measured(threat):
    return [
        Cell(
            attack="pgd",
            eps=EPS,
            norm="linf",
            threat=threat,
            outcomes=(1,),
            settings=AttackSettings(),
            score=Score.of([1]),
        )
    ]


@pytest.fixture(scope="module")
def given():
    images = torch.full((8, 1, 4, 4), 0.3)
    return images, torch.zeros(8, dtype=torch.long)


def test_it_is_suspicious_where_nobody_tried_the_other(given):
    model = Hidden()
    attack = replace(ATTACK, loss="margin", random_start=False)
    with surrogate_gradient(model, reset="detached"):
        detached = int(attack(model, *given).success.sum())
    attached = int(attack(model, *given).success.sum())
    assert (attached, detached) == (0, 8)
    found = one(check_resets, model, *given, attack=attack)
    assert found.level == "suspicious"
    assert "its own (attached) breaks 0, detached breaks 8" in found.message
    found = one(check_resets, model, *given, attack=attack, cells=measured("adaptive"))
    assert found.level == "reliable" and found.message.endswith("the adaptive attacker tried both")


def test_nothing_to_choose(given):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    assert ask(check_resets, Defended(torch.nn.Identity(), model), *given, attack=ATTACK) == []


def test_a_network_has_both():
    found = one(check_resets, spiking(), *photographs(4, seed=21), attack=replace(ATTACK, steps=2))
    assert "detached breaks" in found.message
