"""What an evaluation leaves on disk: outcomes per image, result cards, tables and the report."""

from pathlib import Path

from purespike.errors import InputError
from purespike.files import write_text
from purespike.reporting.page import write_report
from purespike.reporting.tables import csv_table, latex_table, markdown_table
from purespike.results import Evaluation, write_cards, write_outcomes


def write_artefacts(evaluation: Evaluation, folder: str | Path, *, name: str) -> Path:
    """Write everything that can be made of an evaluation into ``folder``, each file atomically.

    ``outcomes.npz``, ``card-NORM-EPS.json`` for each budget, ``robustness.md``, ``.tex`` and ``.csv``,
    ``evaluation.json``, and last ``report.html`` with its figures.

    Args:
        evaluation: the evaluation.
        folder: folder of the files; made if missing.
        name: name of the model in a leaderboard.

    Returns:
        The path of ``report.html``.
    """
    folder = Path(folder)
    write_outcomes(evaluation, folder / "outcomes.npz")
    write_cards(evaluation, folder, name=name, former=_former(folder / "evaluation.json"))
    write_text(folder / "robustness.md", markdown_table(evaluation))
    write_text(folder / "robustness.tex", latex_table(evaluation))
    write_text(folder / "robustness.csv", csv_table(evaluation))
    evaluation.save(folder / "evaluation.json")
    return write_report(folder)


def _former(path: Path) -> Evaluation | None:
    try:
        return Evaluation.read(path)
    except InputError:
        return None
