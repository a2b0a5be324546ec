"""Outcomes per image of an evaluation as arrays: the content of ``outcomes.npz``."""

from pathlib import Path

import numpy as np

from purespike.errors import InputError
from purespike.files import replacing
from purespike.results.cell import bound_key
from purespike.results.evaluation import Evaluation
from purespike.results.samples import read_arrays


def write_outcomes(evaluation: Evaluation, path: str | Path) -> None:
    """Write the robust images, attack by attack, as an ``.npz`` without pickles.

    Arrays, bool ``[N]`` in the order of the attacked images, true where the model is right:

    - ``labels``: int64 ``[N]``, the true classes, if known;
    - ``clean_undefended``, ``clean_defended``: on clean images, without and with the purifier;
    - ``cell/THREAT/BOUND/ATTACK``, e.g. ``cell/adaptive/linf-8_255/pgd-20``: after one attack. A bound is
      ``linf-8_255``, ``l2-0.5``, ``l2-unbounded`` or ``noise-20_255`` (its level). Where two cells would
      share a name (other settings), the second ends with ``~2``, in the order of the evaluation;
    - ``worst/THREAT/BOUND``: under every attack of this threat model and bound;
    - ``worst/whole/BOUND``: under every attack on the defended model, hence of all threat models but
      ``undefended``; of a classifier without purifier, of all.

    Raises:
        InputError: a cell without outcomes, or labels of another length.
    """
    arrays: dict[str, np.ndarray] = {}
    count = evaluation.clean.undefended.n
    if evaluation.labels is not None:
        arrays["labels"] = np.asarray(evaluation.labels, dtype=np.int64)
        if arrays["labels"].shape != (count,):
            raise InputError(f"labels: expected one for each of {count} images, got {len(evaluation.labels)}")
    for name in ("undefended", "defended"):
        values = getattr(evaluation.clean_outcomes, name, ())
        if values:
            arrays[f"clean_{name}"] = np.asarray(values, dtype=bool)
    for cell in evaluation.cells:
        key = first = f"cell/{cell.key}"
        number = 1
        while key in arrays:
            number += 1
            key = f"{first}~{number}"
        arrays[key] = cell.robust
    attackers = {threat: (threat,) for threat in evaluation.threats} | {
        "whole": evaluation.end_to_end_threats
    }
    for eps in evaluation.budgets:
        for name, threats in attackers.items():
            robust = evaluation.worst_case_at(eps, threats)
            if robust is not None:
                arrays[f"worst/{name}/{bound_key(evaluation.norm, eps)}"] = robust
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_outcomes(path: str | Path) -> dict[str, np.ndarray]:
    """Read what :func:`write_outcomes` wrote, by key.

    Raises:
        InputError: missing, not such a file, or its arrays do not fit together.
    """
    arrays = read_arrays(path, hint="; `purespike evaluate MODEL --out DIR` writes it")
    if not arrays:
        raise InputError(f"{path}: holds no outcomes")
    count = len(next(iter(arrays.values())).reshape(-1))
    for key, values in arrays.items():
        wanted = np.int64 if key == "labels" else np.bool_
        if values.dtype != wanted or values.shape != (count,):
            raise InputError(
                f"{path}: {key}: expected {np.dtype(wanted).name} [{count}], "
                f"got {values.dtype.name} {list(values.shape)}; evaluate again"
            )
    return arrays
