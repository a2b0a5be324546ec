"""What an attack did with its chances: synthetic traces, and models on which it must fail in a known way."""

import math

import pytest
import torch
from purespike.evaluation.convergence import (
    check_budget,
    check_loss,
    check_silent,
    check_stability,
    check_verdicts,
    check_witness,
)
from purespike.evaluation.finding import Limits
from purespike.evaluation.large_budget import check_large_budgets
from torch import nn

from purespike.attacks import AttackResult, SignAttack, create_attack
from purespike.models import Defended

from .victims import foreign, photographs

EPS = 0.3
ATTACK = SignAttack(eps=EPS, steps=10, step_size=EPS / 4)


@pytest.fixture(scope="module")
def given():
    images, labels = photographs(12, seed=21)
    right = foreign()(images).argmax(1) == labels
    return images[right], labels[right]


class Rounding(nn.Module):
    def forward(self, images):
        return (images * 12).round() / 12


def plainly(settings):
    """The attacker who has one gradient only."""
    return settings


def traced(*columns, success=()):
    """A result with these traces, one per image."""
    trace = torch.tensor(columns, dtype=torch.float32).T
    count = trace.shape[1]
    fallen = torch.tensor([row in success for row in range(count)])
    return AttackResult(torch.zeros(count, 1, 1, 1), fallen, torch.zeros(count), trace, 0, 0)


@pytest.mark.parametrize(
    ("steps", "size", "gains", "remedy"),
    [
        # one step more often would no longer be the attack that it is called
        (1, 0.1, True, None),
        (2, 0.05, True, {"steps": 4}),
        (20, 0.1, False, None),
    ],
)
def test_more_steps(given, steps, size, gains, remedy):
    images, labels = given
    attack = SignAttack(eps=EPS, steps=steps, step_size=size)
    standing = ~attack(foreign(), images, labels).success
    longer = SignAttack(eps=EPS, steps=2 * steps, step_size=size)(foreign(), images, labels).success
    gained = int((longer & standing).sum())
    assert (gained > 0) == gains
    found = check_budget(plainly, foreign(), images, labels, standing, attack=attack)[0]
    assert found.name == f"budget: {2 * steps} steps" and f"a further {gained}" in found.seen
    assert found.level == ("suspicious" if gains else "reliable") and found.remedy == remedy


class TwoHills(nn.Module):
    """A low hill of loss next to the image, and beyond a valley a high one, which alone is adversarial."""

    def forward(self, images):
        height = images.mean((1, 2, 3)) - 0.5
        low = 0.3 * torch.exp(-((height + 0.04) ** 2) / 0.0008)
        high = torch.exp(-((height - 0.2) ** 2) / 0.004)
        return torch.stack([torch.full_like(height, 0.5), low + high], 1)


def test_more_starts():
    # one pixel, so that a start is drawn uniformly from the ball
    images, labels = torch.full((12, 1, 1, 1), 0.48), torch.zeros(12, dtype=torch.long)
    attack = SignAttack(eps=0.3, steps=10, step_size=0.01, loss="margin")
    standing = ~attack(TwoHills(), images, labels).success
    assert standing.all()
    _, found = check_budget(plainly, TwoHills(), images, labels, standing, attack=attack)
    assert found.level == "suspicious" and found.remedy == {"restarts": 4, "random_start": True}
    started = SignAttack(
        eps=0.3, steps=10, step_size=0.01, loss="margin", random_start=True, restarts=12, seed=5
    )
    standing = ~started(TwoHills(), images, labels).success
    assert not standing.any()
    _, found = check_budget(plainly, TwoHills(), images, labels, standing, attack=started)
    assert found.name == "budget: 24 random starts" and found.level == "reliable"


def test_one_image_may_be_chance_where_a_model_draws(given):
    images, labels = given
    standing = torch.zeros(len(images), dtype=torch.bool)
    standing[0] = True

    def gaining(settings):
        return lambda model, images, labels: traced([0.0], success=(0,))

    levels = [
        check_budget(gaining, foreign(), images, labels, standing, attack=ATTACK, random=random)[0].level
        for random in (False, True)
    ]
    assert levels == ["suspicious", "reliable"]


def test_a_loss_that_still_climbs():
    climbing = [float(step) for step in range(31)]
    arrived = [min(step, 10.0) for step in climbing]
    assert check_loss(traced(climbing)).level == "suspicious"
    assert "33.3%" in check_loss(traced(climbing)).seen
    assert check_loss(traced(arrived)).level == "reliable"
    assert check_loss(traced(climbing, arrived, success=(0,))).level == "reliable", "that image has fallen"
    assert check_loss(traced(climbing), Limits(moved=0.4)).level == "reliable"


