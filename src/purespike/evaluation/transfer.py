"""Which models' images deceive which: a matrix of substitutes and targets, on the same images."""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from purespike.attacks.objective import attacked
from purespike.attacks.precision import misclassified
from purespike.attacks.transfer import check_pair, full_strength
from purespike.data import ImageSet, load_data, overlap
from purespike.environment import provenance
from purespike.errors import InputError
from purespike.evaluation.inputs import Pair, describe_model, read_images
from purespike.evaluation.plan import AttackSpec, Job, parse_budgets, passes_of, plan_jobs
from purespike.evaluation.scores import score
from purespike.evaluation.transfer_result import TransferMatrix
from purespike.files import write_json
from purespike.models.predict import as_float
from purespike.progress import Bar, bar
from purespike.results import TransferCell
from purespike.seeding import derive, seeded

Models = Mapping[str, nn.Module]


def transfer_matrix(
    substitutes: Models,
    targets: Models,
    data: str | ImageSet | Pair,
    *,
    attacks: Sequence[AttackSpec] = ({"name": "pgd", "steps": 20},),
    eps: float | str | Sequence[float | str] = "8/255",
    norm: str = "linf",
    images: int | None = None,
    batch_size: int = 128,
    trained_on: Mapping[str, ImageSet] | None = None,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    folder: Path | None = None,
) -> TransferMatrix:
    """Attack every substitute, and judge every target on the images found.

    Images are made once per substitute, attack and budget, at full strength
    (:func:`purespike.attacks.transfer.full_strength`), and sent to all targets. As everywhere, an image
    counts as robust if a target classifies it correctly both clean and attacked. Where substitute and target
    are one and the same model the entry is white-box. The models are left as they were.

    Args:
        substitutes: by name, what the attacker differentiates.
        targets: by name, what is judged; purified or not.
        data: a source's name (its test split), an ``ImageSet``, or ``(images [N, C, H, W] in [0, 1],
            labels [N])``.
        attacks: names, or mappings of a name and settings.
        eps: one or several budgets: L∞ in pixel units, or L2 radii.
        norm: ``"linf"`` or ``"l2"``.
        images: at most so many images, a stratified subset; ``None`` for all.
        batch_size: images per forward.
        trained_on: by name of a substitute or target, the images it was trained on, as far as known: the
            result then says how many of a substitute's are a target's as well, or among the attacked.
        seed: of every random draw.
        accelerator: device and processes; by default the device the first target is on.
        folder: where finished chunks are kept, so that a killed matrix goes on; ``None`` keeps none.

    Returns:
        Scores with 95% Wilson intervals, outcomes per image, settings and provenance.

    Raises:
        InputError: no substitute or target, models that do not take the same images, unknown attacks, or
            budgets out of range.
    """
    if not substitutes or not targets:
        raise InputError("transfer: needs at least one substitute and one target")
    budgets = parse_budgets(eps, norm)
    jobs = plan_jobs(attacks, budgets, norm=norm)
    if not jobs:
        raise InputError("transfer: needs at least one attack, e.g. pgd:steps=20")
    for job in jobs:
        if job.norm == "noise":
            raise InputError(f"transfer: {job.attack.name} needs no substitute; leave it out")
    accelerator = accelerator or Accelerator(cpu=_on_cpu(next(iter(targets.values()))))
    if isinstance(data, str):
        data = load_data(data).test
    pixels, labels, description = read_images(data, limit=images, seed=seed)
    device = accelerator.device
    for model in (*substitutes.values(), *targets.values()):
        model.to(device)
    first = as_float(pixels[:1].to(device))
    for name, substitute in substitutes.items():
        for other, target in targets.items():
            _check(name, other, substitute, target, first, labels)

    chunks = _Chunks(pixels, labels, batch_size, seed, accelerator, folder)
    work = sum(passes_of(job.attack) for job in jobs) * len(labels) * len(substitutes)
    with bar("transfer", work, unit="passes", show=accelerator.is_main_process) as progress:
        # the same model under two names is judged once
        models = {id(model): model for model in (*substitutes.values(), *targets.values())}
        judged = {key: chunks.clean(model) for key, model in models.items()}
        clean = {
            role: {name: judged[id(model)] for name, model in named.items()}
            for role, named in (("substitutes", substitutes), ("targets", targets))
        }
        cells = []
        for job in jobs:
            for name, substitute in substitutes.items():
                found = chunks.attack(job, substitute, targets, _advancing(progress, job))
                for place, (other, target) in enumerate(targets.items()):
                    cell = _cell(job, name, other, place, found, clean["targets"][other])
                    cells.append({**cell, "white_box": substitute is target})
                    progress.say(TransferCell.from_json(cells[-1]).line())

    return TransferMatrix(
        {
            "schema": 1,
            "threat": "transfer",
            "substitutes": {name: describe_model(model) for name, model in substitutes.items()},
            "targets": {name: describe_model(model) for name, model in targets.items()},
            "data": description,
            "training": _training(substitutes, targets, trained_on or {}, pixels),
            "settings": {
                "norm": norm,
                "eps": budgets,
                "attacks": [asdict(full_strength(job.attack)) for job in jobs],
                "batch_size": batch_size,
                "precision": "fp32",
                "processes": accelerator.num_processes,
            },
            "clean": {
                role: {name: score(outcomes) for name, outcomes in named.items()}
                for role, named in clean.items()
            },
            "clean_outcomes": clean,
            "labels": labels.tolist(),
            "cells": cells,
            "seed": seed,
            "provenance": provenance(seed=seed, device=device),
        }
    )


