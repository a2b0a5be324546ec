"""Scalars of a run for TensorBoard, through Accelerate's tracker."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from purespike.errors import unknown
from purespike.importing import optional
from purespike.results import Evaluation, read_history

TRACKERS = ("tensorboard",)
FOLDER = "tracking"
"""Folder of a tracker's files in a run folder."""


def check_tracker(name: str | None) -> None:
    """Check the name of a tracker, and that its package is there, before anything is trained.

    Raises:
        InputError: an unknown one, or its extra is missing.
    """
    if name is None:
        return
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS)
    optional("tensorboard", f"--track {name}")


class Tracking:
    """The history and the evaluation of a run, as scalars ``classifier/loss`` by epoch and so on.

    Its files in ``tracking/`` repeat ``history.jsonl``: a resumed run writes all epochs so far anew, then
    goes on, so that each is there once, also of a run that began without a tracker.

    Args:
        name: name of the tracker.
        folder: the run folder.
        accelerator: the processes; the main one writes.

    Raises:
        InputError: see :func:`check_tracker`.
    """

    def __init__(self, name: str, folder: Path, accelerator: Accelerator) -> None:
        check_tracker(name)
        self.folder, self.writes = folder, accelerator.is_main_process
        self._tracker: Any = None
        self._epochs: set[tuple[str, int]] = set()

    def begin(self) -> None:
        """Write what the run folder holds already; once, when the folder is this process's own."""
        if not self.writes or self._tracker is not None:
            return
        from accelerate.tracking import TensorBoardTracker

        for former in (self.folder / FOLDER).glob("events.out.tfevents.*"):
            former.unlink()
        self._tracker = TensorBoardTracker(FOLDER, self.folder)
        self._tracker.start()
        self.follow(row.to_json() for row in read_history(self.folder / "history.jsonl"))

    def follow(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the epochs among ``rows`` of a history that were not written yet."""
        if self._tracker is None:
            return
        for row in rows:
            stage, epoch = str(row["stage"]), int(row["epoch"])
            if (stage, epoch) in self._epochs:
                continue
            self._epochs.add((stage, epoch))
            values = {key: value for key, value in row.items() if key not in ("stage", "epoch")}
            self._tracker.log(dict(_scalars(stage, values)), step=epoch)

    def evaluated(self, evaluation: Evaluation) -> None:
        """Write accuracies clean, under every attack and in the worst case: ``evaluation/THREAT/BOUND/…``."""
        if self._tracker is None:
            return
        clean = evaluation.clean
        scores = {"evaluation/clean/undefended": clean.undefended.accuracy}
        if clean.defended is not None:
            scores["evaluation/clean/defended"] = clean.defended.accuracy
        for cell in evaluation.cells:
            label = re.sub(r"[^\w.-]+", "_", evaluation.label(cell)).strip("_")
            scores[f"evaluation/{cell.threat}/{cell.bound_key}/{label}"] = cell.score.accuracy
        for case in evaluation.worst_cases:
            bound = next(cell.bound_key for cell in evaluation.cells_at(case.eps, [case.threat]))
            scores[f"evaluation/{case.threat}/{bound}/worst_case"] = case.score.accuracy
        self._tracker.log(scores, step=0)

    def end(self) -> None:
        """Close the files; :meth:`begin` may open new ones."""
        if self._tracker is not None:
            self._tracker.finish()
            self._tracker, self._epochs = None, set()


def _scalars(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers in ``values`` by their path, ``purifier/firing_rates/denoiser.fire``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _scalars(f"{prefix}/{name}", value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}/{name}", float(value)
