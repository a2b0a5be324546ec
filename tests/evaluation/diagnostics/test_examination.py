"""One examination: attacks it repeats, things it computes once, and draws that do not depend on who asks."""

import pytest
import torch
from torch import nn

from evaluation.victims import foreign, photographs
from purespike.attacks import SignAttack, create_attack
from purespike.evaluation.diagnostics import Examination
from purespike.evaluation.diagnostics.convergence import check_loss, check_silent, check_stability
from purespike.evaluation.diagnostics.examination import LEADING, leading, strongest
from purespike.evaluation.plan import Job
from purespike.models import Defended

from .asking import cell

ENSEMBLE = ("a", "b", "c", "d", "e", "f")
ATTACK = SignAttack(eps=0.05, steps=3, step_size=0.02, random_start=True)


def broke(threat="adaptive", **broken):
    components = [{"surrogate": name, "loss": "ce", "broken": count} for name, count in broken.items()]
    return cell(threat, components=components)


def test_surrogates_that_broke_most_lead():
    cells = [broke(a=1, b=0, c=5), broke(a=1, f=3), broke("oblivious", own=9, b=9)]
    assert leading(cells, ENSEMBLE) == ("c", "f", "a")


def test_no_more_than_a_few_lead():
    assert leading([broke(a=1, b=2, c=3, d=4, e=5)], ENSEMBLE) == ("e", "d", "c", "b")


def test_without_an_adaptive_cell_the_first_lead():
    assert leading([], ENSEMBLE) == ENSEMBLE[:LEADING]
    assert leading([broke(a=0)], ENSEMBLE) == ENSEMBLE[:LEADING]


def test_the_strongest_attack_takes_most_gradients_at_the_first_budget():
    attacks = [
        create_attack("square", eps=0.1),
        create_attack("fgsm", eps=0.1),
        create_attack("pgd", eps=0.1, steps=5, restarts=3),
        create_attack("pgd", eps=0.1, steps=10),
        create_attack("pgd", eps=0.2, steps=99),
    ]
    assert strongest([Job(attack, attack.eps) for attack in attacks]) == attacks[2]
    assert strongest([Job(attacks[0], 0.1)]) is None


class Noisy(nn.Module):
    """Counts its calls."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        return images + 0.05 * torch.randn_like(images)


@pytest.fixture
def e():
    model = Defended(Noisy(), foreign()).eval()
    return Examination(model, *photographs(6, seed=21), attack=ATTACK)


@pytest.mark.parametrize("name", ["stochastic", "gradients", "result", "robust", "as_run", "slow"])
def test_expensive_things_are_computed_when_asked_for_and_once(e, name):
    assert e.model.purifier.calls == 0
    first = getattr(e, name)
    calls = e.model.purifier.calls
    assert calls > 0 and getattr(e, name) is first and e.model.purifier.calls == calls


def test_rules_share_an_attack(e):
    list(check_loss(e))
    calls = e.model.purifier.calls
    list(check_stability(e))
    assert e.model.purifier.calls == calls
    # as this one runs another attack, the count would tell
    list(check_silent(e))
    assert e.model.purifier.calls > calls


@pytest.mark.parametrize("name", ["result", "as_run", "gradients"])
def test_draws_do_not_depend_on_who_asks_first(e, name):
    found = []
    for seed in (1, 2):
        again = Examination(e.model, e.images, e.labels, attack=ATTACK)
        torch.manual_seed(seed)
        if seed == 2:
            # another one before, and no gradients asked for
            assert again.stochastic and again.slow is not None
            with torch.no_grad():
                value = getattr(again, name)
        else:
            value = getattr(again, name)
        assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(seed))
        found.append(value[0] if name == "gradients" else value.loss_trace)
    assert torch.equal(*found)


def test_what_is_known_is_not_computed(e):
    robust = torch.tensor([True, False, False, False, False, True])
    known = Examination(e.model, e.images, e.labels, attack=ATTACK, robust=robust, stochastic=False)
    assert known.robust is robust and known.stochastic is False and known.slow.success.shape == (2,)
    with pytest.raises(AssertionError, match="first"):
        Examination(e.model, e.images, e.labels, first=3)


@pytest.mark.parametrize(
    ("eps", "steps", "side"),
    # as it is; of the same reach, as long as a step covers no more than 2.5 balls in all
    [(0.05, 10, (10, 0.01)), (0.2, 40, (20, 0.02)), (0.2, 80, (20, 0.025))],
)
def test_side_tests_reach_as_far_in_fewer_steps(e, eps, steps, side):
    attack = SignAttack(eps=eps, steps=steps, step_size=0.01, restarts=3, random_start=True, eot=9)
    found = Examination(e.model, e.images, e.labels, attack=attack).side
    assert (found.steps, found.step_size) == (side[0], pytest.approx(side[1]))
    assert (found.restarts, found.eot, found.eps) == (1, 5, eps)
