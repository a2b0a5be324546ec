"""The cell of an attack is found by its settings, steps and budget, and a missing one is an error."""

from pathlib import Path

import pytest

from purespike.errors import InputError
from purespike.reproduction.row import by_attacker, find_cell
from purespike.reproduction.sheet import Column
from purespike.results import Evaluation

DIGITS = Path(__file__).parents[2] / "results" / "digits" / "evaluation.json"


def test_columns_by_attack_then_attacker():
    columns = by_attacker({"FGSM": {"name": "fgsm"}, "PGD": {"name": "pgd"}}, ("alone", "adaptive"))
    assert list(columns) == [Column(a, b) for a in ("FGSM", "PGD") for b in ("alone", "adaptive")]
    assert columns[Column("PGD", "alone")] == {"name": "pgd"}


@pytest.fixture(scope="module")
def evaluation():
    return Evaluation.read(DIGITS)


def test_every_cell_that_was_not_escalated_is_found_again(evaluation):
    count = 0
    for cell in evaluation.cells:
        if cell.raised_from is None and cell.attack != "gaussian_noise":
            spec = {"name": cell.attack, **({"steps": cell.steps} if cell.attack == "pgd" else {})}
            found = find_cell(evaluation, spec, cell.threat, "1/255" if cell.eps is None else str(cell.eps))
            assert (found.key, found.score) == (cell.key, cell.score)
            count += 1
    assert count >= 4


def test_noise_has_no_budget(evaluation):
    threat = next(cell.threat for cell in evaluation.cells if cell.attack == "gaussian_noise")
    assert find_cell(evaluation, {"name": "gaussian_noise"}, threat, "1/255").eps is None


def test_settings_may_be_text_and_order_does_not_matter(evaluation):
    cell = next(c for c in evaluation.cells if c.key == "adaptive/linf-16_255/pgd-20")
    settings = {**cell.settings.model_extra, "step_size": 2 / 255, "steps": 7}
    other = cell.model_copy(update={"settings": type(cell.settings)(**settings)})
    both = evaluation.model_copy(update={"cells": (cell, other)})
    assert cell.steps == 20
    assert find_cell(both, {"name": "pgd", "step_size": "2/255"}, "adaptive", str(cell.eps)) is other
    assert find_cell(both, {"name": "pgd", "steps": 20}, "adaptive", str(cell.eps)) is cell
    with pytest.raises(InputError, match=r"holds no pgd .*'steps': 9.* under threat model adaptive at eps"):
        find_cell(both, {"name": "pgd", "steps": 9}, "adaptive", str(cell.eps))
    with pytest.raises(InputError, match="holds no pgd"):
        find_cell(both, {"name": "pgd", "steps": 20}, "adaptive", "1/255")
