"""Committed evaluations load, and are written as they were; a damaged one is one line."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from purespike.errors import InputError
from purespike.results import Evaluation, Score

from .made import made

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "results").rglob("evaluation.json"))
NAMES = [str(path.parent.relative_to(ROOT / "results")) for path in COMMITTED]


def test_there_are_committed_evaluations():
    assert len(COMMITTED) >= 9


@pytest.mark.parametrize("path", COMMITTED, ids=NAMES)
def test_a_committed_evaluation_is_written_as_it_was_read(path, tmp_path):
    Evaluation.read(path).save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", COMMITTED, ids=NAMES)
def test_worst_cases_follow_from_the_outcomes(path):
    evaluation = Evaluation.read(path)
    assert evaluation.budgets
    for case in evaluation.worst_case:
        robust = evaluation.worst_case_at(case.eps, [case.threat])
        assert robust.sum() == case.score.correct and len(robust) == case.score.n
    assert evaluation.worst_cases == evaluation.worst_case
    for cell in evaluation.cells:
        assert cell.robust.sum() == cell.score.correct
        settings = {name: value for name, value in cell.settings.values.items() if name != "eps"}
        assert evaluation.cell(cell.attack, cell.threat, cell.eps, **settings) is cell


def test_the_line_of_a_cell_names_its_threat_model():
    evaluation = Evaluation.read(ROOT / "results" / "digits" / "evaluation.json")
    lines = str(evaluation).splitlines()
    worst = evaluation.worst_cases
    assert worst and len(lines) == 3 + len(evaluation.cells) + len(worst)
    for line, case in zip(lines[-1 - len(worst) : -1], worst, strict=True):
        assert line.startswith("worst case (L∞, eps ") and f", {case.threat}: {case.score.text}% [" in line
    for line, cell in zip(lines[2 : -1 - len(worst)], evaluation.cells, strict=True):
        tenths = (2000 * cell.score.correct + cell.score.n) // (2 * cell.score.n)
        assert f", {cell.threat}: {tenths // 10}.{tenths % 10}% [" in line
    assert lines[-1].startswith("VERDICT: suspicious (")
    assert evaluation.accuracy("pgd", "adaptive", "16/255") == 0.05
    with pytest.raises(InputError, match=r"no square under threat model adaptive at eps 8/255"):
        evaluation.cell("square", "adaptive", "8/255")
    assert np.array_equal(evaluation.clean_correct(defended=True), evaluation.clean_outcomes.defended)


DAMAGE = {
    "schema": (lambda e: e.update(schema=2), "schema: Input should be 1, got 2"),
    "no model": (lambda e: e.pop("model"), "model: is missing"),
    "no classifier": (lambda e: e["model"].update(classifier=None), "model.classifier"),
    "a score of text": (
        lambda e: e["clean"]["undefended"].update(accuracy="all"),
        "clean.undefended.accuracy: Input should be a valid number, got 'all'",
    ),
    "a truth value for a number": (lambda e: e["cells"][3].update(eps=True), r"cells.3.eps: .*got True"),
    "cells": (lambda e: e.update(cells="none"), "cells: "),
    "a cell without threat model": (lambda e: e["cells"][0].pop("threat"), "cells.0.threat: is missing"),
    "outcomes": (lambda e: e["cells"][1].update(outcomes=[0, "x"]), r"cells.1.outcomes.1: .*got 'x'"),
    "warnings": (lambda e: e["cells"][1].update(warnings=[3]), r"cells.1.warnings.0: .*got 3"),
    "more than all": (
        lambda e: e["cells"][1]["score"].update(accuracy=55.0),
        r"cells.1.score.accuracy: .*got 55.0",
    ),
    "another accuracy": (
        lambda e: e["cells"][1]["score"].update(correct=1, accuracy=0.9),
        r"cells.1.score: accuracy 0.9 is not that of 1 of 80 images",
    ),
    "other outcomes": (
        lambda e: e["cells"][1].update(outcomes=[1] * 80),
        r"cells.1: 80 of 80 outcomes are 1, the score says \d+ of 80",
    ),
    "of nothing": (lambda e: e["clean"]["undefended"].update(correct=0, n=0), "is not that of 0 of 0 images"),
    "an outcome of 7": (lambda e: e["cells"][1].update(outcomes=[7]), r"cells.1.outcomes.0: .*got 7"),
    "a huge setting": (
        lambda e: e["cells"][1]["settings"].update(level=10**400),
        "cells.1.settings: level must be a finite number",
    ),
    "NaN as a setting": (
        lambda e: e["cells"][1]["settings"].update(level=math.nan),
        "level must be a finite number|not JSON",
    ),
    "fewer images": (
        lambda e: e["data"].update(n=79),
        "malformed evaluation: clean.undefended: of 80 images, data.n says 79; evaluate again$",
    ),
    "fewer labels": (lambda e: e.update(labels=[1, 2]), "labels: of 2 images, data.n says 80"),
    "a cell of fewer images": (
        lambda e: e["cells"][1].update(outcomes=[1, 0], score=Score.of([1, 0]).to_json()),
        "cells.1.score: of 2 images, data.n says 80",
    ),
    "other clean outcomes": (
        lambda e: e["clean_outcomes"].update(defended=[0] * 80),
        r"clean_outcomes.defended: 0 of 80 are 1, the score says \d+ of 80",
    ),
    "another worst case": (
        lambda e: e["worst_case"][-1].update(score=Score.share(80, 80).to_json()),
        r"worst_case, adaptive at eps 16/255: 80 of 80, the cells say \d+ of 80",
    ),
    "a worst case of nothing": (
        lambda e: e["worst_case"][-1].update(threat="guess"),
        "worst_case, guess at eps 16/255: no cell of it",
    ),
    "more broken than attacked": (
        lambda e: e["cells"][5]["components"][0].update(attacked=1, broken=2),
        "cells.5.components: 2 broken of 1 attacked",
    ),
    "another verdict": (
        lambda e: e["verdict"].update(level="reliable"),
        "verdict: says reliable, the diagnostics say suspicious",
    ),
    "an interval elsewhere": (
        lambda e: e["cells"][1]["score"].update(low=0.999, high=1.0),
        r"cells.1.score: the interval \[0.999, 1\] does not hold",
    ),
    "a level": (lambda e: e["verdict"].update(level="fine"), r"verdict.level: .*got 'fine'"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_one_line_that_names_file_and_field(name, tmp_path):
    change, message = DAMAGE[name]
    content = json.loads((ROOT / "results" / "digits" / "evaluation.json").read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        Evaluation.read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: malformed evaluation: ") and text.endswith("; evaluate again")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "not JSON"), ("[1]", "expected a JSON mapping, got a list"), ("[" * 100_000, "not JSON")],
    ids=["empty", "list", "deep"],
)
def test_a_foreign_file_is_one_line(text, message, tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Evaluation.read(path)
    with pytest.raises(InputError, match=r"no such file; evaluate first"):
        Evaluation.read(tmp_path / "missing.json", hint="; evaluate first")


@pytest.mark.parametrize(("eps", "found"), [("5", 0.5), (3, 0.25)])
def test_a_budget_of_a_norm_whose_balls_are_larger_than_1_is_found(eps, found):
    content = made(norm="l0", sizes=(3.0, 5.0))
    for cell in content["cells"]:
        cell |= {"outcomes": [], "score": Score.share(10 if cell["eps"] == 3 else 20, 40).to_json()}
    assert Evaluation.from_json(content).accuracy("pgd", "adaptive", eps) == found


def test_keys_of_a_later_version_are_kept():
    content = json.loads((ROOT / "results" / "digits" / "evaluation.json").read_text(encoding="utf-8"))
    content["cells"][0]["certified"] = 0.5
    assert Evaluation.from_json(content).to_json()["cells"][0]["certified"] == 0.5


def test_results_need_no_torch():
    code = "import sys, purespike.results; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_budget_may_be_given_as_text():
    found = Evaluation.from_json(made())
    eps = found.budgets[0]
    assert (
        found.worst_score(f"{eps * 255:g}/255", "adaptive") == found.worst_score(eps, "adaptive") is not None
    )
