"""Whether the attack did what it could: synthetic traces, and models on which it fails in a known way."""

import math

import pytest
import torch
from torch import nn

from evaluation.victims import foreign, photographs
from purespike.attacks import AttackResult, SignAttack
from purespike.evaluation.diagnostics import Examination
from purespike.evaluation.diagnostics.convergence import (
    check_budget,
    check_gradient_free,
    check_loss,
    check_silent,
    check_stability,
    check_verdicts,
)
from purespike.evaluation.diagnostics.large_budget import check_large_budgets
from purespike.models import Defended
from purespike.settings import Thresholds

from .asking import ask, one

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


def traced(*columns, success=()):
    """A result with these traces, one per image."""
    trace = torch.tensor(columns, dtype=torch.float32).T
    count = trace.shape[1]
    broken = torch.tensor([row in success for row in range(count)])
    return AttackResult(torch.zeros(count, 1, 1, 1), broken, torch.zeros(count), trace, 0, 0)


def judged(check, result, *, classes=4, **known):
    """The finding of ``check`` on a result of the attack, whichever of them it reads."""
    images, labels = torch.zeros(len(result.success), classes, 1, 1), torch.zeros(len(result.success))
    return one(check, nn.Flatten(), images, labels, slow=result, as_run=result, **known)


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
    robust = ~attack(foreign(), images, labels).success
    longer = SignAttack(eps=EPS, steps=2 * steps, step_size=size)(foreign(), images, labels).success
    gained = int((longer & robust).sum())
    assert (gained > 0) == gains
    known = {"attack": attack, "robust": robust, "losses": [attack.loss]}
    found = ask(check_budget, foreign(), images, labels, **known)[0]
    assert found.name == f"budget: {2 * steps} steps" and f"a further {gained}" in found.message
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
    robust = ~attack(TwoHills(), images, labels).success
    assert robust.all()
    known = {"robust": robust, "losses": ["margin"]}
    _, found = ask(check_budget, TwoHills(), images, labels, attack=attack, **known)
    assert found.level == "suspicious" and found.remedy == {"restarts": 4, "random_start": True}
    started = SignAttack(
        eps=0.3, steps=10, step_size=0.01, loss="margin", random_start=True, restarts=12, seed=5
    )
    robust = ~started(TwoHills(), images, labels).success
    assert not robust.any()
    _, found = ask(check_budget, TwoHills(), images, labels, attack=started, robust=robust)
    assert found.name == "budget: 24 random starts" and found.level == "reliable"


def test_one_image_may_be_chance_where_a_model_is_stochastic(given):
    # an attack that breaks all images, said to have left one of them
    assert ATTACK(foreign(), *given).success.all()
    known = {"attack": ATTACK, "robust": torch.arange(len(given[1])) == 0}
    found = [ask(check_budget, foreign(), *given, stochastic=random, **known)[0] for random in (False, True)]
    assert [each.level for each in found] == ["suspicious", "reliable"]
    assert all("a further 1" in each.message for each in found)


def test_a_budget_that_was_judged_before_is_not_judged_again(given):
    e = Examination(foreign(), *given, attack=ATTACK)
    e.budget = list(check_budget(e))
    e.model = None
    assert list(check_budget(e)) == e.budget


def test_a_loss_that_still_climbs():
    climbing = [float(step) for step in range(31)]
    arrived = [min(step, 10.0) for step in climbing]
    assert judged(check_loss, traced(climbing)).level == "suspicious"
    assert "33.3%" in judged(check_loss, traced(climbing)).message
    assert judged(check_loss, traced(arrived)).level == "reliable"
    assert judged(check_loss, traced(climbing, arrived, success=(0,))).level == "reliable", "it is broken"
    assert judged(check_loss, traced(climbing), thresholds=Thresholds(late_gain=0.4)).level == "reliable"


