"""Settings select a cell, an ambiguous question raises, and labels tell attacks apart."""

import sys

import pytest

from purespike.errors import InputError
from purespike.results import Evaluation, Score
from purespike.results.vocabulary import percent

from .made import made

EPS = 8 / 255


def cell(steps, broken, *, eps=EPS, threat="adaptive", **more):
    outcomes = [0] * broken + [1] * (40 - broken)
    settings = {"steps": steps, "step_size": 2 / 255, "restarts": more.pop("restarts", 1), "loss": "ce"}
    score = Score.of(outcomes).to_json()
    given = {"attack": "pgd", "norm": "linf", "outcomes": outcomes, "score": score, **more}
    return {**given, "eps": eps, "threat": threat, "settings": settings}


def evaluation(*cells, **more):
    return Evaluation.from_json({**made(sizes=(EPS,)), "cells": list(cells), **more})


@pytest.fixture
def several():
    return evaluation(cell(1, 5), cell(20, 30), cell(20, 33, restarts=5), cell(20, 9, eps=4 / 255))


@pytest.mark.parametrize("name", ["pgd-1", "PGD-1", "pgd:steps=1"])
def test_the_spellings_of_table_and_command_line_select(several, name):
    assert several.accuracy(name, "adaptive", EPS) == 35 / 40


def test_settings_select(several):
    assert several.accuracy("pgd", "adaptive", "8/255", steps=1) == 35 / 40
    assert several.accuracy("pgd", "adaptive", "8/255", steps=20, restarts=5) == 7 / 40
    assert several.accuracy("pgd:steps=20:restarts=5", "adaptive", step_size="2/255") == 7 / 40
    assert several.accuracy("PGD-20", "adaptive", "4/255") == 31 / 40


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            {"eps": EPS},
            r"3 attacks are called pgd .*PGD-1 .*PGD-20 \(restarts 1\).*; say which, e.g. steps=1",
        ),
        ({}, r"4 attacks are called pgd .*say which, e.g. eps='8/255'"),
        ({"steps": 20, "eps": EPS}, r"2 attacks are called pgd .* e.g. restarts=1"),
        ({"step": 20}, r"unknown setting of pgd 'step': did you mean 'steps'"),
        ({"steps": 7}, r"holds no pgd under threat model adaptive, steps=7"),
    ],
)
def test_an_ambiguous_or_wrong_question_raises(several, question, message):
    with pytest.raises(InputError, match=message):
        several.accuracy("pgd", "adaptive", **question)


def test_an_escalated_budget_answers_only_when_asked_for():
    found = evaluation(cell(20, 10), cell(40, 20, raised_from=20))
    assert found.accuracy("pgd", "adaptive") == 30 / 40
    assert found.accuracy("pgd", "adaptive", steps=40) == 20 / 40
    # what is shown under adaptive is what everything left
    assert found.worst_score(EPS, "adaptive").correct == 20


def test_labels_carry_what_distinguishes(several):
    labels = [several.label(each) for each in several.cells]
    assert labels == ["PGD-1", "PGD-20 (restarts 1)", "PGD-20 (restarts 5)", "PGD-20"]
    assert "PGD-20 (restarts 5) (L∞, eps 8/255), adaptive: 17.5%" in str(several)
    assert several.cells[0].line().startswith("pgd-1 (")


def test_what_breaks_at_a_smaller_eps_breaks_at_a_larger_one():
    weak = [cell(20, broken, eps=eps) for eps, broken in ((2 / 255, 40), (4 / 255, 0), (EPS, 0))]
    found = evaluation(*weak, settings={"norm": "linf", "eps": [2 / 255, 4 / 255, EPS]})
    assert [case.score.correct for case in found.worst_cases] == [0, 0, 0]


def test_the_attacker_who_knows_more_never_does_worse():
    both = cell(20, 10, threat="bpda"), cell(20, 2)
    assert [case.score.correct for case in evaluation(*both).worst_cases] == [30, 30]
    # the classifier alone is another model, unless there is no purifier
    alone = cell(20, 35, threat="undefended"), cell(20, 2)
    by_threat = {case.threat: case.score.correct for case in evaluation(*alone).worst_cases}
    assert by_threat == {"undefended": 5, "adaptive": 38}
    bare = evaluation(*alone, model={"classifier": {}, "purifier": None})
    assert {case.threat: case.score.correct for case in bare.worst_cases} == {"undefended": 5, "adaptive": 5}


def test_one_rounding_of_counts():
    for n in (24, 32, 80, 160, 800, 360):
        for correct in range(n + 1):
            tenths = (2000 * correct + n) // (2 * n)
            hundredths = (20000 * correct + n) // (2 * n)
            assert Score.share(correct, n).text == f"{tenths // 10}.{tenths % 10}" if n < 100 else True
            assert percent(correct / n) == f"{tenths // 10}.{tenths % 10}"
            assert percent(correct / n, 2) == f"{hundredths // 100}.{hundredths % 100:02}"


def test_a_data_frame(several, monkeypatch):
    pandas = pytest.importorskip("pandas")
    table = several.to_dataframe()
    assert isinstance(table, pandas.DataFrame) and len(table) == 2 + 4 + 1
    pgd = table[table.attack == "pgd"]
    assert list(pgd.accuracy) == [35 / 40, 10 / 40, 7 / 40, 31 / 40]
    assert list(pgd.label)[2] == "PGD-20 (restarts 5)"
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        several.to_dataframe()
