"""What an evaluation leaves on disk: outcomes per image, result cards, tables and the report."""

from collections.abc import Mapping
from pathlib import Path

from purespike.errors import InputError
from purespike.files import write_text
from purespike.reporting.comparison import comparison_grid
from purespike.reporting.corrupted import corrupted_csv, corrupted_markdown
from purespike.reporting.page import write_report
from purespike.reporting.tables import csv_table, latex_table, markdown_table
from purespike.results import Comparison, Evaluation, write_cards, write_outcomes


def write_artefacts(
    evaluation: Evaluation,
    folder: str | Path,
    *,
    name: str,
    beside: Mapping[str, Evaluation] | None = None,
) -> Path:
    """Write everything that can be made of an evaluation into ``folder``, each file atomically.

    ``outcomes.npz``, ``card-NORM-EPS.json`` for each budget, ``robustness.md``, ``.tex`` and ``.csv``,
    ``corrupted.md`` and ``.csv`` where corrupted images were evaluated, ``evaluation.json``, and last
    ``report.html`` with its figures. With evaluations ``beside``,
    ``comparison.md`` and ``comparison.json`` as well; without, those of an earlier report are removed.

    Args:
        evaluation: the evaluation.
        folder: folder of the files; made if missing.
        name: name of the model in a leaderboard, and in a comparison.
        beside: evaluations to compare with, by name.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: an evaluation ``beside`` of other images or at another budget; all else is written.
    """
    folder = Path(folder)
    write_outcomes(evaluation, folder / "outcomes.npz")
    write_cards(evaluation, folder, name=name, former=_former(folder / "evaluation.json"))
    write_text(folder / "robustness.md", markdown_table(evaluation))
    write_text(folder / "robustness.tex", latex_table(evaluation))
    write_text(folder / "robustness.csv", csv_table(evaluation))
    _write_corrupted(evaluation, folder)
    evaluation.save(folder / "evaluation.json")
    _compare(evaluation, folder, name, beside or {})
    return write_report(folder)


def _write_corrupted(evaluation: Evaluation, folder: Path) -> None:
    files = {"corrupted.md": corrupted_markdown, "corrupted.csv": corrupted_csv}
    for name, text in files.items():
        if evaluation.corrupted is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_text(folder / name, text(evaluation))


def _compare(evaluation: Evaluation, folder: Path, name: str, beside: Mapping[str, Evaluation]) -> None:
    if not beside:
        for file in ("comparison.md", "comparison.json", "figures/comparison.png"):
            (folder / file).unlink(missing_ok=True)
        return
    comparison = Comparison.of(name, evaluation, beside)
    write_text(folder / "comparison.md", comparison_grid(comparison).markdown())
    comparison.save(folder / "comparison.json")


def _former(path: Path) -> Evaluation | None:
    try:
        return Evaluation.read(path)
    except InputError:
        return None
