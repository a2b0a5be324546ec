"""Cells by name and settings: the one that a question means, and what tells cells of one attack apart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from purespike.budget import format_eps
from purespike.errors import InputError, unknown
from purespike.results.cell import Cell
from purespike.results.vocabulary import attack_text
from purespike.scalars import as_number, plain
from purespike.text import parse_attack


def named(cells: Iterable[Cell], attack: str) -> tuple[list[Cell], dict[str, Any]]:
    """The cells of an attack, and the settings in its name.

    Args:
        cells: cells to look among.
        attack: ``"pgd"``, a title with steps as in tables, ``"PGD-20"``, or with settings as on the command
            line, ``"pgd:steps=20"``.
    """
    name, settings = attack, {}
    if ":" in attack:
        settings = parse_attack(attack)
        name = settings.pop("name")
    cells = list(cells)
    found = [cell for cell in cells if cell.attack == name]
    if not found:
        low = name.lower()
        found = [
            cell
            for cell in cells
            if low in (cell.title.lower(), attack_text(cell.attack).lower(), f"{cell.attack}-{cell.steps}")
        ]
    return found, settings


def select(cells: Sequence[Cell], settings: Mapping[str, Any]) -> list[Cell]:
    """The ``cells`` with these settings; of several, those whose budget was not escalated.

    Raises:
        InputError: a setting that none of them has.
    """
    for name in settings:
        known = {key for cell in cells for key in cell.settings.values}
        if cells and name not in known:
            raise unknown(f"setting of {cells[0].attack}", name, known)
    found = [cell for cell in cells if all(_equal(cell, *pair) for pair in settings.items())]
    as_asked = [cell for cell in found if cell.raised_from is None]
    return as_asked if len(found) > 1 and as_asked else found


def differing(cells: Sequence[Cell], *, ignored: Iterable[str] = ("eps", "seed")) -> tuple[str, ...]:
    """Names of the settings in which ``cells`` differ."""
    names = dict.fromkeys(key for cell in cells for key in cell.settings.values)
    ignored = set(ignored)
    return tuple(
        name
        for name in names
        if name not in ignored and len({repr(cell.settings.values.get(name)) for cell in cells}) > 1
    )


def label(cell: Cell, among: Iterable[Cell]) -> str:
    """The title of ``cell``, with the settings that tell it apart from those ``among`` which share it.

    ``PGD-20``; beside another PGD of 20 steps, ``PGD-20 (restarts 5)``.
    """
    if cell.raised_from is not None:
        return cell.title
    alike = [
        other
        for other in among
        if (other.title, other.threat, other.condition, other.raised_from)
        == (cell.title, cell.threat, cell.condition, cell.raised_from)
    ]
    # steps are in the title, and a longer step follows from its like
    settings = [(name, cell.settings.values.get(name)) for name in differing(alike)]
    words = ", ".join(f"{name} {_text(name, value)}" for name, value in settings)
    return f"{cell.title} ({words})" if words else cell.title


def ambiguous(attack: str, threat: str, cells: Sequence[Cell]) -> InputError:
    """The error of a question that several ``cells`` answer."""
    answers = ", ".join(dict.fromkeys(f"{label(cell, cells)} ({cell.condition})" for cell in cells))
    apart = list(differing(cells))
    values = [f"{name}={cells[0].settings.values.get(name)}" for name in apart[:2]]
    if len({cell.eps for cell in cells}) > 1:
        values.insert(0, "eps=" + repr(cells[0].condition.rpartition("eps ")[2]))
    return InputError(
        f"evaluation: {len(cells)} attacks are called {attack} under threat model {threat}: {answers}; "
        + (f"say which, e.g. {', '.join(values)}" if values else "they differ in nothing but their outcomes")
    )


def _equal(cell: Cell, name: str, value: Any) -> bool:
    kept, value = cell.settings.values.get(name), plain(value)
    if isinstance(kept, int | float) and not isinstance(kept, bool | None):
        if isinstance(value, str):
            value = as_number(value)
        return isinstance(value, int | float) and math.isclose(kept, value, rel_tol=1e-6)
    if isinstance(kept, list | tuple) and isinstance(value, list | tuple):
        return list(kept) == list(value)
    return bool(kept == value)


def _text(name: str, value: Any) -> str:
    return format_eps(value) if name == "step_size" and isinstance(value, float) else str(value)
