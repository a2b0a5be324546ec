"""The table says what evaluation.json says, with eps and threat model beside every number."""

import io
import re
from typing import Any

import pytest
import rich.console

from purespike.errors import InputError
from purespike.reporting import summary, tables

Evaluation = dict[str, Any]


def entries(table: tables.Table) -> dict[tuple[str, str], tables.Entry]:
    """Every robust number of a table by attack and threat."""
    return {(row.name, threat): entry for row in table.rows for threat, entry in row.robust.items() if entry}


def text(evaluation: Evaluation, width: int = 80) -> str:
    console = rich.console.Console(width=width, file=io.StringIO(), record=True)
    console.print(tables.console_table(evaluation))
    return console.export_text()


@pytest.mark.parametrize("index", [0, 1])
def test_every_cell_of_an_eps_stands_in_its_table(evaluation: Evaluation, index: int) -> None:
    eps = evaluation["settings"]["eps"][index]
    found = entries(tables.robustness_table(evaluation, eps))
    cells = [
        cell for cell in evaluation["cells"] if cell["eps"] == eps or (cell["eps"] is None and index == 0)
    ]
    assert cells
    for cell in cells:
        entry = found.pop((cell["attack"], cell["threat"]))
        assert entry.score == cell["score"]
        assert entry.text == f"{100 * cell['score']['correct'] / cell['score']['n']:.1f}"
    worst = [case for case in evaluation["worst_case"] if case["eps"] == eps]
    assert [found.pop(("worst", case["threat"])).score for case in worst] == [case["score"] for case in worst]
    assert set(found) == {("none", "undefended")}


def test_first_row_is_clean_and_last_is_worst_case(evaluation: Evaluation) -> None:
    first, *_, last = tables.robustness_table(evaluation).rows
    assert first.attack == "none (clean images)"
    assert first.clean and first.clean.score == evaluation["clean"]["defended"]
    assert (
        first.robust["undefended"] and first.robust["undefended"].score == evaluation["clean"]["undefended"]
    )
    assert [first.robust[threat] for threat in ("oblivious", "bpda", "adaptive")] == [None] * 3
    assert (last.kind, last.condition) == ("worst", "L∞, eps 16/255")


def test_title_names_data_eps_and_threat_models(evaluation: Evaluation) -> None:
    title = tables.table_title(evaluation)
    for part in (
        "360 digits test images",
        "16/255 and 8/255",
        "oblivious (attacker unaware",
        "adaptive (",
        "97.8%",
    ):
        assert part in title


def test_rows_name_steps_and_bound(evaluation: Evaluation) -> None:
    labels = {row.attack: row.condition for row in tables.robustness_table(evaluation).rows}
    assert labels["PGD-20"] == labels["FGSM"] == "L∞, eps 16/255"
    assert labels["C&W-100"] == "L2, no eps bound"
    assert labels["Gaussian noise"] == "noise, σ 0.1"


def test_other_steps_open_another_row(evaluation: Evaluation) -> None:
    cell = next(c for c in evaluation["cells"] if c["attack"] == "pgd" and c["threat"] == "adaptive")
    cell = {**cell, "eps": 16 / 255, "settings": {"steps": 100}}
    evaluation["cells"].append(cell)
    labels = [row.attack for row in tables.robustness_table(evaluation).rows]
    assert "PGD-20" in labels and "PGD-100" in labels


def test_a_raised_budget_has_a_row_of_its_own(evaluation: Evaluation) -> None:
    first = next(c for c in evaluation["cells"] if c["attack"] == "pgd" and c["threat"] == "adaptive")
    first = {**first, "eps": 16 / 255}
    evaluation["cells"] += [
        {**first, "settings": {"steps": 40}, "raised_from": 20},
        {**first, "settings": {"steps": 20, "restarts": 5}, "raised_from": 20},
        {**first, "settings": {"steps": 20}, "raised_from": 20},
    ]
    rows = [row for row in tables.robustness_table(evaluation).rows if row.remark]
    assert [(row.attack, row.remark) for row in rows] == [
        ("PGD-40", "raised from 20 steps"),
        ("PGD-20", "raised to 5 starts"),
        ("PGD-20", "budget raised"),
    ]
    assert all(set(filter(row.robust.get, row.robust)) == {"adaptive"} for row in rows)
    assert "raised from 20 steps" in " ".join(text(evaluation, 200).split())
    assert "PGD-40 (L∞, eps 16/255), raised from 20 steps" in tables.markdown_table(evaluation)


def test_passes_are_said_where_a_model_draws(evaluation: Evaluation) -> None:
    assert "a pass" not in tables.markdown_table(evaluation)
    for cell in evaluation["cells"]:
        cell |= {"passes": 10, "pass_accuracy": 0.613}
    assert "majority of 10 passes" in tables.table_title(evaluation)
    assert "61.3 a pass" in text(evaluation) and "61.3 a pass" in tables.markdown_table(evaluation)


@pytest.mark.parametrize(
    ("attack", "steps", "name"),
    [
        ("sa_pgd", 100, "SA-PGD-100"),
        ("spsa", 20, "SPSA-20"),
        ("fab", 100, "FAB-100"),
        ("autoattack", 100, "AutoAttack"),
        ("autoattack_rand", 100, "AutoAttack (rand)"),
    ],
)
def test_names_of_attacks(evaluation: Evaluation, attack: str, steps: int, name: str) -> None:
    evaluation["cells"][0] |= {"attack": attack, "settings": {"steps": steps}, "eps": 16 / 255}
    assert name in [row.attack for row in tables.robustness_table(evaluation).rows]


