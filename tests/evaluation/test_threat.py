"""Threat models as objects: what each differentiates, and against what it is judged."""

import pytest
import torch
from torch import nn

import purespike
from purespike import InputError
from purespike.attacks import create_attack
from purespike.evaluation.threat import THREATS, Scene, select_threats

from .victims import defended, foreign, photographs, spiking

EPS = 16 / 255
PGD = {"name": "pgd", "steps": 3, "step_size": 8 / 255, "random_start": False}
SURROGATES, LOSSES = ("rectangle(width=1)", "atan(alpha=2)"), ("ce", "margin")


@pytest.fixture(scope="module")
def sample():
    return photographs(20, seed=7)


def names(threat, attack, **scene):
    scene = Scene(defended(), SURROGATES, LOSSES, **scene)
    return [(route.name, route.loss) for route in THREATS[threat].routes(scene, create_attack(attack))]


@pytest.mark.parametrize(
    ("threat", "attack", "expected"),
    [
        ("undefended", "pgd", [("own", "own")]),
        ("oblivious", "square", [("own", "own")]),
        ("bpda", "pgd", [("identity", "own")]),
        ("bpda", "square", []),
        ("adaptive", "pgd", [(surrogate, loss) for surrogate in SURROGATES for loss in LOSSES]),
        ("adaptive", "apgd_ce", [(surrogate, "own") for surrogate in SURROGATES]),
        ("adaptive", "square", []),
        ("adaptive", "gaussian_noise", []),
        ("query", "square", [("own", "own")]),
        ("query", "spsa", [("own", "own")]),
        ("query", "pgd", []),
        ("query", "gaussian_noise", []),
        ("transfer", "pgd", []),
    ],
)
def test_routes(threat, attack, expected):
    # the adaptive attacker exchanges the reset of the neurons on what is left
    twice = 2 if threat == "adaptive" else 1
    assert names(threat, attack) == expected * twice


def test_routes_of_an_attacker_who_has_more():
    assert names("bpda", "pgd", approximation=nn.Identity()) == [("identity", "own"), ("learned", "own")]
    others = {"one": foreign(), "two": spiking()}
    assert names("transfer", "pgd", substitutes=others) == [("one", "own"), ("two", "own")]
    assert names("transfer", "square", substitutes=others) == []


def test_all_is_what_makes_sense():
    others = {"one": foreign()}
    assert select_threats("all", defended()) == [
        "undefended",
        "oblivious",
        "bpda",
        "adaptive",
        "seed_known",
        "query",
    ]
    assert select_threats("all", defended(), others) == list(THREATS)
    assert select_threats("all", spiking(), others) == ["undefended", "adaptive", "seed_known", "transfer"]


@pytest.mark.parametrize(
    ("threat", "model", "message"),
    [
        ("transfer", defended, "no substitute is given"),
        ("bpda", spiking, "has no purifier"),
        ("adaptve", spiking, "did you mean 'adaptive'"),
    ],
)
def test_what_is_missing_is_said(threat, model, message):
    with pytest.raises(InputError, match=message):
        select_threats(threat, model())


def test_transfer_is_made_on_the_substitute_and_judged_by_the_whole(sample):
    images, labels = sample
    model, substitute = defended(), foreign()
    found = purespike.evaluate(
        *(model, sample),
        attacks=[PGD],
        eps=EPS,
        threat=["transfer", "adaptive"],
        substitutes={"linear": substitute, "same": model},
        diagnose=0,
    )
    right = (model(images).argmax(1) == labels).tolist()
    cell = found.cell("pgd", "transfer")
    attack = create_attack(**PGD, eps=EPS)
    rows = torch.tensor(right)
    crafted = attack(substitute, images[rows], labels[rows]).images
    survives = iter((model(crafted).argmax(1) == labels[rows]).tolist())
    by_linear = [int(next(survives)) if value else 0 for value in right]
    linear, same = cell.components
    assert (linear.surrogate, linear.attacked) == ("linear", sum(right))
    assert linear.broken == sum(right) - sum(by_linear)
    # the second substitute is the model itself, and meets what is left
    assert same.attacked == sum(by_linear) and same.broken > 0
    assert sum(cell.outcomes) == sum(by_linear) - same.broken
    assert found.content["settings"]["substitutes"].keys() == {"linear", "same"}


def test_a_substitute_that_does_not_fit_is_named(sample):
    with pytest.raises(InputError, match="substitute small"):
        purespike.evaluate(
            defended(), sample, threat="transfer", substitutes={"small": nn.Linear(3, 4)}, diagnose=0
        )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_budgets_of_either_norm(sample, norm):
    images, _ = sample
    eps = {"linf": EPS, "l2": 0.5}[norm]
    found = purespike.evaluate(
        defended(),
        sample,
        attacks=[{"name": "pgd", "steps": 4}, {"name": "apgd_ce", "steps": 4}, "gaussian_noise"],
        eps=[eps, 2 * eps],
        norm=norm,
        threat="all",
        diagnose=0,
    )
    bounded = [cell for cell in found.content["cells"] if cell["eps"] is not None]
    assert {(cell["norm"], cell["eps"]) for cell in bounded} == {(norm, eps), (norm, 2 * eps)}
    for cell in bounded:
        size = images[0].numel() ** 0.5 if norm == "linf" else 1
        assert 0 < cell["mean_l2"] <= cell["eps"] * size + 1e-4
    before, after = (found.cell("pgd", "adaptive", value).score.correct for value in (eps, 2 * eps))
    assert after <= before < 20 and {row["eps"] for row in found.content["worst_case"]} == {eps, 2 * eps}
    assert {"linf": "L∞", "l2": "L2"}[norm] in repr(found)


def test_a_norm_is_the_evaluations_own(sample):
    for settings, message in (
        ({"attacks": [{**PGD, "norm": "l2"}]}, "norm is the evaluation's own"),
        ({"norm": "l1"}, "unknown norm"),
    ):
        with pytest.raises(InputError, match=message):
            purespike.evaluate(defended(), sample, diagnose=0, **settings)
