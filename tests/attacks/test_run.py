"""What an attack from outside returns: checked once, judged again, and never a traceback."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn

import purespike as ps
from purespike.attacks import Attack, AttackResult, create_attack
from purespike.attacks.run import run_attack
from purespike.evaluation import transfer_matrix

EPS = 0.1


@dataclass(frozen=True, kw_only=True)
class Claim(Attack):
    """Claims to have broken every image; ``turned`` has the last word on its result."""

    name: str = "claim"
    eps: float = EPS
    seed: int = 0
    turned: Any = None

    def __call__(self, model, images, labels):
        count = len(images)
        result = AttackResult(
            images.clone(),
            torch.ones(count).bool(),
            torch.zeros(count).long(),
            torch.zeros(1, count),
            count,
            0,
        )
        return result if self.turned is None else self.turned(result)


@pytest.fixture(scope="module")
def given():
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.rand(5, 3, 2, 2) * 0.8 + 0.1
    return model, images, model(images).argmax(1)


def changed(**fields):
    """A result with fields set to values, or to functions of their values."""
    return lambda result: replace(
        result,
        **{
            name: value(getattr(result, name)) if callable(value) else value for name, value in fields.items()
        },
    )


WRONG = {
    "nothing": (lambda result: None, "must return an AttackResult, got NoneType"),
    "a tuple": (lambda result: (result.images, result.success), "must return an AttackResult, got tuple"),
    "fewer images": (
        changed(images=lambda x: x[:3]),
        r"must return images of shape \[5, 3, 2, 2\], got \[3, 3, 2, 2\]",
    ),
    "no tensor": (
        changed(images=lambda x: x.numpy()),
        r"must return images of shape \[5, 3, 2, 2\], got ndarray",
    ),
    "NaN": (changed(images=lambda x: x * torch.nan), "returned images that are not finite"),
    "above 1": (changed(images=lambda x: x + 2), r"returned images outside \[0, 1\], from 2\."),
    "out of its ball": (
        changed(images=lambda x: (x + 0.101).clamp(0, 1)),
        r"left its budget: an image lies 0\.101 from its original, outside L∞ eps 0\.1",
    ),
    "one success": (changed(success=torch.tensor(True)), r"must return success of shape \[5\], got \[\]"),
    "half a pass": (changed(forwards=2.5), r"must count its forwards in a whole number, got 2\.5"),
}


@pytest.mark.parametrize("turned, message", WRONG.values(), ids=WRONG)
def test_a_wrong_result_is_one_line_that_names_the_attack(given, turned, message):
    with pytest.raises(ps.InputError, match=f"^attack claim: {message}"):
        run_attack(Claim(turned=turned), *given)


def test_a_failure_is_one_line(given):
    def fails(result):
        raise KeyError("gradient")

    with pytest.raises(ps.InputError, match=r"^attack claim: failed with KeyError: 'gradient'$"):
        run_attack(Claim(turned=fails), *given)


def test_successes_are_judged_again(given):
    model, images, labels = given
    claimed = run_attack(Claim(), *given)
    assert not claimed.success.any() and claimed.forwards == 5 + 5
    wrong = (labels + 1) % 3
    denied = run_attack(Claim(turned=changed(success=~torch.ones(5).bool())), model, images, wrong)
    assert denied.success.all()


def test_one_inside_float32_rounding_of_its_ball_is_taken(given):
    found = run_attack(Claim(turned=changed(images=lambda x: x + EPS)), *given)
    assert (found.images - given[1]).abs().max() <= EPS + 1e-6


def test_half_precision_is_held_to_the_exact_ball(given):
    model, images, labels = given[0].to(torch.bfloat16), given[1].bfloat16(), given[2]
    with pytest.raises(ps.InputError, match="left its budget"):
        run_attack(Claim(turned=changed(images=lambda x: x + EPS)), model, images, labels)
    given[0].float()


def test_the_librarys_own_attacks_pass_as_they_are(given):
    attack = create_attack("pgd", steps=2, eps=EPS, seed=3)
    assert run_attack(attack, *given).forwards == attack(*given).forwards


def test_an_evaluation_and_a_transfer_count_what_the_model_says(given, monkeypatch):
    from purespike.attacks import attack, registry
    from purespike.results import vocabulary

    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.setattr(vocabulary, "ATTACKS", dict(vocabulary.ATTACKS))
    attack(title="Claim")(Claim)
    model, images, labels = given
    found = ps.evaluate(model, (images, labels), attacks="claim", eps=EPS, diagnose=0)
    assert {(cell.threat, cell.score.correct) for cell in found.cells} == {("adaptive", 5)}
    transferred = transfer_matrix({"it": model}, {"it": model}, (images, labels), attacks="claim", eps=EPS)
    assert transferred.cells[0].score.correct == 5

    def leaves(self, *given):
        return WRONG["out of its ball"][0](
            AttackResult(given[1], *[given[2] > 9] * 2, given[1][:1, 0, 0], 5, 0)
        )

    monkeypatch.setattr(Claim, "__call__", leaves)
    with pytest.raises(ps.InputError, match="attack claim: left its budget"):
        ps.evaluate(model, (images, labels), attacks="claim", eps=EPS, diagnose=0)
