"""What an evaluation leaves on disk: outcomes per image, result cards, tables and the report."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from purespike.budget import format_eps, parse_eps, parse_radius
from purespike.errors import InputError
from purespike.evaluation.scores import score
from purespike.files import replacing, write_json, write_text
from purespike.reporting.exports import csv_table, latex_table
from purespike.reporting.page import write_report
from purespike.reporting.standing import (
    bound_key,
    cell_key,
    cells_at,
    norm_of,
    outcomes,
    whole_threats,
    worst_case,
)
from purespike.reporting.tables import cell_steps, markdown_table, table_eps
from purespike.reporting.words import Evaluation, attack_text, same_eps

# the key of a card for each threat model's worst case
_KEYS = {
    "undefended": "undefended_acc",
    "oblivious": "oblivious_acc",
    "bpda": "bpda_acc",
    "adaptive": "adaptive_acc",
    "transfer": "transfer_acc",
    "query": "query_acc",
}


def write_artefacts(content: Evaluation, folder: str | Path, *, name: str) -> Path:
    """Write everything that can be made of an evaluation into ``folder``, each file atomically.

    ``outcomes.npz``, ``card-NORM-EPS.json`` for each budget, ``robustness.md``, ``.tex`` and ``.csv``,
    ``evaluation.json``, and last ``report.html`` with its figures.

    Args:
        content: the content of ``evaluation.json``.
        folder: made if missing.
        name: what a leaderboard calls the model.

    Returns:
        The path of ``report.html``.
    """
    folder = Path(folder)
    write_outcomes(content, folder / "outcomes.npz", labels=content.get("labels"))
    write_cards(content, folder, name=name)
    write_text(folder / "robustness.md", markdown_table(content))
    write_text(folder / "robustness.tex", latex_table(content))
    write_text(folder / "robustness.csv", csv_table(content))
    write_json(folder / "evaluation.json", dict(content))
    return write_report(folder)


def write_outcomes(
    content: Evaluation, path: str | Path, *, labels: Sequence[int] | np.ndarray | None = None
) -> None:
    """Write which images stood, attack by attack, as an ``.npz`` without pickles.

    Arrays, bool ``[N]`` in the order of the attacked images, true where the model is right:

    - ``labels``: int64 ``[N]``, the true classes, if given;
    - ``clean_undefended``, ``clean_defended``: on clean images, without and with the purifier;
    - ``cell/THREAT/BOUND/ATTACK``, e.g. ``cell/adaptive/linf-8_255/pgd-20``: after one attack. A bound is
      ``linf-8_255``, ``l2-0.5``, ``l2-unbounded`` or ``noise-20_255`` (its level). Where two cells would
      share a name (other settings), the second ends with ``~2``, in the order of the evaluation;
    - ``worst/THREAT/BOUND``: under every attack of this threat model and bound;
    - ``worst/whole/BOUND``: under everything that attacks the whole, all threat models but ``undefended`` of
      a purified model.

    Args:
        content: the content of ``evaluation.json``.
        path: of the file.
        labels: true classes of the attacked images, ``[N]``.

    Raises:
        InputError: a cell without outcomes, or labels of another length.
    """
    arrays: dict[str, np.ndarray] = {}
    count = content["clean"]["undefended"]["n"]
    if labels is not None:
        arrays["labels"] = np.asarray(labels, dtype=np.int64)
        if arrays["labels"].shape != (count,):
            raise InputError(
                f"labels: expected one for each of {count} images, got shape {list(arrays['labels'].shape)}"
            )
    for name, values in (content.get("clean_outcomes") or {}).items():
        arrays[f"clean_{name}"] = np.asarray(values, dtype=bool)
    for cell in content["cells"]:
        key = first = f"cell/{cell_key(cell)}"
        number = 1
        while key in arrays:
            number += 1
            key = f"{first}~{number}"
        arrays[key] = outcomes(cell)
    whole = whole_threats(content)
    for eps in _budgets(content):
        bound = bound_key({"norm": norm_of(content), "eps": eps})
        for threat in _KEYS:
            standing = worst_case(content, eps, [threat])
            if standing is not None:
                arrays[f"worst/{threat}/{bound}"] = standing
        standing = worst_case(content, eps, whole)
        if standing is not None:
            arrays[f"worst/whole/{bound}"] = standing
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_outcomes(path: str | Path) -> dict[str, np.ndarray]:
    """Read what :func:`write_outcomes` wrote, by key.

    Raises:
        InputError: missing, not such a file, or its arrays do not fit together.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; `purespike evaluate MODEL --out DIR` writes it")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable npz archive ({reason})") from None
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


