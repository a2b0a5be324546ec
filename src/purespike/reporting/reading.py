"""Reading the files of a run folder; a bad one is one :class:`InputError` that names it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from purespike.errors import InputError
from purespike.reporting.words import THREATS

_SAMPLE_IMAGES = ("clean", "adversarial", "purified")
_SAMPLE_LABELS = ("labels", "undefended_prediction", "defended_prediction")


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read and check ``evaluation.json``.

    Raises:
        InputError: missing, not JSON, another schema, or a needed part is absent or of a wrong type.
    """
    value = _read_json(path, hint="; run `purespike evaluate` first")
    if value.get("schema") != 1:
        raise InputError(f"{path}: schema {value.get('schema')!r} is not 1; evaluate again with this version")
    try:
        _check_evaluation(value)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: malformed evaluation: {reason}; evaluate again") from None
    return value


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read ``history.jsonl``: one mapping per line, each with a stage and an epoch.

    Raises:
        InputError: missing, empty, or a line that is no such mapping.
    """
    records = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            raise InputError(f"{path}: line {number} is not JSON") from None
        if not isinstance(record, dict) or "stage" not in record or not _is_number(record.get("epoch")):
            raise InputError(f"{path}: line {number} has no stage or no epoch")
        records.append(record)
    if not records:
        raise InputError(f"{path}: holds no epoch")
    return records


def read_samples(path: Path) -> dict[str, np.ndarray]:
    """Read ``samples.npz``: images ``[N, C, H, W]`` in [0, 1], labels and predictions ``[N]``, names.

    Raises:
        InputError: missing, not an archive, or arrays of the wrong shape.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            samples = {name: archive[name] for name in archive.files}
    except Exception as error:  # numpy and zipfile raise half a dozen types for a damaged archive
        raise InputError(f"{path}: not a readable npz archive ({error})") from None
    absent = [name for name in (*_SAMPLE_IMAGES, *_SAMPLE_LABELS) if name not in samples]
    if absent:
        raise InputError(f"{path}: no array {absent[0]!r}")
    shape = samples["clean"].shape
    if (
        len(shape) != 4
        or shape[1] not in (1, 3)
        or any(samples[name].shape != shape for name in _SAMPLE_IMAGES)
    ):
        raise InputError(f"{path}: images must share one shape [N, C, H, W] with C 1 or 3, got {list(shape)}")
    if any(samples[name].shape != shape[:1] for name in _SAMPLE_LABELS) or not shape[0]:
        raise InputError(f"{path}: expected one label and one prediction for each of {shape[0]} images")
    return samples


def read_environment(path: Path) -> dict[str, Any]:
    """Read ``environment.json``.

    Raises:
        InputError: missing, or not a JSON mapping.
    """
    return _read_json(path)


def read_recipe(path: Path) -> dict[str, Any]:
    """Read ``recipe.yaml``.

    Raises:
        InputError: missing, or not a YAML mapping.
    """
    import yaml

    try:
        value = yaml.safe_load(_read_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a mapping of settings")
    return value


def _read_text(path: Path, hint: str = "") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def _read_json(path: Path, hint: str = "") -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path, hint))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON (line {error.lineno}: {error.msg})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON mapping, got a {type(value).__name__}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_evaluation(value: Mapping[str, Any]) -> None:
    for name in ("model", "data", "settings", "clean"):
        if not isinstance(value[name], dict):
            raise TypeError(f"{name!r} is not a mapping")
    for name in ("classifier", "purifier"):
        if not isinstance(value["model"][name], dict | None):
            raise TypeError(f"model {name!r} is not a mapping")
    if value["model"]["classifier"] is None:
        raise ValueError("the model has no classifier")
    value["data"]["source"], value["data"]["n"]
    for eps in value["settings"].get("eps") or []:
        _check_number(eps, "settings: eps")
    _check_score(value["clean"]["undefended"], "clean undefended")
    if value["clean"]["defended"] is not None:
        _check_score(value["clean"]["defended"], "clean defended")
    for number, cell in enumerate(value["cells"]):
        _check_cell(cell, f"cell {number}")
        cell["attack"], cell["norm"]
        for name in ("forwards", "backwards", "seconds", "mean_l2"):
            if cell.get(name) is not None:
                _check_number(cell[name], f"cell {number}: {name}")
        _check_extras(cell, f"cell {number}")
        for part in cell.get("components") or []:
            part["surrogate"], part["loss"]
            _check_number(part["broken"], f"cell {number}: broken")
    for line in value.get("quality") or []:
        line["images"]
    for finding in value.get("diagnostics") or []:
        for name in ("name", "group", "level", "seen", "advice", "source"):
            finding[name]
    for number, cell in enumerate(value.get("worst_case") or []):
        _check_cell(cell, f"worst case {number}")


def _check_cell(cell: Mapping[str, Any], where: str) -> None:
    if cell["threat"] not in THREATS:
        raise ValueError(f"{where}: threat {cell['threat']!r} is none of {', '.join(THREATS)}")
    if cell["eps"] is not None:
        _check_number(cell["eps"], f"{where}: eps")
    _check_score(cell["score"], where)


def _check_extras(cell: Mapping[str, Any], where: str) -> None:
    """What a cell may hold or not: older evaluations do not."""
    for name in ("passes", "pass_accuracy", "raised_from"):
        if cell.get(name) is not None:
            _check_number(cell[name], f"{where}: {name}")
    for name, kind in (("warnings", str), ("outcomes", int)):
        values = cell.get(name)
        if not isinstance(values, list | None) or not all(isinstance(one, kind) for one in values or []):
            raise TypeError(f"{where}: {name} is not a list of {kind.__name__}")


def _check_score(score: Any, where: str) -> None:
    if not isinstance(score, dict):
        raise TypeError(f"{where}: the score is not a mapping")
    for name in ("correct", "n", "accuracy", "low", "high"):
        _check_number(score[name], f"{where}: {name}")


def _check_number(value: Any, where: str) -> None:
    if not _is_number(value):
        raise TypeError(f"{where} {value!r} is not a number")
