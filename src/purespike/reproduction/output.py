"""Running an experiment, and writing its files and its part of a page."""

import os
from pathlib import Path

from purespike.environment import provenance
from purespike.errors import InputError
from purespike.files import write_bytes, write_text
from purespike.progress import console
from purespike.reporting import markers
from purespike.reporting.drawing import png
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.registry import find_experiment
from purespike.reproduction.sheet import Sheet, SheetScale
from purespike.reproduction.sheet_figures import sheet_figure
from purespike.reproduction.sheet_text import sheet_grid
from purespike.results import Provenance

FORMER = "result.before.json"
"""The table that was there before, where the new one has not all of its rows."""


def reproduce(name: str, context: ExperimentContext, *, origin: dict[str, object]) -> Path:
    """Run one experiment and write ``result.json``, ``table.md``, ``table.tex`` and ``figure.png``.

    Finished models and chunks of images of an earlier call are read back.

    Args:
        name: key of :data:`~purespike.reproduction.registry.EXPERIMENTS`.
        context: models, data and settings of the measurement.
        origin: origin of the scale, e.g. its name; command, commit and machine are added.

    Returns:
        The folder of the experiment.

    Raises:
        InputError: unknown name.
    """
    draft = find_experiment(name).run(context)
    draft.name_commits()
    folder = context.folder / name
    if context.accelerator.is_main_process:
        sheet = _sheet(name, draft, context, origin)
        keep_former(sheet, folder)
        write_sheet(sheet, folder)
    context.accelerator.wait_for_everyone()
    return folder


def write_sheet(sheet: Sheet, folder: Path) -> None:
    """Write ``result.json`` and what follows from it: the tables, and the figure unless it has pictures."""
    sheet.save(folder / "result.json")
    grid = sheet_grid(sheet)
    write_text(folder / "table.md", grid.markdown("**{}**"))
    write_text(folder / "table.tex", grid.latex())
    # the experiment itself draws pictures
    if sheet.kind != "pictures":
        write_bytes(folder / "figure.png", png(sheet_figure(sheet)))


def keep_former(sheet: Sheet, folder: Path) -> None:
    """Move aside a table whose measured rows ``sheet`` lacks: other settings, or data that are gone."""
    path = folder / "result.json"
    try:
        former = Sheet.read(path) if path.is_file() else None
    except InputError:
        return
    kept = {(row.group, row.method) for row in sheet.rows if row.origin == "measured"}
    rows = () if former is None else former.rows
    lost = [row for row in rows if row.origin == "measured" and (row.group, row.method) not in kept]
    if lost:
        path.replace(folder / FORMER)
        console.print(
            f"{sheet.experiment}: {len(lost)} measured rows of the former table are not in this one "
            f"({lost[0].method}, …); it is now {folder / FORMER}",
            markup=False,
            soft_wrap=True,
        )


def document(folder: Path, page: Path) -> None:
    """Put the tables and figures of ``folder`` between the markers of ``page``, one pair per experiment.

    Raises:
        InputError: the page is missing, or names an unknown experiment.
    """
    if not page.is_file():
        raise InputError(f"{page}: no such page")
    text = page.read_text(encoding="utf-8")
    for name in markers.names(text):
        text = markers.fill(text, name, shown(folder, name, page))
    write_text(page, text)


def shown(folder: Path, name: str, page: Path) -> str:
    """An experiment's table and figure as ``page`` shows them; a line where it was not run.

    Raises:
        InputError: unknown name.
    """
    find_experiment(name)
    table, figure = (folder / name / file for file in ("table.md", "figure.png"))
    if not table.is_file():
        return f"*Not measured yet: `purespike reproduce {name}`.*"
    place = os.path.relpath(figure, page.parent).replace(os.sep, "/")
    return f"![{name}]({place})\n\n{table.read_text(encoding='utf-8')}"


def _sheet(name: str, draft: Draft, context: ExperimentContext, origin: dict[str, object]) -> Sheet:
    shown = context.scale.model_dump(mode="json", include=_SHOWN)
    return Sheet(
        schema_version=1,
        experiment=name,
        title=draft.title,
        kind=draft.kind,
        columns=draft.columns,
        rows=tuple(draft.rows),
        notes=draft.notes,
        scale=SheetScale.from_json({**origin, **shown, **draft.shown}),
        seeds=tuple(context.seeds),
        provenance=Provenance.from_json(provenance(seed=context.seeds[0], device=context.accelerator.device)),
    )


_SHOWN = {"about", "images", "batch_size", "precision", "surrogates", "losses"}
