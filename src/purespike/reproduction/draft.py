"""A sheet while its experiment runs: rows are appended in the order in which they are read."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from purespike.errors import InputError
from purespike.progress import console
from purespike.reproduction.chosen_rows import chosen_rows
from purespike.reproduction.context import ExperimentContext, Unavailable
from purespike.reproduction.kept_rows import RowFailed, kept_row
from purespike.reproduction.sheet import Column, Kind, Origin, SheetCell, SheetRow


class Draft:
    """Title, columns and the rows so far.

    Args:
        experiment: name of the experiment.
        title: title of the table.
        columns: columns in order.
        kind: kind of the figure.
        notes: sentences below the table.
        shown: settings that are not those of the scale: ``images``, ``batch_size``, ``surrogates``, and
            ``attacked``, what the images are.
    """

    def __init__(
        self,
        experiment: str,
        title: str,
        columns: Sequence[Column],
        *,
        kind: Kind = "dots",
        notes: Sequence[str] = (),
        shown: Mapping[str, Any] | None = None,
    ) -> None:
        self.experiment = experiment
        self.title, self.columns, self.kind, self.notes = title, tuple(columns), kind, tuple(notes)
        self.shown = dict(shown or {})
        self.rows: list[SheetRow] = []
        self._chosen: Sequence[str] | None = None

    def choose(self, given: Sequence[str], known: Sequence[str]) -> None:
        """Measure only some of the ``known`` rows; see :func:`chosen_rows`.

        Raises:
            InputError: an unknown row.
        """
        self._chosen = chosen_rows(given, known)

    def asks_for(self, method: str) -> bool:
        """Whether a row is to be measured."""
        return self._chosen is None or method in self._chosen

    def keep(
        self,
        context: ExperimentContext,
        name: str,
        method: str,
        settings: Any,
        measure: Callable[[], SheetRow],
    ) -> None:
        """Append the row of ``method``, known or measured, if it is asked for; see :func:`kept_row`.

        Raises:
            Unavailable: it is neither known nor asked for.
        """
        asked = self.asks_for(method)
        self.rows.append(kept_row(context, self.experiment, name, settings, measure, asked=asked))

    def measured(
        self, group: str, method: str, cells: Mapping[Column, SheetCell], *, remark: str = ""
    ) -> None:
        """Append a row of our numbers."""
        about = {"remark": remark} if remark else {}
        self.rows.append(SheetRow(group=group, method=method, origin="measured", cells=dict(cells), **about))

    def printed(
        self,
        group: str,
        method: str,
        columns: Sequence[Column],
        values: Sequence[float | None],
        origin: Origin = "paper",
    ) -> None:
        """Append a row of printed numbers, in % where the column's unit is %; ``None`` is an empty cell."""
        cells = {
            column: SheetCell.of([value / 100 if column.unit == "%" else value])
            for column, value in zip(columns, values, strict=True)
            if value is not None
        }
        self.rows.append(SheetRow(group=group, method=method, origin=origin, cells=cells))

    def name_commits(self) -> None:
        """Note the commits of rows that were kept, where there are several."""
        commits = list(dict.fromkeys(row.commit[:12] for row in self.rows if row.commit))
        if len(commits) > 1:
            said = f"Rows were measured at commits {', '.join(commits)}; result.json says which."
            self.notes = (*self.notes, said)

    @contextlib.contextmanager
    def unless_missing(self, group: str, method: str) -> Iterator[None]:
        """Append a row with the reason where the data inside are not available."""
        try:
            yield
        except Unavailable as error:
            self.rows.append(
                SheetRow(group=group, method=method, origin="missing", reason=str(error), cells={})
            )

    @contextlib.contextmanager
    def unless_failed(self, group: str, method: str) -> Iterator[None]:
        """Append a row that says why, where the model inside cannot be trained; say so at once, too."""
        try:
            yield
        except InputError as error:
            console.print(f"{method} failed: {error}", markup=False, soft_wrap=True)
            about = {"decided_by": error.decided_by} if isinstance(error, RowFailed) else {}
            self.rows.append(
                SheetRow(group=group, method=method, origin="failed", reason=str(error), cells={}, **about)
            )