def test_a_loss_that_is_thrown_about():
    rising = [1 - 0.8**step for step in range(21)]
    wobbling = [value + 0.02 * (step % 2) for step, value in enumerate(rising)]
    thrown = [0.0] + [1.0 if step % 2 else -1.0 for step in range(20)]
    assert judged(check_stability, traced(rising)).level == "reliable"
    assert judged(check_stability, traced(wobbling)).level == "reliable"
    found = judged(check_stability, traced(thrown))
    # of ten late steps each second loses two, where the run gained one
    assert found.level == "suspicious" and "100.0% of" in found.message
    assert judged(check_stability, traced([0.0] * 21)).level == "reliable", "nothing moves"
    falling = [-float(step) for step in range(21)]
    assert judged(check_stability, traced(falling)).level == "suspicious"
    assert judged(check_stability, traced(thrown, rising, success=(0,))).level == "reliable"


def test_too_long_steps_are_unstable():
    class Ridge(nn.Module):
        """Each pixel has its own best value, near the image's; no point of the ball is adversarial."""

        def forward(self, images):
            loss = -((images - 0.52) ** 2).mean((1, 2, 3))
            return torch.stack([torch.ones_like(loss), loss], 1)

    images, labels = torch.full((4, 3, 4, 4), 0.5), torch.zeros(4, dtype=torch.long)
    for size, level in ((0.1, "suspicious"), (0.002, "reliable")):
        attack = SignAttack(eps=EPS, steps=20, step_size=size, loss="margin")
        assert judged(check_stability, attack(Ridge(), images, labels)).level == level


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
    found = one(check_silent, Gap(), images, labels, attack=attack)
    assert found.level == level
    if keep == "last":
        assert "3 were misclassified on the way" in found.message and found.remedy == {"keep": "best"}


def test_a_cross_entropy_is_only_held_to_be_a_success_where_it_must_be_one():
    def ten(result):
        return judged(check_silent, result, classes=10, attack=SignAttack(eps=EPS, loss="ce"))

    below, above = math.log(10) - 0.01, math.log(10) + 0.01
    assert ten(traced([0.1, below])).level == "reliable"
    assert ten(traced([0.1, above])).level == "suspicious"
    assert ten(traced([0.1, above], success=(0,))).level == "reliable"


def test_verdicts_that_do_not_hold(given):
    images, labels = given
    result = ATTACK(foreign(), images, labels)
    assert one(check_verdicts, foreign(), images, labels, as_run=result).level == "reliable"
    found = one(check_verdicts, foreign(), images, (labels + 1) % 4, as_run=result)
    assert found.level == "unreliable" and "counted but not broken" in found.message


def test_a_witness_without_gradients(given):
    masked = Defended(Rounding(), foreign()).eval()
    attack = SignAttack(eps=0.4, steps=10, step_size=0.1)

    def witnessed(model):
        robust = ~attack(model, *given).success
        return one(check_gradient_free, model, *given, attack=attack, robust=robust)

    found = witnessed(masked)
    assert found.level == "unreliable" and found.advice.startswith("gradients are masked")
    assert witnessed(foreign()).level == "reliable"


def test_a_witness_of_one_image(given):
    # all images can be broken at this budget, and one is said to have been left
    robust = torch.arange(len(given[1])) == 0
    found = one(check_gradient_free, foreign(), *given, attack=SignAttack(eps=0.4), robust=robust)
    assert found.level == "suspicious" and "breaks 1 of the 1 images" in found.message


def test_nothing_is_robust_in_a_large_ball(given):
    levels = [found.level for found in ask(check_large_budgets, foreign(), *given, attack=ATTACK)]
    assert levels == ["reliable", "reliable"]
    masked = Defended(Rounding(), foreign()).eval()
    found = ask(check_large_budgets, masked, *given, attack=ATTACK)
    assert [each.name for each in found] == ["nothing stands at eps 0.5", "nothing stands at eps 1"]
    assert found[0].level == "unreliable" and "masked" in found[0].advice
    in_l2 = SignAttack(eps=0.5, norm="l2", steps=3)
    assert ask(check_large_budgets, foreign(), *given, attack=in_l2)[0].level == "reliable"
