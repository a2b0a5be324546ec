"""The state of a training run on disk: one file, replaced atomically after each epoch."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.files import write_text
from purespike.reading import brief, parse_json, read_text
from purespike.tensors import read_tensors, write_tensors
from purespike.training.objectives import Composition
from purespike.training.origin import KEY, check_origin

History = list[dict[str, Any]]


class TrainingState:
    """Weights, optimiser and history of one stage, kept in ``folder/checkpoint/STAGE.safetensors``.

    One file holds all of them, with the state of criterion and objective, so a kill at any moment leaves the
    state after some whole epoch. The rows of ``folder/history.jsonl`` are written from it and can never run
    ahead of it for long: a resumed run writes them anew.

    Args:
        folder: the run.
        stage: ``"classifier"`` or ``"purifier"``.
        model: the network being trained, not wrapped.
        optimiser: optimiser of its parameters.
        criterion: the loss, if it has a state of its own.
        average: the average of the weights, if there is one.
        objective: the objective, whose parts may have a state of their own.
        origin: origin of the weights (:func:`purespike.training.origin.origin_of`), kept and compared.
        follow: function that is told all rows whenever they are written.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        criterion: nn.Module | None = None,
        average: nn.Module | None = None,
        objective: Composition | None = None,
        origin: Mapping[str, Any] | None = None,
        follow: Callable[[History], None] | None = None,
    ) -> None:
        self.path = folder / "checkpoint" / f"{stage}.safetensors"
        self.history_path = folder / "history.jsonl"
        self.stage = stage
        parts = {"model": model, "criterion": criterion, "average": average}
        self.modules = {name: part for name, part in parts.items() if part is not None}
        self.optimiser = optimiser
        self.objective = objective
        self.origin = origin
        self.follow = follow
        self.kept: dict[str, Tensor] | None = None
        """State of the objective that :meth:`restore` found; ``None`` in a fresh run."""
        self.history: History = []

    def restore(self) -> int:
        """Load what an earlier run saved; return how many epochs it had finished, 0 if none.

        Raises:
            InputError: a damaged checkpoint, or one of another architecture or origin.
        """
        if not self.path.exists():
            return 0
        if self.origin is not None:
            check_origin(self.path, self.origin)
        tensors, metadata = read_tensors(self.path)
        try:
            parts = {key.partition("/")[0] for key in tensors} - {"optimiser", "objective"}
            if parts != self.modules.keys():
                raise KeyError(f"holds {', '.join(sorted(parts))}, not {', '.join(self.modules)}")
            for name, module in self.modules.items():
                module.load_state_dict(_under(name, tensors))
            plan = json.loads(metadata["optimiser"])
            self.optimiser.load_state_dict(_unpack(plan, tensors))
            self.history = json.loads(metadata["history"])
            self.kept = _under("objective", tensors)
            epoch = int(metadata["epoch"])
            # the rows tell the epochs of the stage apart, and a last one that differs is of another file
            if epoch != max(row["epoch"] for row in self.history):
                raise ValueError(f"epoch {epoch} is not the last of its history")
        # a damaged file fails anywhere in its parts, with whatever error comes to their readers
        except Exception as error:
            raise InputError(
                f"{self.path}: does not belong to this model ({brief(error)}); "
                "delete it to train from the start"
            ) from error
        self._write_history()
        return epoch

    def seconds(self) -> float:
        """Time that the epochs so far took."""
        return sum(row.get("seconds", 0.0) for row in self.history)

    def save(self, epoch: int, row: dict[str, Any]) -> None:
        """Append ``row`` to the history and write the state after ``epoch`` epochs."""
        # a run killed right after epoch 0 was saved saves it again
        self.history = [old for old in self.history if old["epoch"] < epoch]
        self.history.append({"stage": self.stage, "epoch": epoch, **row})
        tensors = {
            f"{name}/{key}": value
            for name, module in self.modules.items()
            for key, value in module.state_dict().items()
        }
        if self.objective is not None:
            tensors |= {f"objective/{key}": value for key, value in self.objective.state().items()}
        plan = _pack(self.optimiser.state_dict(), tensors, "optimiser")
        metadata = {
            "epoch": str(epoch),
            "optimiser": json.dumps(plan),
            "history": json.dumps(self.history),
        }
        if self.origin is not None:
            metadata[KEY] = json.dumps(self.origin)
        write_tensors(self.path, tensors, metadata)
        self._write_history()

    def _write_history(self) -> None:
        others = [row for row in read_history(self.history_path) if row["stage"] != self.stage]
        rows = others + self.history
        write_text(self.history_path, "".join(json.dumps(row) + "\n" for row in rows))
        if self.follow is not None:
            self.follow(rows)


def read_history(path: Path) -> History:
    """The rows of a ``history.jsonl``; empty if there is none.

    Raises:
        InputError: a damaged file.
    """
    if not path.exists():
        return []
    try:
        rows = [parse_json(line, path) for line in read_text(path).splitlines() if line]
        if not all(isinstance(row, dict) and {"stage", "epoch"} <= row.keys() for row in rows):
            raise InputError(f"{path}: a row without stage or epoch")
        return rows
    except InputError as error:
        raise InputError(f"{error}; damaged: delete it, the checkpoints hold its rows") from error


def _under(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _pack(value: Any, tensors: dict[str, Tensor], key: str) -> Any:
    """Replace every tensor inside ``value`` by a reference and put it into ``tensors``."""
    if isinstance(value, Tensor):
        tensors[key] = value
        return {"tensor": key}
    if isinstance(value, dict):
        # optimiser states are keyed by integers, which JSON would turn into text
        return {"items": [[k, _pack(v, tensors, f"{key}/{k}")] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(v, tensors, f"{key}/{i}") for i, v in enumerate(value)]
    return value


def _unpack(plan: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(plan, dict):
        if "tensor" in plan:
            return tensors[plan["tensor"]]
        return {k: _unpack(v, tensors) for k, v in plan["items"]}
    if isinstance(plan, list):
        return [_unpack(v, tensors) for v in plan]
    return plan