def card(
    content: Evaluation,
    *,
    name: str,
    eps: float | str,
    link: str = "",
    authors: str = "",
    venue: str = "",
    additional_data: bool | None = None,
    reported: str | None = None,
    footnote: str = "",
) -> dict[str, Any]:
    """The result of one budget in the shape of RobustBench's ``model_info`` files, and beyond.

    As there, accuracies are text in percent of two decimals; all are of the attacked images. Its keys come
    first, what only we know follows: ``adaptive_acc`` and its kin, each a worst case per image over the
    attacks of one threat model, ``worst_case`` over everything that attacks the whole, ``intervals`` (95%
    Wilson, by key), verdict, diagnostics and origin. What was not measured is ``None``. ``autoattack_acc`` is
    AutoAttack's and nothing else's, under ``autoattack_threat``; it is ``None`` where AutoAttack was not run
    by an attacker who knows the whole model, or not completely.

    Args:
        content: the content of ``evaluation.json``.
        name: of the model.
        eps: one of the evaluation's budgets.
        link: web address of model or paper.
        authors: of the model.
        venue: where it was published.
        additional_data: whether it was trained on more than the data set.
        reported: the robust accuracy that its authors claim, in percent.
        footnote: what else a reader must know.

    Raises:
        InputError: nothing was measured at ``eps``, or outcomes per image are missing.
    """
    norm = norm_of(content)
    eps = parse_radius(eps) if norm == "l2" else parse_eps(eps)
    whole = whole_threats(content)
    if not cells_at(content, eps, _KEYS):
        raise InputError(
            f"evaluation: no attack was run at eps {format_eps(eps)}, so there is no card for it"
        )
    clean = content["clean"]
    scores: dict[str, Mapping[str, Any] | None] = {
        "clean_acc": clean["defended"] or clean["undefended"],
        **{key: _score(worst_case(content, eps, [threat])) for threat, key in _KEYS.items()},
        "worst_case": _score(worst_case(content, eps, whole)),
    }
    autoattack = _autoattack(content, eps)
    scores["autoattack_acc"] = _score(outcomes(autoattack)) if autoattack else None
    shown = {key: None if value is None else _percent(value["accuracy"]) for key, value in scores.items()}
    verdict, origin = content.get("verdict"), content.get("provenance") or {}
    at = cells_at(content, eps, _KEYS)
    return {
        "link": link,
        "name": name,
        "authors": authors,
        "additional_data": additional_data,
        "number_forward_passes": max(cell.get("passes") or 1 for cell in at),
        "dataset": content["data"]["source"],
        "venue": venue,
        "architecture": _architecture(content),
        "eps": format_eps(eps),
        "clean_acc": shown.pop("clean_acc"),
        "reported": reported,
        "autoattack_acc": shown.pop("autoattack_acc"),
        "footnote": footnote,
        "unreliable": verdict is not None and verdict["level"] == "unreliable",
        "norm": norm,
        "autoattack_threat": autoattack["threat"] if autoattack else None,
        "autoattack_version": autoattack["settings"].get("version") if autoattack else None,
        **shown,
        "intervals": {
            key: [_percent(value["low"]), _percent(value["high"])] for key, value in scores.items() if value
        },
        "clean": {
            "bare": _percent(clean["undefended"]["accuracy"]),
            "purified": _percent(clean["defended"]["accuracy"]) if clean["defended"] else None,
        },
        "attacks": {
            threat: list(dict.fromkeys(_named(cell) for cell in at if cell["threat"] == threat))
            for threat in _KEYS
            if any(cell["threat"] == threat for cell in at)
        },
        "images": content["data"]["n"],
        "verdict": verdict,
        "diagnostics": content.get("diagnostics"),
        "warnings": list(dict.fromkeys(line for cell in at for line in cell.get("warnings") or [])),
        "seed": content.get("seed"),
        "commit": origin.get("commit"),
        "dirty": origin.get("dirty"),
        "command": origin.get("command"),
        "date": origin.get("date"),
    }


def write_cards(content: Evaluation, folder: str | Path, *, name: str) -> list[Path]:
    """Write one card per budget, ``card-linf-8_255.json``; none for an evaluation without budgets.

    Raises:
        InputError: what :func:`card` raises.
    """
    paths = []
    for eps in _budgets(content):
        bound = bound_key({"norm": norm_of(content), "eps": eps})
        path = Path(folder) / f"card-{bound}.json"
        write_json(path, card(content, name=name, eps=eps))
        paths.append(path)
    return paths


def _budgets(content: Evaluation) -> list[float]:
    return [eps for eps in table_eps(content) if eps is not None]


def _score(standing: np.ndarray | None) -> dict[str, Any] | None:
    return None if standing is None else score(standing.astype(int).tolist())


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _named(cell: Mapping[str, Any]) -> str:
    return attack_text(cell["attack"], cell_steps(cell))


def _architecture(content: Evaluation) -> str:
    model = content["model"]
    classifier = str(model["classifier"].get("architecture", "unnamed"))
    if model["purifier"] is None:
        return classifier
    return f"{model['purifier'].get('architecture', 'purifier')} + {classifier}"


def _autoattack(content: Evaluation, eps: float) -> Mapping[str, Any] | None:
    # of a model without purifier the classifier alone is the whole, attacked through its own gradient
    knowing = ["adaptive"] + (["undefended"] if content["model"]["purifier"] is None else [])
    for threat in knowing:
        for name in ("autoattack", "autoattack_rand"):
            for cell in content["cells"]:
                same = (cell["attack"], cell["threat"], cell["norm"]) == (name, threat, norm_of(content))
                if same and same_eps(cell["eps"], eps):
                    return cell
    return None
