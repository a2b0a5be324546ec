"""Attacks that have to pass a gate: what they climb, and when they have won."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from purespike.attacks import SignAttack, create_attack
from purespike.attacks.gate import GATES, gated, goal_of
from purespike.attacks.objective import OBJECTIVES
from purespike.errors import InputError

NUMBERS = st.floats(-5, 5, width=32)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.integers(0, 2)), min_size=1, max_size=8)


@given(ROWS, st.sampled_from(sorted(OBJECTIVES)), st.sampled_from(GATES))
def test_loss_and_goal_are_those_of_a_plain_loop(rows, loss, gate):
    outputs = torch.tensor([row[:4] for row in rows], dtype=torch.float64)
    labels = torch.tensor([row[4] for row in rows])
    goal = goal_of(SignAttack(loss=loss, gate=gate))
    values, won = goal.loss(outputs, labels), goal.reached(outputs, labels)
    for (*logits, margin, label), value, success in zip(rows, values, won, strict=True):
        others = [logit for k, logit in enumerate(logits) if k != label]
        wrong = max(others) >= logits[label]
        plain = max(others) - logits[label]
        if loss == "ce":
            plain = math.log(sum(math.exp(each - logits[label]) for each in logits))
        if gate == "selective":
            expected = margin if wrong else plain
        else:
            expected = plain - float(gate) * max(-margin, 0)
        assert value.item() == pytest.approx(expected, abs=1e-9)
        assert bool(success) == (wrong and margin >= 0)


def test_without_a_gate_nothing_changes():
    outputs, labels = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([0])
    assert goal_of(SignAttack()).reached(outputs, labels).item()
    assert "gate" not in create_attack("pgd")(Gate(), torch.zeros(1, 1, 1, 2), torch.tensor([0])).config


class Gate(nn.Module):
    """Class 1 where the first pixel exceeds 0.3; passes while the second is at most 0.4."""

    def forward(self, x):
        first, second = x[:, 0, 0, 0], x[:, 0, 0, 1]
        return torch.stack((torch.zeros_like(first), 10 * (first - 0.3), 0.4 - second), 1)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("stop_early", [True, False])
def test_an_attack_goes_on_where_it_is_rejected(gate, stop_early):
    images = torch.tensor([0.5, 0.8]).expand(1, 1, 1, 2)
    labels = torch.tensor([0])
    # misclassified from the start, but rejected until the second pixel has come down
    attack = SignAttack(eps=0.5, steps=10, step_size=0.1, gate=gate, stop_early=stop_early)
    found = attack(Gate(), images, labels)
    assert found.success.all() and found.best_step >= 4
    assert found.images[0, 0, 0, 0] >= 0.3 and found.images[0, 0, 0, 1] <= 0.4 + 1e-6
    unaware = SignAttack(eps=0.5, steps=10, step_size=0.1, stop_early=stop_early)
    assert unaware(Logits(), images, labels).images[0, 0, 0, 1] == 0.8


class Logits(Gate):
    def forward(self, x):
        return super().forward(x)[:, :2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SignAttack(gate="selectiv"), "unknown way with a gate 'selectiv'.*did you mean 'selective'"),
        (lambda: SignAttack(gate="0"), "must be positive and finite"),
        (lambda: SignAttack(gate="inf"), "must be positive and finite|unknown way"),
        (lambda: SignAttack(gate="1", targeted=True), "leave out targeted"),
        (lambda: create_attack("pgd", gate="1"), "unknown setting of attack pgd 'gate'"),
        (lambda: gated(OBJECTIVES["ce"], "-1"), "must be positive and finite"),
    ],
)
def test_ways_that_there_are_not(make, message):
    with pytest.raises(InputError, match=message):
        make()
