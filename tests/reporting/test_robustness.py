"""The table says what the evaluation says, with eps and threat model beside every number."""

from typing import Any

import pytest

from purespike.errors import InputError
from purespike.reporting.robustness import Entry, Table, robustness_table, table_title
from purespike.results import Evaluation, Score

Content = dict[str, Any]


def entries(table: Table) -> dict[tuple[str, str], Entry]:
    """Every robust number of a table by attack and threat."""
    return {(row.name, threat): entry for row in table.rows for threat, entry in row.robust.items() if entry}


@pytest.mark.parametrize("index", [0, 1])
def test_every_cell_of_an_eps_is_in_its_table(evaluation: Evaluation, index: int) -> None:
    eps = evaluation.budgets[index]
    found = entries(robustness_table(evaluation, eps))
    cells = [cell for cell in evaluation.cells if cell.eps == eps or (cell.eps is None and index == 0)]
    assert cells
    for cell in cells:
        entry = found.pop((cell.attack, cell.threat))
        assert entry.score == cell.score
        assert entry.text == f"{100 * cell.score.correct / cell.score.n:.1f}"
    worst = [case for case in evaluation.worst_case if case.eps == eps]
    assert [found.pop(("worst", case.threat)).score for case in worst] == [case.score for case in worst]
    assert set(found) == {("none", "undefended")}


def test_first_row_is_clean_and_last_is_worst_case(evaluation: Evaluation) -> None:
    first, *_, last = robustness_table(evaluation).rows
    assert first.attack == "none (clean images)"
    assert first.clean and first.clean.score == evaluation.clean.defended
    assert first.robust["undefended"] and first.robust["undefended"].score == evaluation.clean.undefended
    assert [first.robust[threat] for threat in ("oblivious", "bpda", "adaptive")] == [None] * 3
    assert (last.kind, last.condition) == ("worst", "L∞, eps 16/255")


def test_title_names_data_eps_and_threat_models(evaluation: Evaluation) -> None:
    title = table_title(evaluation)
    for part in (
        "360 digits test images",
        "16/255 and 8/255",
        "oblivious (attacker unaware",
        "BPDA (",
        "97.8%",
    ):
        assert part in title


def test_rows_name_steps_and_bound(evaluation: Evaluation) -> None:
    labels = {row.attack: row.condition for row in robustness_table(evaluation).rows}
    assert labels["PGD-20"] == labels["FGSM"] == "L∞, eps 16/255"
    assert labels["C&W-100"] == "L2, no eps bound"
    assert labels["Gaussian noise"] == "noise, σ 0.1"


def with_pgd(content: Content, *more: Content) -> Evaluation:
    """The evaluation with further adaptive PGD attacks at the headline eps."""
    first = next(c for c in content["cells"] if c["attack"] == "pgd" and c["threat"] == "adaptive")
    cells = [*content["cells"], *({**first, "eps": 16 / 255, **one} for one in more)]
    return Evaluation.from_json({**content, "cells": cells})


def test_other_steps_open_another_row(content: Content) -> None:
    evaluation = with_pgd(content, {"settings": {"steps": 100}})
    labels = [row.attack for row in robustness_table(evaluation).rows]
    assert "PGD-20" in labels and "PGD-100" in labels


def test_an_escalated_budget_has_a_row_of_its_own(content: Content) -> None:
    settings = ({"steps": 40}, {"steps": 20, "restarts": 5}, {"steps": 20})
    evaluation = with_pgd(content, *({"settings": one, "raised_from": 20} for one in settings))
    rows = [row for row in robustness_table(evaluation).rows if row.remark]
    assert [(row.attack, row.remark) for row in rows] == [
        ("PGD-40", "raised from 20 steps"),
        ("PGD-20", "raised to 5 starts"),
        ("PGD-20", "budget raised"),
    ]
    assert all(set(filter(row.robust.get, row.robust)) == {"adaptive"} for row in rows)


