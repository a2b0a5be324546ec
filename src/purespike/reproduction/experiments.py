"""Which experiments there are, and how one is run, kept and written."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from purespike.environment import provenance
from purespike.errors import InputError, unknown
from purespike.files import write_bytes, write_json, write_text
from purespike.reporting import markers
from purespike.reporting.drawing import png
from purespike.reporting.sheet_figures import sheet_figure
from purespike.reporting.sheet_tables import latex_sheet, markdown_sheet
from purespike.reproduction.ablation import ablation
from purespike.reproduction.attribution import fig1
from purespike.reproduction.curves import fig5
from purespike.reproduction.sheet import Sheet
from purespike.reproduction.tables import table1, table2, table3, table4, transfer
from purespike.reproduction.timing import fig4
from purespike.reproduction.workshop import Workshop

EXPERIMENTS: dict[str, Callable[[Workshop], Sheet]] = {
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "table4": table4,
    "fig1": fig1,
    "fig4": fig4,
    "fig5": fig5,
    "transfer": transfer,
    "ablation": ablation,
}


def check_experiments(names: Sequence[str]) -> list[str]:
    """The experiments that are meant; ``all`` is all of them.

    Raises:
        InputError: an unknown name, or none; Figure 1, where captum is missing.
    """
    if not names:
        raise InputError(f"name an experiment: {', '.join(EXPERIMENTS)} or all")
    for name in names:
        if name not in EXPERIMENTS and name != "all":
            raise unknown("experiment", name, [*EXPERIMENTS, "all"])
    chosen = list(EXPERIMENTS) if "all" in names else list(dict.fromkeys(names))
    # said now, and not after hours of training
    if "fig1" in chosen and importlib.util.find_spec("captum") is None:
        raise InputError("fig1 needs captum: pip install 'purespike[explain]'")
    return chosen


def reproduce(name: str, workshop: Workshop, *, origin: dict[str, object]) -> Path:
    """Run one experiment and write ``result.json``, ``table.md``, ``table.tex`` and ``figure.png``.

    What an earlier call finished, models and chunks of images, is read back.

    Args:
        name: a key of :data:`EXPERIMENTS`.
        workshop: what trains and attacks, and where.
        origin: of the scale, e.g. its name; the command, commit and machine are added.

    Returns:
        The folder of the experiment.

    Raises:
        InputError: unknown name.
    """
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    sheet = EXPERIMENTS[name](workshop)
    folder = workshop.folder / name
    if workshop.accelerator.is_main_process:
        content = {
            **sheet.to_json(),
            "scale": {**origin, **workshop.scale.model_dump(mode="json", include=_SHOWN)},
            "seeds": list(workshop.seeds),
            "provenance": provenance(seed=workshop.seeds[0], device=workshop.accelerator.device),
        }
        write_json(folder / "result.json", content)
        write_text(folder / "table.md", markdown_sheet(content))
        write_text(folder / "table.tex", latex_sheet(content))
        # Figure 1 draws pictures of its own
        if content["kind"] != "pictures":
            write_bytes(folder / "figure.png", png(sheet_figure(content)))
    workshop.accelerator.wait_for_everyone()
    return folder


def document(folder: Path, page: Path) -> None:
    """Put the tables and figures of ``folder`` between the markers of ``page``, one pair per experiment.

    Raises:
        InputError: the page is missing, or names an experiment that there is not.
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
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    table, figure = (folder / name / file for file in ("table.md", "figure.png"))
    if not table.is_file():
        return f"*Not measured yet: `purespike reproduce {name}`.*"
    place = os.path.relpath(figure, page.parent).replace(os.sep, "/")
    return f"![{name}]({place})\n\n{table.read_text(encoding='utf-8')}"


_SHOWN = {"about", "images", "batch_size", "precision", "surrogates", "losses"}
