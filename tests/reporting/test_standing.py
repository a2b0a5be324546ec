"""Waterfalls and worst cases equal a plain count, image by image."""

import itertools
from typing import Any

import numpy as np
import pytest

from purespike.errors import InputError
from purespike.reporting import figures, standing
from purespike.reporting.words import THREATS

Evaluation = dict[str, Any]
N = 50
EPS = 8 / 255


def random_evaluation(*, norm: str = "linf", purifier: bool = True) -> Evaluation:
    """Attacks in no order, under all threat models, with random outcomes."""
    draw = np.random.default_rng(11)

    def column() -> list[int]:
        return [int(bit) for bit in draw.random(N) < 0.9]

    cells = []
    for (attack, steps), threat in itertools.product(
        (("autoattack", 100), ("pgd", 50), ("pgd", 7), ("fgsm", 1), ("apgd_ce", 100), ("spsa", 20)),
        THREATS if purifier else ("undefended",),
    ):
        for eps, bound in ((EPS, norm), (2 * EPS, norm), (None, "noise")):
            bits = column()
            cells.append(
                {
                    "attack": attack,
                    "threat": threat,
                    "eps": eps,
                    "norm": bound,
                    "settings": {"steps": steps},
                    "outcomes": bits,
                    "score": {"n": N, "correct": sum(bits)},
                }
            )
    return {
        "model": {"classifier": {}, "purifier": {} if purifier else None},
        "data": {"source": "digits", "n": N},
        "settings": {"eps": [EPS]},
        "clean": {"undefended": {"n": N}},
        "clean_outcomes": {"undefended": column(), "defended": column()},
        "cells": cells,
    }


def counts(evaluation: Evaluation, clean: str, stages: list[list[tuple[str, int, str]]]) -> list[int]:
    """How many images stand after each stage; a stage is a list of attacks, steps and threat models."""
    alive = [bool(bit) for bit in evaluation["clean_outcomes"][clean]]
    found = [sum(alive)]
    for stage in stages:
        for cell in evaluation["cells"]:
            who = (cell["attack"], cell["settings"]["steps"], cell["threat"])
            if who in stage and cell["eps"] == EPS and cell["norm"] != "noise":
                alive = [a and bit == 1 for a, bit in zip(alive, cell["outcomes"], strict=True)]
        found.append(sum(alive))
    return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("threat", ["undefended", "adaptive", "transfer"])
def test_attack_waterfall_is_a_plain_count(norm: str, threat: str) -> None:
    evaluation = random_evaluation(norm=norm)
    steps = standing.attack_waterfall(evaluation, EPS, threat)
    order = [("fgsm", 1), ("pgd", 7), ("pgd", 50), ("apgd_ce", 100), ("spsa", 20), ("autoattack", 100)]
    labels = ["clean", "FGSM", "PGD-7", "PGD-50", "APGD-CE-100", "SPSA-20", "AutoAttack"]
    assert [step.label for step in steps] == labels
    clean = "undefended" if threat == "undefended" else "defended"
    assert [step.standing for step in steps] == counts(
        evaluation, clean, [[(attack, count, threat)] for attack, count in order]
    )
    for before, after in itertools.pairwise(steps):
        assert after.broken == before.standing - after.standing >= 0


def test_threat_waterfall_ends_at_the_worst_case_of_the_whole() -> None:
    evaluation = random_evaluation()
    steps = standing.threat_waterfall(evaluation, EPS)
    order = ["oblivious", "transfer", "query", "bpda", "adaptive"]
    attacks = {(cell["attack"], cell["settings"]["steps"]) for cell in evaluation["cells"]}
    stages = [[(*attack, threat) for attack in attacks] for threat in order]
    assert [step.label.lower() for step in steps] == ["clean", *order]
    assert [step.standing for step in steps] == counts(evaluation, "defended", stages)
    assert standing.whole_threats(evaluation) == ("oblivious", "bpda", "adaptive", "transfer", "query")


def test_of_a_classifier_alone_undefended_is_the_whole() -> None:
    evaluation = random_evaluation(purifier=False)
    assert standing.whole_threats(evaluation) == ("undefended",)
    worst = standing.worst_case(evaluation, EPS, ["undefended"])
    assert worst is not None and worst.sum() < N
    assert standing.worst_case(evaluation, EPS, ["adaptive"]) is None


def test_worst_case_is_that_of_the_evaluation(evaluation: Evaluation) -> None:
    for case in evaluation["worst_case"]:
        found = standing.worst_case(evaluation, case["eps"], [case["threat"]])
        assert found is not None and found.sum() == case["score"]["correct"]


def test_raised_budgets_are_marked(evaluation: Evaluation) -> None:
    first = next(c for c in evaluation["cells"] if c["attack"] == "pgd" and c["threat"] == "adaptive")
    evaluation["cells"].append({**first, "settings": {"steps": 80}, "raised_from": 20})
    labels = [step.label for step in standing.attack_waterfall(evaluation, first["eps"], "adaptive")]
    assert labels[-2:] == ["PGD-20", "PGD-80\n(raised)"]


def test_without_outcomes_there_is_no_waterfall(evaluation: Evaluation) -> None:
    del evaluation["clean_outcomes"]
    with pytest.raises(InputError, match="clean images were not kept"):
        figures.waterfall(evaluation)
    evaluation["cells"][0]["outcomes"] = []
    with pytest.raises(InputError, match="0 of 360 images"):
        standing.worst_case(evaluation, evaluation["cells"][0]["eps"], THREATS)


def test_no_bounded_attack_has_no_waterfall(evaluation: Evaluation) -> None:
    evaluation["cells"] = [cell for cell in evaluation["cells"] if cell["eps"] is None]
    with pytest.raises(InputError, match="bound"):
        figures.waterfall(evaluation)
    with pytest.raises(InputError, match="no attack was run at eps 8/255"):
        standing.threat_waterfall(evaluation, EPS)
    with pytest.raises(InputError, match="under threat model query"):
        standing.attack_waterfall(evaluation, EPS, "query")


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ({"eps": 8 / 255, "norm": "linf", "settings": {"steps": 20}}, "adaptive/linf-8_255/pgd-20"),
        ({"eps": 0.031, "norm": "linf", "settings": {"steps": 1}}, "adaptive/linf-0.031/pgd"),
        ({"eps": 0.5, "norm": "l2", "settings": {}}, "adaptive/l2-0.5/pgd"),
        ({"eps": 128 / 255, "norm": "l2"}, "adaptive/l2-128_255/pgd"),
        ({"eps": None, "norm": "l2"}, "adaptive/l2-unbounded/pgd"),
        ({"eps": None, "norm": "noise", "settings": {"level": 20 / 255}}, "adaptive/noise-20_255/pgd"),
    ],
)
def test_names_of_cells(cell: dict[str, Any], key: str) -> None:
    assert standing.cell_key({"attack": "pgd", "threat": "adaptive", **cell}) == key
