"""Terminal, Markdown, LaTeX and CSV say what the robustness table says."""

import csv
import io
import re
from typing import Any

import pytest
import rich.console

from purespike.reporting import escape, tables
from purespike.reporting.robustness import Entry, Table, robustness_tables
from purespike.results import Evaluation

Content = dict[str, Any]
NASTY = "a_b*|c<script>"


def entries(table: Table) -> list[Entry]:
    return [entry for row in table.rows for entry in row.robust.values() if entry]


def text(evaluation: Evaluation, width: int = 80) -> str:
    console = rich.console.Console(width=width, file=io.StringIO(), record=True)
    console.print(tables.console_table(evaluation))
    return console.export_text()


def with_escalation(content: Content) -> Evaluation:
    first = next(c for c in content["cells"] if c["attack"] == "pgd" and c["threat"] == "adaptive")
    more = {"settings": {"steps": 40}, "raised_from": 20, "passes": 10, "pass_accuracy": 0.113}
    cell = {**first, "eps": 16 / 255, **more, "warnings": ["slow", "odd, very"]}
    return Evaluation.from_json({**content, "cells": [*content["cells"], cell]})


def test_console_fits_80_columns_and_shows_all_numbers(evaluation: Evaluation) -> None:
    shown = text(evaluation)
    assert max(map(len, shown.splitlines())) <= 80
    for table in robustness_tables(evaluation):
        for entry in entries(table):
            assert entry.text in shown and entry.interval in shown


def test_all_threat_models_fit_80_columns(content: Content) -> None:
    for threat in ("transfer", "query"):
        cell = {**content["cells"][0], "attack": "autoattack_rand", "eps": 16 / 255, "threat": threat}
        content["cells"].append(cell)
    evaluation = Evaluation.from_json(content)
    shown = text(evaluation)
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    for title in ("Undefended", "Oblivious", "BPDA", "Adaptive", "Transfer", "Query", "AutoAttack"):
        assert re.search(rf"(^|\s){title}\s", shown)
    for table in robustness_tables(evaluation):
        for entry in entries(table):
            low, high = entry.interval.split()
            assert entry.text in shown and low in shown and high in shown


def test_markdown_has_all_numbers_and_even_rows(evaluation: Evaluation) -> None:
    shown = tables.markdown_table(evaluation)
    assert re.search(r"\| PGD-20 \(L∞, eps 16/255\) \| 95\.6 \| 3\.1 \[1\.7, 5\.4\] \| 84\.2 \[", shown)
    assert {line.count("|") for line in shown.splitlines() if line.startswith("|")} == {7}


def test_names_are_escaped(content: Content) -> None:
    content["cells"][0]["attack"] = content["data"]["source"] = NASTY
    evaluation = Evaluation.from_json(content)
    for shown, made in (
        (tables.markdown_table(evaluation), escape.markdown(NASTY)),
        (tables.latex_table(evaluation), escape.latex(NASTY)),
    ):
        assert shown.count(made) == 2 and NASTY not in shown


@pytest.mark.parametrize("table", [tables.markdown_table, tables.latex_table, lambda e: text(e, 200)])
def test_escalation_and_passes_are_shown(content: Content, table: Any) -> None:
    assert "a pass" not in table(Evaluation.from_json(content))
    shown = " ".join(table(with_escalation(content)).split())
    assert "PGD-40" in shown and "raised from 20 steps" in shown
    assert "majority of 10 passes" in shown and "11.3 a pass" in shown


def test_latex_table_has_all_numbers_in_even_rows(evaluation: Evaluation) -> None:
    shown = tables.latex_table(evaluation)
    lines = [line for line in shown.splitlines() if " & " in line]
    head, *rows = [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in lines]
    assert [cell.strip() for cell in head][:3] == ["Attack", "Clean", "Undefended"]
    assert {len(row) for row in rows} == {len(head)}
    made = robustness_tables(evaluation)
    wanted = [row for number, table in enumerate(made) for row in table.rows[min(number, 1) :]]
    for cells, row in zip(rows, wanted, strict=True):
        assert escape.latex(row.attack) in cells[0] and escape.latex(row.condition) in cells[0]
        for cell, entry in zip(cells[2:], row.robust.values(), strict=True):
            if entry:
                assert entry.text in cell and escape.latex(entry.interval) in cell
            else:
                assert re.sub(r"\\textbf\{(.*)\}", r"\1", cell.strip()) == "--"


def test_csv_has_every_cell(content: Content) -> None:
    content["cells"][0]["attack"] = 'quo"ted, name\nin two lines'
    evaluation = with_escalation(content)
    lines = list(csv.DictReader(io.StringIO(tables.csv_table(evaluation), newline="")))
    assert len(lines) == 2 + len(evaluation.cells) + len(evaluation.worst_case)
    assert evaluation.clean.defended
    assert [float(line["accuracy"]) for line in lines[:2]] == [
        score.accuracy for score in (evaluation.clean.undefended, evaluation.clean.defended)
    ]
    for line, cell in zip(lines[2:], evaluation.cells, strict=False):
        assert (line["attack"], line["threat"], line["norm"]) == (cell.attack, cell.threat, cell.norm)
        assert line["eps"] == ("" if cell.eps is None else repr(cell.eps))
        for key in ("correct", "n", "accuracy", "low", "high"):
            assert float(line[key]) == getattr(cell.score, key)
    last = lines[2 + len(evaluation.cells) - 1]
    wanted = {"steps": "40", "raised_from": "20", "passes": "10", "pass_accuracy": "0.113"}
    assert {key: last[key] for key in wanted} == wanted and last["warnings"] == "slow; odd, very"
    assert {line["attack"] for line in lines[-len(evaluation.worst_case) :]} == {"worst"}


def test_classifier_alone_has_no_other_column(classifier_only: Evaluation) -> None:
    assert "Oblivious" not in text(classifier_only) + tables.markdown_table(classifier_only)
