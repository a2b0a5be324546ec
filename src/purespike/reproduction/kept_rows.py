"""Finished rows of a long table: it grows over days and machines.

Each is kept in a file of its own, and the table names what decided it: where a folder holds the table alone,
a later command continues from that.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from purespike.environment import provenance
from purespike.errors import InputError
from purespike.recipe import Recipe
from purespike.reproduction.context import ExperimentContext, Unavailable
from purespike.reproduction.scale import folder_name
from purespike.reproduction.sheet import NOT_ASKED, Sheet, SheetRow
from purespike.results import Provenance, Record

R = TypeVar("R", bound=Record)


class RowFailed(InputError):
    """A row that could not be measured.

    Args:
        reason: reason.
        decided_by: digest of its settings.
    """

    def __init__(self, reason: str, decided_by: str) -> None:
        super().__init__(reason)
        self.decided_by = decided_by


class KeptRow(Record):
    """A row, a digest of the settings that decide it, and where it was measured."""

    decided_by: str
    row: SheetRow
    provenance: Provenance


def deciding(
    context: ExperimentContext, dataset: str, recipes: Iterable[Recipe], **attackers: Any
) -> dict[str, Any]:
    """All that decides a row, as plain JSON values.

    Args:
        context: data and scale of the table.
        dataset: data set of the row.
        recipes: recipes of its models, and of those whose images are sent to it.
        attackers: what is asked of the row, by name.
    """
    scale, data = context.scale, context.data(dataset)
    return {
        # the same images may lie elsewhere
        "recipes": [
            recipe.model_dump(mode="json", exclude={"data": {"source"}, "evaluation": True})
            for recipe in recipes
        ],
        "losses": list(scale.losses),
        "images": scale.images,
        # draws of a stochastic model belong to a batch
        "batch_size": scale.batch_size,
        "precision": scale.precision,
        "data": [split.fingerprint() for split in (data.train, data.test)],
        "seeds": len(context.seeds),
        **attackers,
    }


def kept_row(
    context: ExperimentContext,
    experiment: str,
    name: str,
    settings: Any,
    measure: Callable[[], SheetRow],
    *,
    asked: bool = True,
) -> SheetRow:
    """The row that an earlier call measured with the same ``settings``, else a new one, which is then kept.

    Args:
        context: folder and process; rows lie in ``EXPERIMENT/rows/``.
        experiment: name of the experiment.
        name: name of the row.
        settings: plain JSON values that decide the row (:func:`deciding`). The code is not among them, but
            the commit is kept.
        measure: function that makes the row.
        asked: whether to call it.

    Raises:
        Unavailable: the row is neither known nor asked for.
        RowFailed: ``measure`` raised an ``InputError``.
    """
    known = found_row(context, experiment, name, settings)
    if known is not None and not (asked and known.origin == "failed"):
        return known
    if not asked:
        raise Unavailable(NOT_ASKED)
    origin = provenance(seed=context.seeds[0], device=context.accelerator.device)
    decided_by = _digest(name, settings)
    try:
        row = measure()
    except InputError as error:
        raise RowFailed(str(error), decided_by) from error
    made = KeptRow(decided_by=decided_by, row=row, provenance=Provenance.from_json(origin))
    if context.accelerator.is_main_process:
        made.save(_place(context, experiment, name))
    return _with_origin(made)


def found_row(context: ExperimentContext, experiment: str, name: str, settings: Any) -> SheetRow | None:
    """The row that an earlier call of :func:`kept_row` made with the same arguments, if any did.

    It is one of origin ``failed`` where the last call could not measure it.
    """
    decided_by = _digest(name, settings)
    found = _read(KeptRow, _place(context, experiment, name))
    if found is not None and found.decided_by == decided_by:
        return _with_origin(found)
    table = _read(Sheet, context.folder / experiment / "result.json")
    rows = [] if table is None else table.rows
    return next((row for row in rows if row.decided_by == decided_by), None)


def _place(context: ExperimentContext, experiment: str, name: str) -> Path:
    return context.folder / experiment / "rows" / f"{folder_name(name)}.json"


def _digest(name: str, settings: Any) -> str:
    return hashlib.sha256(json.dumps([name, settings], sort_keys=True).encode()).hexdigest()


def _with_origin(kept: KeptRow) -> SheetRow:
    origin = {"commit": kept.provenance.commit or "", "decided_by": kept.decided_by}
    return kept.row.model_copy(update=origin)


def _read(kind: type[R], path: Path) -> R | None:
    """The record in a file; ``None`` if there is none, or none that can be read."""
    try:
        return kind.read(path) if path.is_file() else None
    except InputError:
        return None
