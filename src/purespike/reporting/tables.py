"""The robustness table for people (terminal, Markdown), papers (LaTeX) and other programs (CSV)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from purespike.reporting.grid import Cell, Grid, Group, Head, Row, csv_text
from purespike.reporting.robustness import Row as Measured
from purespike.reporting.robustness import robustness_tables
from purespike.results import Evaluation, Score
from purespike.results.vocabulary import MISSING, threat_words

if TYPE_CHECKING:
    import rich.table

_CSV_SCORE = ("correct", "n", "accuracy", "low", "high")
_CSV_CELL = ("mean_l2", "forwards", "backwards", "seconds")
CSV_COLUMNS = (
    *("attack", "steps", "norm", "eps", "level", "threat"),
    *_CSV_SCORE,
    *("passes", "pass_accuracy", "raised_from"),
    *_CSV_CELL,
    "warnings",
)


def robustness_grid(evaluation: Evaluation) -> Grid:
    """The tables of every eps as one grid, a group each."""
    tables = robustness_tables(evaluation)
    titles = ["Attack", "Clean", *(threat_words(threat).title for threat in tables[0].threats)]
    return Grid(
        tables[0].title,
        [Head(title) for title in titles],
        [Group(table.heading, [_grid_row(row) for row in table.rows], table.notes) for table in tables],
        readable=True,
    )


def markdown_table(evaluation: Evaluation) -> str:
    """The tables of every eps in Markdown, title above, notes below."""
    return robustness_grid(evaluation).markdown()


def latex_table(evaluation: Evaluation) -> str:
    """The tables of every eps as LaTeX for ``\\input``, for the package ``booktabs``."""
    return robustness_grid(evaluation).latex()


def console_table(evaluation: Evaluation) -> rich.table.Table:
    """The tables of every eps as one rich table that fits 80 columns; intervals are dimmed below."""
    grid = robustness_grid(evaluation)
    # with more threat models only intervals on two lines leave room for 80 columns
    return grid.console(narrow=len(grid.heads) > 6)


def csv_table(evaluation: Evaluation) -> str:
    """One line per cell, headed by the clean accuracies and followed by the worst cases; shares in [0, 1].

    The attack of a clean line is ``none``, of a worst case ``worst``; the norm of the clean accuracy with
    purifier is empty and its threat model ``defended``, a word used here only.
    """
    clean = evaluation.clean
    lines = [
        {"attack": "none", "threat": name, **_csv_score(score)}
        for name, score in (("undefended", clean.undefended), ("defended", clean.defended))
        if score
    ]
    lines += [
        {name: getattr(cell, name) for name in (*_CSV_CELL, "attack", "steps", "norm", "eps", "threat")}
        | {name: getattr(cell, name) for name in ("passes", "pass_accuracy", "raised_from")}
        | {"level": cell.settings.level, "warnings": "; ".join(cell.warnings), **_csv_score(cell.score)}
        for cell in evaluation.cells
    ]
    lines += [
        {"attack": "worst", "eps": case.eps, "threat": case.threat, **_csv_score(case.score)}
        for case in evaluation.worst_case
    ]
    return csv_text(CSV_COLUMNS, [[line.get(name) for name in CSV_COLUMNS] for line in lines])


def _grid_row(row: Measured) -> Row:
    # the clean accuracy is one number for all rows: its interval is in the first row only
    first = row.kind == "clean"
    clean = Cell(MISSING, quiet=True)
    if row.clean:
        clean = Cell(row.clean.text, (row.clean.interval,) if first else (), quiet=True)
    entries = [
        Cell(entry.text, (entry.interval, *entry.more)) if entry else Cell(MISSING)
        for entry in row.robust.values()
    ]
    about = tuple(filter(None, (row.condition, row.remark)))
    return Row(row.attack, [clean, *entries], about, "bold" if row.kind == "worst" else "", once=first)


def _csv_score(score: Score) -> dict[str, object]:
    return {name: getattr(score, name) for name in _CSV_SCORE}
