"""The report of a run: one HTML file that needs nothing else, and its figures as PNG."""

import base64
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from purespike.errors import InputError
from purespike.files import write_bytes, write_text
from purespike.reporting import figures, reading, summary, tables, words
from purespike.reporting.drawing import png

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Picture:
    """A figure inside the page: a data URI, or the reason why there is none."""

    alt: str
    uri: str = ""
    absent: str = ""


def write_report(run: str | Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` into a run folder, each atomically.

    Args:
        run: folder with ``evaluation.json``; ``history.jsonl``, ``samples.npz``, ``recipe.yaml`` and
            ``environment.json`` are used where they are there.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: ``evaluation.json`` is missing or malformed.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder")
    evaluation = reading.read_evaluation(run / "evaluation.json")
    page = run / "report.html"
    write_text(page, render(run, evaluation))
    return page


def render(run: Path, evaluation: words.Evaluation) -> str:
    """The page as HTML; the figures are written beside it on the way."""
    history, no_history = _attempt(lambda: reading.read_history(run / "history.jsonl"))
    samples, no_samples = _attempt(lambda: reading.read_samples(run / "samples.npz"))
    recipe, no_recipe = _attempt(lambda: reading.read_recipe(run / "recipe.yaml"))
    environment, no_environment = _attempt(lambda: reading.read_environment(run / "environment.json"))

    def picture(name: str, alt: str, draw: Callable[[], Figure]) -> Picture:
        return _picture(run / "figures" / f"{name}.png", alt, draw)

    def need(value: Any, reason: str | None) -> Any:
        if value is None:
            raise InputError(reason or "")
        return value

    robustness = tables.robustness_tables(evaluation)
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.globals.update(words=words, percent=words.percent)
    # the README's picture repeats the table, so it is written and not shown
    picture("robustness", "", lambda: figures.robustness_bars(evaluation))
    return engine.get_template("report.html.j2").render(
        name=run.resolve().name,
        summary=summary.summary(evaluation),
        tiles=summary.tiles(evaluation),
        verdict=summary.verdict(evaluation),
        title=robustness[0].title,
        tables=robustness,
        evaluation=evaluation,
        curve=picture(
            "accuracy_curve",
            "Accuracy against eps, one line per threat model",
            lambda: figures.accuracy_curve(evaluation),
        ),
        fall=picture(
            "waterfall",
            "Images standing after each attack and each threat model in turn",
            lambda: figures.waterfall(evaluation),
        ),
        diagnostics=evaluation.get("diagnostics"),
        complaints=list(_complaints(evaluation)),
        grid=picture(
            "samples",
            "Clean, adversarial and purified images, and their differences",
            lambda: figures.sample_grid(need(samples, no_samples)),
        ),
        samples_caption=str(samples.get("caption", "")) if samples else "",
        threats=[(threat, words.THREATS[threat]) for threat in robustness[0].threats],
        components=list(_components(evaluation)),
        rates=picture(
            "firing_rates",
            "Firing rate of every layer before and after training",
            lambda: figures.firing_rates(need(history, no_history)),
        ),
        curves=picture(
            "training_curves",
            "Loss and accuracy by epoch",
            lambda: figures.training_curves(need(history, no_history)),
        ),
        recipe=_sections(recipe) if recipe else [],
        no_recipe=no_recipe,
        provenance=_provenance(evaluation, environment),
        no_environment=no_environment,
        costs=_costs(evaluation),
    )


def _attempt(read: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return read(), None
    except InputError as error:
        return None, str(error)


def _picture(path: Path, alt: str, draw: Callable[[], Figure]) -> Picture:
    try:
        content = png(draw())
    except InputError as error:
        return Picture(alt, absent=str(error))
    write_bytes(path, content)
    return Picture(alt, uri=f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}")


def _complaints(evaluation: words.Evaluation) -> Iterator[tuple[str, str, str, str]]:
    """What attacks warned of: attack, bound, threat model and warning."""
    for cell in evaluation["cells"]:
        for line in cell.get("warnings") or []:
            attack = words.attack_text(cell["attack"], tables.cell_steps(cell))
            yield attack, words.condition_text(cell), cell["threat"], line


def _components(evaluation: words.Evaluation) -> Iterator[dict[str, Any]]:
    """For each bound of the tables and threat model: images each route broke, by attack."""
    cells = [cell for cell in evaluation["cells"] if cell.get("components")]
    for eps, threat in itertools.product(
        dict.fromkeys([*tables.table_eps(evaluation), None]),
        sorted(words.THREATS, key=lambda name: name != "adaptive"),
    ):
        columns = [cell for cell in cells if words.same_eps(cell["eps"], eps) and cell["threat"] == threat]
        if not columns:
            continue
        broken = [
            {(part["surrogate"], part["loss"]): part["broken"] for part in cell["components"]}
            for cell in columns
        ]
        names = list(dict.fromkeys(name for counts in broken for name in counts))
        yield {
            "threat": threat,
            "condition": words.condition_text(columns[0]),
            "entries": [(tables.cell_entry(cell), words.raised_text(cell)) for cell in columns],
            "rows": [(*name, [counts.get(name) for counts in broken]) for name in names],
            "most": [max(counts.values()) for counts in broken],
        }


def _costs(evaluation: words.Evaluation) -> dict[str, Any]:
    cells = [
        {
            "attack": words.attack_text(cell["attack"], tables.cell_steps(cell)),
            "condition": words.condition_text(cell),
            "threat": cell["threat"],
            **{name: cell.get(name) or 0 for name in ("forwards", "backwards", "seconds")},
        }
        for cell in evaluation["cells"]
    ]
    return {
        "cells": cells,
        "total": {name: sum(cell[name] for cell in cells) for name in ("forwards", "backwards", "seconds")},
    }


def _sections(recipe: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The recipe as titled lists of settings; nested names are joined by dots."""
    plain = [
        (str(name), _show(value, str(name)))
        for name, value in recipe.items()
        if not isinstance(value, Mapping)
    ]
    nested = [(str(name), list(_flat(value))) for name, value in recipe.items() if isinstance(value, Mapping)]
    return ([("general", plain)] if plain else []) + nested


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _show(value, str(name))


def _show(value: Any, name: str) -> str:
    if value is None or value == {} or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return words.eps_text(value) if "eps" in name or name == "step_size" else f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_show(item, name) for item in value)
    return str(value)


def _provenance(evaluation: words.Evaluation, environment: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Where the numbers come from, by name; the evaluation's own record goes before the run's."""
    record = evaluation.get("provenance") or environment or {}
    hardware = record.get("hardware") or {}
    memory = f"{hardware['memory_gib']} GiB memory" if hardware.get("memory_gib") else ""
    cores = f"{hardware['cores']} cores" if hardware.get("cores") else ""
    commit = record.get("commit") or "unknown"
    lines = [
        ("command", record.get("command")),
        ("commit", f"{commit}, with uncommitted changes" if record.get("dirty") else commit),
        ("seed", evaluation.get("seed", record.get("seed"))),
        ("date", record.get("date")),
        (
            "hardware",
            ", ".join(
                str(part) for part in (hardware.get("device"), hardware.get("cpu"), cores, memory) if part
            ),
        ),
        (
            "versions",
            ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items()),
        ),
        ("classifier", words.model_text(evaluation["model"]["classifier"])),
        (
            "purifier",
            words.model_text(evaluation["model"]["purifier"]) if evaluation["model"]["purifier"] else "none",
        ),
        ("data", words.data_text(evaluation)),
        ("fingerprint", evaluation["data"].get("fingerprint")),
    ]
    return [(name, str(value)) for name, value in lines if value not in (None, "")]
