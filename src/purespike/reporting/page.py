"""The report of a run: one HTML file that needs nothing else, and its figures as PNG."""

from pathlib import Path

from purespike.errors import InputError
from purespike.files import write_text
from purespike.reporting import sections as sections  # registers the sections of this package
from purespike.reporting.html import engine
from purespike.reporting.section import SECTIONS, Report
from purespike.reporting.summary import summary, tiles
from purespike.results import Evaluation


def write_report(run: str | Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` into a run folder, each atomically.

    Args:
        run: folder with ``evaluation.json``; ``history.jsonl``, ``samples.npz``, ``comparison.json``,
            ``recipe.yaml`` and ``environment.json`` are used where they are there.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: ``evaluation.json`` is missing or malformed.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder")
    report = Report(run, Evaluation.read(run / "evaluation.json", hint="; run `purespike evaluate` first"))
    write_text(run / "report.html", render(report))
    return run / "report.html"


def render(report: Report) -> str:
    """The page as HTML; the figures are written beside it on the way."""
    return (
        engine()
        .get_template("report.html.j2")
        .render(
            name=report.folder.resolve().name,
            summary=summary(report.evaluation),
            tiles=tiles(report.evaluation),
            level=report.evaluation.level,
            verdict=report.evaluation.verdict,
            sections=[(section, body) for section in SECTIONS if (body := section.render(report))],
        )
    )