def test_l2_budgets_are_named(evaluation: Evaluation) -> None:
    cell = {**evaluation["cells"][0], "norm": "l2", "eps": 0.5}
    evaluation |= {"cells": [cell], "settings": {"norm": "l2", "eps": [0.5]}, "worst_case": []}
    table = tables.robustness_table(evaluation)
    assert table.heading == table.rows[1].condition == "L2, eps 0.5"


def test_gap_is_printed(evaluation: Evaluation) -> None:
    (note,) = tables.robustness_table(evaluation).notes
    assert "PGD-20 71.7" in note and "eps 16/255" in note


def test_missing_adaptive_is_said(evaluation: Evaluation) -> None:
    evaluation["cells"] = [cell for cell in evaluation["cells"] if cell["threat"] != "adaptive"]
    del evaluation["worst_case"]
    assert "No adaptive attack" in tables.robustness_table(evaluation).notes[0]


def test_unknown_eps_is_refused(evaluation: Evaluation) -> None:
    with pytest.raises(InputError, match="no attack was run at eps"):
        tables.robustness_table(evaluation, 4.5 / 255)


def test_console_fits_80_columns_and_shows_all_numbers(evaluation: Evaluation) -> None:
    shown = text(evaluation)
    assert max(map(len, shown.splitlines())) <= 80
    for table in tables.robustness_tables(evaluation):
        for entry in entries(table).values():
            assert entry.text in shown and entry.interval in shown


def test_all_threat_models_fit_80_columns(evaluation: Evaluation) -> None:
    for threat in ("transfer", "query"):
        cell = {**evaluation["cells"][0], "attack": "autoattack_rand", "eps": 16 / 255, "threat": threat}
        evaluation["cells"].append(cell)
    shown = text(evaluation)
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    for title in ("Undefended", "Oblivious", "BPDA", "Adaptive", "Transfer", "Query", "AutoAttack"):
        assert re.search(rf"(^|\s){title}\s", shown)
    for table in tables.robustness_tables(evaluation):
        for entry in entries(table).values():
            low, high = entry.interval.split()
            assert entry.text in shown and low in shown and high in shown


def test_markdown_has_all_numbers_and_even_rows(evaluation: Evaluation) -> None:
    shown = tables.markdown_table(evaluation)
    assert re.search(r"\| PGD-20 \(L∞, eps 16/255\) \| 95\.6 \| 3\.1 \[1\.7, 5\.4\] \| 84\.2 \[", shown)
    assert {line.count("|") for line in shown.splitlines() if line.startswith("|")} == {7}


def test_markdown_escapes_what_would_break_the_table(evaluation: Evaluation) -> None:
    evaluation["cells"][0]["attack"] = "a|b<script>"
    shown = tables.markdown_table(evaluation)
    assert "a\\|b&lt;script>" in shown


def test_classifier_alone_has_one_column(classifier_only: Evaluation) -> None:
    table = tables.robustness_table(classifier_only)
    assert table.threats == ("undefended",) and not table.notes
    assert "Oblivious" not in text(classifier_only) and "Oblivious" not in tables.markdown_table(
        classifier_only
    )


def test_nothing_attacked(evaluation: Evaluation) -> None:
    evaluation |= {"cells": [], "worst_case": []}
    assert len(tables.robustness_table(evaluation).rows) == 1
    assert "no attack was run" in summary.summary(evaluation)[0]


def test_summary_is_the_measured_numbers(evaluation: Evaluation) -> None:
    assert summary.summary(evaluation)[0] == (
        "On 360 digits test images the purifier lifts accuracy under PGD-20 (L∞, eps 16/255) "
        "from 3.1% to 84.2% against an attacker who does not know it, and to 12.5% against one who does."
    )


def test_summary_does_not_sell_noise_as_a_gain(evaluation: Evaluation) -> None:
    for cell in evaluation["cells"]:
        if cell["threat"] == "oblivious":
            twin = (
                c for c in evaluation["cells"] if (c["attack"], c["eps"]) == (cell["attack"], cell["eps"])
            )
            cell["score"] = next(c["score"] for c in twin if c["threat"] == "undefended")
    assert "no measurable difference" in summary.summary(evaluation)[0]


def test_summary_says_when_no_attack_knows_the_purifier(evaluation: Evaluation) -> None:
    evaluation["cells"] = [c for c in evaluation["cells"] if c["threat"] in ("undefended", "oblivious")]
    assert "upper bound" in summary.summary(evaluation)[0]


def test_an_adaptive_attack_alone_is_not_called_missing(evaluation: Evaluation) -> None:
    alone = {
        **evaluation,
        "cells": [cell for cell in evaluation["cells"] if cell["threat"] == "adaptive"],
        "worst_case": [case for case in evaluation["worst_case"] if case["threat"] == "adaptive"],
    }
    assert not any(table.notes for table in tables.robustness_tables(alone))
    assert "against an attacker who knows the purifier" in summary.summary(alone)[0]