def test_a_loss_that_is_thrown_about():
    rising = [1 - 0.8**step for step in range(21)]
    wobbling = [value + 0.02 * (step % 2) for step, value in enumerate(rising)]
    thrown = [0.0] + [1.0 if step % 2 else -1.0 for step in range(20)]
    assert check_stability(traced(rising)).level == "reliable"
    assert check_stability(traced(wobbling)).level == "reliable"
    found = check_stability(traced(thrown))
    # of ten late steps each second loses two, where the run gained one
    assert found.level == "suspicious" and "100.0% of" in found.seen
    assert check_stability(traced([0.0] * 21)).level == "reliable", "nothing moves"
    falling = [-float(step) for step in range(21)]
    assert check_stability(traced(falling)).level == "suspicious"
    assert check_stability(traced(thrown, rising, success=(0,))).level == "reliable"


def test_too_long_steps_are_unstable():
    class Ridge(nn.Module):
        """Each pixel has its own best value, near the image's; no point of the ball is adversarial."""

        def forward(self, images):
            loss = -((images - 0.52) ** 2).mean((1, 2, 3))
            return torch.stack([torch.ones_like(loss), loss], 1)

    images, labels = torch.full((4, 3, 4, 4), 0.5), torch.zeros(4, dtype=torch.long)
    for size, level in ((0.1, "suspicious"), (0.002, "reliable")):
        attack = SignAttack(eps=EPS, steps=20, step_size=size, loss="margin")
        assert check_stability(attack(Ridge(), images, labels)).level == level


class Gap(nn.Module):
    """Class 1 within a tenth of brightness 0.6, class 0 elsewhere."""

    def forward(self, images):
        away = (images.mean((1, 2, 3)) - 0.6) ** 2
        return torch.stack([away - 0.01, torch.zeros_like(away)], 1)


@pytest.mark.parametrize("loss", ["margin", "ce"])
@pytest.mark.parametrize(("keep", "level"), [("last", "suspicious"), ("best", "reliable")])
def test_an_iterate_that_was_found_and_thrown_away(keep, level, loss):
    images, labels = torch.full((3, 1, 1, 1), 0.45), torch.zeros(3, dtype=torch.long)
    # to and fro over the maximum: 0.45, 0.65, 0.45
    attack = SignAttack(eps=0.3, steps=2, step_size=0.2, loss=loss, keep=keep)
    result = attack(Gap(), images, labels)
    assert result.success.all() == (keep == "best")
    found = check_silent(result, loss=loss, classes=2)
    assert found.level == level
    if keep == "last":
        assert "3 were misclassified on the way" in found.seen and found.remedy == {"keep": "best"}


def test_a_cross_entropy_is_only_held_to_be_a_success_where_it_must_be_one():
    below, above = math.log(10) - 0.01, math.log(10) + 0.01
    assert check_silent(traced([0.1, below]), loss="ce", classes=10).level == "reliable"
    assert check_silent(traced([0.1, above]), loss="ce", classes=10).level == "suspicious"
    assert check_silent(traced([0.1, above], success=(0,)), loss="ce", classes=10).level == "reliable"


def test_verdicts_that_do_not_hold(given):
    result = ATTACK(foreign(), *given)
    assert check_verdicts(foreign(), result, given[1]).level == "reliable"
    found = check_verdicts(foreign(), result, (given[1] + 1) % 4)
    assert found.level == "unreliable" and "counted but not broken" in found.seen


def test_a_witness_without_gradients(given):
    square = create_attack("square", eps=0.4, queries=200)
    masked = Defended(Rounding(), foreign()).eval()

    def witnessed(model, standing):
        return check_witness(model, *given, standing, witness=square, name="Square")

    attack = SignAttack(eps=0.4, steps=10, step_size=0.1)
    found = witnessed(masked, ~attack(masked, *given).success)
    assert found.level == "unreliable" and found.advice.startswith("gradients are masked")
    assert witnessed(foreign(), ~attack(foreign(), *given).success).level == "reliable"


def test_a_witness_of_one_image(given):
    def one(model, images, labels):
        return traced(*([0.0] for _ in images), success=(0,))

    standing = torch.ones(len(given[1]), dtype=torch.bool)
    found = check_witness(foreign(), *given, standing, witness=one, name="one")
    assert found.level == "suspicious"


def test_nothing_stands_in_a_large_ball(given):
    levels = [found.level for found in check_large_budgets(plainly, foreign(), *given, attack=ATTACK)]
    assert levels == ["reliable", "reliable"]
    masked = Defended(Rounding(), foreign()).eval()
    found = check_large_budgets(plainly, masked, *given, attack=ATTACK)
    assert [each.name for each in found] == ["nothing stands at eps 0.5", "nothing stands at eps 1"]
    assert found[0].level == "unreliable" and "masked" in found[0].advice
    in_l2 = SignAttack(eps=0.5, norm="l2", steps=3)
    assert check_large_budgets(plainly, foreign(), *given, attack=in_l2)[0].level == "reliable"