def _check(
    name: str, other: str, substitute: nn.Module, target: nn.Module, image: Tensor, labels: Tensor
) -> None:
    try:
        check_pair(substitute, target, image, labels)
    except InputError as error:
        raise InputError(f"substitute {name!r}, target {other!r}: {error}") from error


def _training(
    substitutes: Models, targets: Models, trained_on: Mapping[str, ImageSet], pixels: Tensor
) -> dict[str, Any]:
    """What an attacker's images have in common with the defenders' and with the attacked, where known."""
    if pixels.dtype != torch.uint8:
        pixels = (pixels * 255).round().to(torch.uint8)
    return {
        name: {
            "images": len(own),
            "attacked": overlap(own.images, pixels),
            "targets": {
                target: overlap(own.images, trained_on[target].images)
                for target in targets
                if target in trained_on
            },
        }
        for name, own in trained_on.items()
        if name in substitutes
    }


def _on_cpu(model: nn.Module) -> bool:
    return next((parameter.device.type for parameter in model.parameters()), "cpu") == "cpu"


def _advancing(progress: Bar, job: Job) -> Callable[[int], None]:
    return lambda count: progress.advance(count * passes_of(job.attack), job.attack.name)


def _cell(
    job: Job, substitute: str, target: str, place: int, rows: list[dict[str, Any]], clean: list[int]
) -> dict[str, Any]:
    right = [value for row in rows for value in row["right"][place]]
    # an attacker may leave an image as it is
    outcomes = [a & b for a, b in zip(right, clean, strict=True)]
    distances = [value for row in rows for value in row["distances"]]
    return {
        "attack": job.attack.name,
        "eps": job.eps,
        "norm": job.norm,
        "threat": "transfer",
        "substitute": substitute,
        "target": target,
        "outcomes": outcomes,
        "score": score(outcomes),
        "settings": {
            key: value
            for key, value in asdict(full_strength(job.attack)).items()
            if key not in ("name", "seed")
        },
        # of the attack, which all targets of this substitute share
        "forwards": sum(row["forwards"] for row in rows),
        "backwards": sum(row["backwards"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 3),
        "mean_l2": sum(distances) / len(distances),
        "warnings": list(dict.fromkeys(line for row in rows for line in row["warnings"])),
    }


@dataclass(frozen=True, eq=False)
class _Chunks:
    """The images in chunks, shared among processes; chunks and draws are the same for any number of them."""

    images: Tensor
    labels: Tensor
    batch_size: int
    seed: int
    accelerator: Accelerator
    folder: Path | None

    def clean(self, model: nn.Module) -> list[int]:
        """1 for each image that ``model`` classifies correctly."""

        def compute(start: int, images: Tensor, labels: Tensor) -> dict[str, Any]:
            with attacked(model), seeded(self.seed, "clean", start, device=images.device):
                return {"right": _right(model, images, labels)}

        return [value for row in self._rows(compute, "clean", self._digest(model)) for value in row["right"]]

    def attack(
        self, job: Job, substitute: nn.Module, targets: Models, done: Callable[[int], None]
    ) -> list[dict[str, Any]]:
        """One row per chunk: what each target makes of the images that ``job`` finds on ``substitute``."""

        def compute(start: int, images: Tensor, labels: Tensor) -> dict[str, Any]:
            begun = time.monotonic()
            attack = replace(full_strength(job.attack), seed=derive(self.seed, job.attack.name, start))
            with seeded(self.seed, job.attack.name, start, "transfer", device=images.device):
                found = attack(substitute, images, labels)
            right = []
            for target in targets.values():
                with attacked(target), seeded(self.seed, "judge", start, device=images.device):
                    right.append(_right(target, found.images, labels))
            return {
                "right": right,
                "forwards": found.forwards,
                "backwards": found.backwards,
                "seconds": time.monotonic() - begun,
                "distances": (found.images - images).square().sum((1, 2, 3)).sqrt().tolist(),
                "warnings": list(found.config.get("warnings", ())),
            }

        models = [self._digest(model) for model in (substitute, *targets.values())]
        return self._rows(compute, "attack", asdict(job.attack), models, done=done)

    def _rows(
        self,
        compute: Callable[[int, Tensor, Tensor], dict[str, Any]],
        *key: Any,
        done: Callable[[int], None] = lambda count: None,
    ) -> list[dict[str, Any]]:
        """What ``compute`` finds on every chunk, in order; what an earlier run finished is read back."""
        rows = []
        for start, images, labels in self._mine():
            path = self._path(*key, start)
            row = _read(path, len(labels))
            if row is None:
                row = compute(start, images, labels)
                if path is not None:
                    write_json(path, row)
            rows.append((start, row))
            done(len(labels))
        return [row for _, row in sorted(gather_object(rows), key=lambda pair: pair[0])]

    def _mine(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """This process's chunks: first row, float images and labels, on the device."""
        starts = range(0, len(self.labels), self.batch_size)
        for start in starts[self.accelerator.process_index :: self.accelerator.num_processes]:
            rows = slice(start, start + self.batch_size)
            device = self.accelerator.device
            yield start, as_float(self.images[rows].to(device)), self.labels[rows].to(device)

    def _path(self, *parts: Any) -> Path | None:
        """Where a row is kept, by a digest of all that decides it."""
        if self.folder is None:
            return None
        key = repr((self._shown, self.batch_size, self.seed, parts)).encode()
        return self.folder / f"transfer-{hashlib.sha256(key).hexdigest()[:24]}.json"

    @functools.cached_property
    def _shown(self) -> str:
        return _digest_of((self.images, self.labels))

    def _digest(self, model: nn.Module) -> str:
        """Settings and weights: thresholds and time steps decide outcomes, and are no tensors."""
        if self.folder is None:
            return ""
        return f"{describe_model(model)} {_digest_of(model.state_dict().values())}"


def _right(model: nn.Module, images: Tensor, labels: Tensor) -> list[int]:
    return (~misclassified(model, images, labels)).int().tolist()


def _digest_of(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path | None, count: int) -> dict[str, Any] | None:
    """A kept row; ``None`` if there is none, or a damaged one, which is then computed again."""
    if path is None or not path.exists():
        return None
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        values = row["right"]
        lists = values if isinstance(values[0], list) else [values]
        whole = all(len(part) == count and set(part) <= {0, 1} for part in lists)
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return row if whole else None
