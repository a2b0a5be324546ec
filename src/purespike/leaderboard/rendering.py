"""A leaderboard as HTML, Markdown, CSV and LaTeX."""

from collections.abc import Callable
from pathlib import Path

from purespike.files import write_text
from purespike.leaderboard.ranking import FOREIGN, Leaderboard, Line, columns, leaderboard
from purespike.reporting import escape
from purespike.reporting.grid import Cell, Grid, Group, Head, Row, csv_text
from purespike.reporting.html import engine
from purespike.results.vocabulary import THREATS

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
        folder: folder of cards; see :func:`~purespike.leaderboard.ranking.leaderboard`.
        out: folder of the four files; made if missing.
        say: function that is told each warning, a line for a file that could not be used.

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
    template = engine(_TEMPLATES).get_template("leaderboard.html.j2")
    return template.render(board=board, columns=columns(), legend=LEGEND, threats=THREATS)


def markdown_leaderboard(board: Leaderboard) -> str:
    """One table per group, the legend above."""
    parts = ["# Leaderboard", escape.markdown(LEGEND)]
    parts += [_grid(heading, rows).markdown("## {}").rstrip() for heading, rows in _rows(board)]
    if board.warnings:
        parts += ["Left out:", "\n".join(f"- {escape.markdown(text)}" for text in board.warnings)]
    return "\n\n".join(parts) + "\n"


def csv_leaderboard(board: Leaderboard) -> str:
    """One line per model; accuracies in percent, each with the ends of its interval, empty where unknown."""
    robust = [column.key for column in columns() if column.key.endswith("_acc") or column.key == "worst_case"]
    robust += [f"{words.name}_acc" for words in THREATS.values() if words.end_to_end and not words.ranked]
    robust.append("external")
    heads = ["dataset", "norm", "eps", "rank", "name", "architecture"]
    heads += [f"{key}{end}" for key in robust for end in ("", "_low", "_high")]
    heads += ["autoattack_threat", "gap", "images", "verdict", "file"]
    lines = []
    for line in (line for group in board.groups for line in group.lines):
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
            found = card.accuracy(key)
            cells += [found.value, found.low, found.high] if found else [None] * 3
        gap = None if line.gap is None else round(line.gap, 4)
        lines.append([*cells, _autoattack(line), gap, card.images, card.level, card.path.name])
    return csv_text(heads, lines)


def latex_leaderboard(board: Leaderboard) -> str:
    """One table per group, for the packages ``booktabs`` and ``graphicx``; intervals small below."""
    lines = ["% needs \\usepackage{booktabs} and \\usepackage{graphicx}"]
    lines += [_grid(heading, rows, (LEGEND,)).latex_table(wide=True) for heading, rows in _rows(board)]
    return "\n".join(lines)


def _rows(board: Leaderboard) -> list[tuple[str, list[Row]]]:
    found = []
    for group in board.groups:
        rows = []
        for line in group.lines:
            label, *cells = [Cell(field.text, field.notes) for _, field in line.fields()]
            rows.append(Row(label.text, cells))
        found.append((group.heading, rows))
    return found


def _grid(heading: str, rows: list[Row], notes: tuple[str, ...] = ()) -> Grid:
    heads = columns()
    align = "".join("l" if column.text else "r" for column in heads)
    return Grid(
        heading, [Head(column.title, column.note) for column in heads], [Group("", rows)], notes, align
    )


def _autoattack(line: Line) -> str | None:
    return line.card.autoattack_threat or FOREIGN if line.card.autoattack_acc is not None else None
