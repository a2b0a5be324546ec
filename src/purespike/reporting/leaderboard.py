"""A leaderboard as HTML, Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import jinja2

from purespike.files import write_text
from purespike.reporting import escape
from purespike.reporting.ranking import COLUMNS, FOREIGN, Leaderboard, Line, leaderboard
from purespike.reporting.words import THREATS

__all__ = [
    "csv_leaderboard",
    "html_leaderboard",
    "latex_leaderboard",
    "leaderboard",
    "markdown_leaderboard",
    "write_leaderboard",
]

_TEMPLATES = Path(__file__).parent / "templates"
LEGEND = (
    "Accuracy in %, with its 95% Wilson interval in brackets where the number of images is known: two models "
    "whose intervals overlap are not told apart. Ranked by the adaptive worst case, per image over attacks, "
    "surrogates and losses; a card without one, by AutoAttack or a better external attack. Without a rank, "
    "below: models that met no adaptive attack, and, marked †, those whose evaluation is called unreliable."
)


def write_leaderboard(
    folder: str | Path, out: str | Path, *, say: Callable[[str], None] = lambda line: None
) -> Path:
    """Write ``leaderboard.html``, ``.md``, ``.csv`` and ``.tex`` of all cards below a folder.

    Args:
        folder: see :func:`~purespike.reporting.ranking.leaderboard`.
        out: folder of the four files; made if missing.
        say: told each warning, a line for a file that could not be used.

    Returns:
        The path of ``leaderboard.html``.

    Raises:
        InputError: no such folder, or no card in it.
    """
    board, out = leaderboard(folder), Path(out)
    for line in board.warnings:
        say(line)
    write_text(out / "leaderboard.md", markdown_leaderboard(board))
    write_text(out / "leaderboard.csv", csv_leaderboard(board))
    write_text(out / "leaderboard.tex", latex_leaderboard(board))
    write_text(out / "leaderboard.html", html_leaderboard(board))
    return out / "leaderboard.html"


def html_leaderboard(board: Leaderboard) -> str:
    """One page that needs nothing else; a click on a column's head sorts by it."""
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = engine.get_template("leaderboard.html.j2")
    return template.render(board=board, columns=COLUMNS, legend=LEGEND, threats=THREATS)


def markdown_leaderboard(board: Leaderboard) -> str:
    """One table per group, the legend above."""
    lines = ["# Leaderboard", "", escape.markdown(LEGEND), ""]
    heads = [escape.markdown(f"{c.title} ({c.note})" if c.note else c.title) for c in COLUMNS]
    for group in board.groups:
        lines += [f"## {escape.markdown(group.heading)}", ""]
        lines += [f"| {' | '.join(heads)} |", f"|--:|:--|:--|{'--:|' * (len(heads) - 4)}:--|"]
        for line in group.lines:
            cells = [" ".join([field.text, *field.notes]) for _, field in line.fields()]
            lines.append(f"| {' | '.join(escape.markdown(cell) for cell in cells)} |")
        lines.append("")
    if board.warnings:
        lines += ["Left out:", "", *(f"- {escape.markdown(text)}" for text in board.warnings), ""]
    return "\n".join(lines)


def csv_leaderboard(board: Leaderboard) -> str:
    """One line per model; accuracies in percent, each with the ends of its interval, empty where unknown."""
    robust = [column.key for column in COLUMNS if column.key.endswith("_acc") or column.key == "worst_case"]
    robust += ["bpda_acc", "external"]
    heads = ["dataset", "norm", "eps", "rank", "name", "architecture"]
    heads += [f"{key}{end}" for key in robust for end in ("", "_low", "_high")]
    heads += ["autoattack_threat", "gap", "images", "verdict", "file"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for group in board.groups:
        for line in group.lines:
            card = line.card
            cells: list[object] = [
                card.dataset,
                card.norm,
                card.eps_text,
                line.rank,
                card.name,
                card.architecture,
            ]
            for key in robust:
                found = card.accuracies.get(key)
                cells += [found.value, found.low, found.high] if found else [None] * 3
            gap = None if line.gap is None else round(line.gap, 4)
            cells += [_autoattack(line), gap, card.images, card.verdict, card.path.name]
            writer.writerow(cells)
    return text.getvalue()


def latex_leaderboard(board: Leaderboard) -> str:
    """One table per group, for the packages ``booktabs`` and ``graphicx``; intervals small below."""
    lines = ["% needs \\usepackage{booktabs} and \\usepackage{graphicx}"]
    kinds = "rll" + "r" * (len(COLUMNS) - 4) + "l"
    heads = [
        f"\\shortstack[b]{{{escape.latex(column.title)}\\\\ {{\\tiny {escape.latex(column.note)}}}}}"
        if column.note
        else escape.latex(column.title)
        for column in COLUMNS
    ]
    for group in board.groups:
        lines += [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{escape.latex(group.heading)}. {escape.latex(LEGEND)}}}",
            "\\resizebox{\\linewidth}{!}{%",
            f"\\begin{{tabular}}{{{kinds}}}",
            "\\toprule",
            f"{' & '.join(heads)} \\\\",
            "\\midrule",
        ]
        for line in group.lines:
            cells = []
            for _, field in line.fields():
                small = escape.latex(" ".join(field.notes))
                cells.append(escape.latex(field.text) + (f" {{\\scriptsize {small}}}" if small else ""))
            lines.append(f"{' & '.join(cells)} \\\\")
        lines += ["\\bottomrule", "\\end{tabular}%", "}", "\\end{table}", ""]
    return "\n".join(lines)


def _autoattack(line: Line) -> str | None:
    return line.card.autoattack_threat or FOREIGN if "autoattack_acc" in line.card.accuracies else None
