"""The robustness table for papers (LaTeX) and every cell for other programs (CSV)."""

import csv
import io
from collections.abc import Mapping
from typing import Any

from purespike.reporting import escape
from purespike.reporting.tables import Entry, Row, cell_steps, robustness_tables
from purespike.reporting.words import MISSING, THREATS, Evaluation

CSV_COLUMNS = (
    "attack",
    "steps",
    "norm",
    "eps",
    "level",
    "threat",
    "correct",
    "n",
    "accuracy",
    "low",
    "high",
    "passes",
    "pass_accuracy",
    "raised_from",
    "mean_l2",
    "forwards",
    "backwards",
    "seconds",
    "warnings",
)


def latex_table(evaluation: Evaluation) -> str:
    """The tables of every eps as LaTeX for ``\\input``, for the package ``booktabs``."""
    tables = robustness_tables(evaluation)
    threats = tables[0].threats
    notes = [note for table in tables for note in table.notes]
    caption = " ".join([tables[0].title, *notes])
    heads = ["Attack", "Clean", *(escape.latex(THREATS[threat].title) for threat in threats)]
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape.latex(caption)}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        "\\toprule",
        f"{' & '.join(heads)} \\\\",
    ]
    for number, table in enumerate(tables):
        lines.append("\\midrule")
        if len(tables) > 1:
            lines.append(
                f"\\multicolumn{{{len(heads)}}}{{l}}{{\\textit{{{escape.latex(table.heading)}}}}} \\\\"
            )
        for row in table.rows[0 if number == 0 else 1 :]:
            lines.append(_latex_row(row))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def csv_table(evaluation: Evaluation) -> str:
    """One line per cell, headed by the clean accuracies and followed by the worst cases; shares in [0, 1].

    The attack of a clean line is ``none``, of a worst case ``worst``; the norm of the clean accuracy with
    purifier is empty and its threat model ``defended``, a word used here only.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for name in ("undefended", "defended"):
        if evaluation["clean"].get(name):
            writer.writerow({"attack": "none", "threat": name, **evaluation["clean"][name]})
    for cell in evaluation["cells"]:
        writer.writerow(_line(cell))
    for case in evaluation.get("worst_case") or []:
        writer.writerow({"attack": "worst", "eps": case["eps"], "threat": case["threat"], **case["score"]})
    return text.getvalue()


def _line(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **cell,
        **cell["score"],
        "steps": cell_steps(cell),
        "level": (cell.get("settings") or {}).get("level"),
        "passes": cell.get("passes") or 1,
        "warnings": "; ".join(cell.get("warnings") or []),
    }


def _latex_row(row: Row) -> str:
    about = ", ".join(part for part in (row.condition, row.remark) if part)
    first = escape.latex(row.attack) + (f" {{\\scriptsize {escape.latex(about)}}}" if about else "")
    clean = _latex_entry(row.clean, row.kind == "clean")
    cells = [first, clean, *(_latex_entry(entry) for entry in row.robust.values())]
    if row.kind == "worst":
        cells = [f"\\textbf{{{cells[0]}}}", clean, *(f"\\textbf{{{cell}}}" for cell in cells[2:])]
    return f"{' & '.join(cells)} \\\\"


def _latex_entry(entry: Entry | None, interval: bool = True) -> str:
    if entry is None:
        return escape.latex(MISSING)
    small = escape.latex(" ".join([entry.interval, *entry.more])) if interval else ""
    return entry.text + (f" {{\\scriptsize {small}}}" if small else "")
