"""The robustness table for people (terminal, Markdown), papers (LaTeX) and other programs (CSV)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from purespike.reporting.grid import Cell, Grid, Group, Head, Row, csv_text
from purespike.reporting.robustness import Row as Measured
from purespike.reporting.robustness import robustness_tables
from purespike.results import Evaluation
from purespike.results.frame import COLUMNS, rows
from purespike.results.vocabulary import MISSING, threat_words

if TYPE_CHECKING:
    import rich.table


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

    The lines are those of :func:`purespike.results.frame.rows`.
    """
    return csv_text(COLUMNS, [[line.get(name) for name in COLUMNS] for line in rows(evaluation)])


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