@pytest.mark.parametrize(
    ("attack", "steps", "name"),
    [
        ("sa_pgd", 100, "SA-PGD-100"),
        ("spsa", 20, "SPSA-20"),
        ("fab", 100, "FAB-100"),
        ("autoattack", 100, "AutoAttack"),
        ("autoattack_rand", 100, "AutoAttack (rand)"),
        ("home_made", 3, "home_made-3"),
    ],
)
def test_names_of_attacks(content: Content, attack: str, steps: int, name: str) -> None:
    content["cells"][0] |= {"attack": attack, "settings": {"steps": steps}, "eps": 16 / 255}
    assert name in [row.attack for row in robustness_table(Evaluation.from_json(content)).rows]


def test_l2_budgets_are_named(content: Content) -> None:
    cell = {**content["cells"][0], "norm": "l2", "eps": 0.5}
    content |= {"cells": [cell], "settings": {"norm": "l2", "eps": [0.5]}, "worst_case": []}
    table = robustness_table(Evaluation.from_json(content))
    assert table.heading == table.rows[1].condition == "L2, eps 0.5"


def test_gap_is_noted(evaluation: Evaluation) -> None:
    (note,) = robustness_table(evaluation).notes
    assert "PGD-20 71.7" in note and "eps 16/255" in note


def test_who_knows_more_does_no_worse_in_a_row(content: Content) -> None:
    """The adaptive attacker may take the purifier for the identity as well."""
    rows = [cell for cell in content["cells"] if (cell["attack"], cell["eps"]) == ("pgd", 16 / 255)]
    by_threat = {cell["threat"]: cell for cell in rows}
    outcomes = {"bpda": [1, 1, 0, 0], "adaptive": [0, 1, 1, 1], "oblivious": [1, 1, 1, 0]}
    for threat, each in outcomes.items():
        by_threat[threat] |= {"outcomes": each, "score": Score.of(each).to_json()}
    content["cells"], content["worst_case"] = rows, []
    evaluation = Evaluation.from_json(content)
    found = entries(robustness_table(evaluation, 16 / 255))
    texts = {threat: (found["pgd", threat].text, found["pgd", threat].more) for threat in outcomes}
    assert texts["bpda"] == ("50.0", ()) and texts["oblivious"] == ("75.0", ())
    assert texts["adaptive"] == ("25.0", ("75.0 by its own gradient",))


def test_a_missing_adaptive_attack_is_noted(content: Content) -> None:
    content["cells"] = [cell for cell in content["cells"] if cell["threat"] != "adaptive"]
    del content["worst_case"]
    assert "No adaptive attack" in robustness_table(Evaluation.from_json(content)).notes[0]


def test_an_adaptive_attack_alone_is_not_called_missing(content: Content) -> None:
    for name in ("cells", "worst_case"):
        content[name] = [one for one in content[name] if one["threat"] == "adaptive"]
    assert not robustness_table(Evaluation.from_json(content)).notes


def test_unknown_eps_is_refused(evaluation: Evaluation) -> None:
    with pytest.raises(InputError, match="no attack was run at eps"):
        robustness_table(evaluation, 4.5 / 255)


def test_classifier_alone_has_one_column(classifier_only: Evaluation) -> None:
    table = robustness_table(classifier_only)
    assert table.threats == ("undefended",) and not table.notes


def test_an_unknown_threat_model_has_a_column_all_the_same(content: Content) -> None:
    content["cells"][0] |= {"threat": "telepathic", "eps": 16 / 255}
    table = robustness_table(Evaluation.from_json(content))
    assert table.threats[-1] == "telepathic" and ("fgsm", "telepathic") in entries(table)
    assert "telepathic (telepathic)" in table.title


def test_nothing_attacked(content: Content) -> None:
    content |= {"cells": [], "worst_case": []}
    assert len(robustness_table(Evaluation.from_json(content)).rows) == 1
