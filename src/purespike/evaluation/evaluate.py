"""Accuracy of a model under attack, threat model by threat model, on the same images."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from purespike.checks import check_images, check_labels
from purespike.data import ImageSet, load_data
from purespike.environment import provenance
from purespike.errors import InputError
from purespike.evaluation.cell import Cell, Chunk, attack_chunk, merge
from purespike.evaluation.plan import AttackSpec, Job, parse_budgets, plan_jobs
from purespike.evaluation.result import Evaluation
from purespike.evaluation.scores import likeness, score
from purespike.evaluation.threat import classifier_of, select_threats
from purespike.files import write_json
from purespike.models import Defended
from purespike.models.checkpoint import part_config
from purespike.models.predict import as_float, check_fit
from purespike.progress import bar

SURROGATES = ("rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)")
LOSSES = ("ce", "margin")

Pair = tuple[Tensor, Tensor]


def evaluate(
    model: nn.Module,
    data: str | ImageSet | Pair,
    *,
    attacks: Sequence[AttackSpec] = ("fgsm", "pgd"),
    threat: str | Sequence[str] = "adaptive",
    eps: float | str | Sequence[float | str] = "8/255",
    curve: AttackSpec | None = None,
    curve_eps: Sequence[float | str] = (),
    surrogates: Sequence[str] = SURROGATES,
    losses: Sequence[str] = LOSSES,
    images: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    folder: Path | None = None,
) -> Evaluation:
    """Measure ``model`` clean and under every attack and threat model, in float32.

    An image counts as robust if the model classifies it correctly both clean and attacked: an attacker may
    always leave an image as it is. Gaussian noise is no attacker, and is judged on the noisy image alone.

    Args:
        model: images to logits. In a ``Defended`` the classifier is also attacked alone.
        data: a source's name (its test split), an ``ImageSet``, or ``(images [N, C, H, W] in [0, 1],
            labels [N])``.
        attacks: names, or mappings of a name and settings, e.g. ``{"name": "pgd", "steps": 20}``.
        threat: one or several of ``undefended``, ``oblivious``, ``bpda``, ``adaptive``; or ``"all"``.
        eps: one or several L∞ budgets.
        curve: an attack to run at ``curve_eps`` as well.
        curve_eps: budgets of the accuracy-versus-eps curve.
        surrogates: what the adaptive attacker differentiates in place of the spike.
        losses: what the adaptive attacker maximises.
        images: at most so many images, a stratified subset; ``None`` for all.
        batch_size: images per forward.
        seed: of every random draw.
        accelerator: device and processes; by default the device the model is on.
        folder: where finished cells are kept, so that a killed evaluation goes on; ``None`` keeps none.

    Returns:
        The scores with 95% Wilson intervals, outcomes per image, settings and provenance.

    Raises:
        InputError: unknown names, budgets out of range, or images or labels that do not fit the model.
    """
    accelerator = accelerator or Accelerator(cpu=_device(model).type == "cpu")
    threats = select_threats(threat if isinstance(threat, str) else list(threat), model)
    jobs = plan_jobs(attacks, parse_budgets(eps), curve, [parse_budgets(e)[0] for e in curve_eps])
    pixels, labels, description = _read(data, images, seed)
    model = model.to(accelerator.device).eval()
    _check_fit(model, pixels, labels, accelerator.device)

    evaluator = _Evaluator(
        model,
        pixels,
        labels,
        threats,
        tuple(surrogates),
        tuple(losses),
        batch_size,
        seed,
        accelerator,
        folder,
    )
    work = (len(jobs) + 1) * len(labels)
    with bar("evaluation", work, show=accelerator.is_main_process) as progress:
        clean, quality = evaluator.clean()
        progress.advance(len(labels))
        cells: list[Cell] = []
        for job in jobs:
            found = evaluator.run(job, clean)
            cells += found
            progress.advance(len(labels), job.attack.name)
            for cell in found:
                progress.say(cell.line())

    return Evaluation(
        {
            "schema": 1,
            "model": _describe(model),
            "data": description,
            "settings": {
                "eps": parse_budgets(eps),
                "curve_eps": [parse_budgets(e)[0] for e in curve_eps],
                "attacks": [asdict(job.attack) for job in jobs],
                "threats": threats,
                "surrogates": list(surrogates),
                "losses": list(losses),
                "batch_size": batch_size,
                "precision": "fp32",
                "processes": accelerator.num_processes,
            },
            "clean": {
                "undefended": score(clean["undefended"]),
                "defended": score(clean["defended"]) if isinstance(model, Defended) else None,
            },
            "clean_outcomes": clean,
            "cells": [cell.to_json() for cell in cells],
            "worst_case": _worst_cases(cells, parse_budgets(eps)),
            "quality": quality + [row for cell in cells for row in cell.quality],
            "seed": seed,
            "provenance": provenance(seed=seed, device=accelerator.device),
        }
    )


class _Evaluator:
    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        threats: list[str],
        surrogates: tuple[str, ...],
        losses: tuple[str, ...],
        batch_size: int,
        seed: int,
        accelerator: Accelerator,
        folder: Path | None,
    ) -> None:
        self.model, self.images, self.labels, self.threats = model, images, labels, threats
        self.surrogates, self.losses = surrogates, losses
        self.batch_size, self.seed, self.accelerator, self.folder = batch_size, seed, accelerator, folder
        self.key = self._key()

    def clean(self) -> tuple[dict[str, list[int]], list[dict[str, Any]]]:
        """Outcomes on clean images without and with the purifier, and what purifying does to them."""
        classifier, chunks = classifier_of(self.model), []
        for start in self._starts():
            images, labels = self._batch(start)
            with torch.inference_mode():
                alone = (classifier(images).argmax(1) == labels).int().tolist()
                defended, like = alone, {}
                if isinstance(self.model, Defended):
                    purified = self.model.purify(images)
                    defended = (classifier(purified).argmax(1) == labels).int().tolist()
                    like = {name: value.tolist() for name, value in likeness(purified, images).items()}
            chunks.append((start, alone, defended, like))
        chunks = sorted(gather_object(chunks))
        outcomes = {
            "undefended": [value for chunk in chunks for value in chunk[1]],
            "defended": [value for chunk in chunks for value in chunk[2]],
        }
        row: dict[str, Any] = {"images": "clean, purified"}
        for name in chunks[0][3]:
            values = [value for chunk in chunks for value in chunk[3][name]]
            row[name] = sum(values) / len(values)
        return outcomes, [row] if len(row) > 1 else []

    def run(self, job: Job, clean: dict[str, list[int]]) -> list[Cell]:
        """The cells of one attack, one per threat model; read back if an earlier run finished them."""
        path = None
        if self.folder is not None:
            name = hashlib.sha256(f"{self.key} {asdict(job.attack)}".encode()).hexdigest()[:24]
            path = self.folder / f"{name}.json"
            if path.exists():
                try:
                    return [Cell.from_json(row) for row in json.loads(path.read_text(encoding="utf-8"))]
                except (ValueError, TypeError, KeyError):
                    pass
        chunks: list[Chunk] = []
        for start in self._starts():
            images, labels = self._batch(start)
            chunks.append(
                attack_chunk(
                    self.model,
                    images,
                    labels,
                    job,
                    threats=self.threats,
                    surrogates=self.surrogates,
                    losses=self.losses,
                    start=start,
                    seed=self.seed,
                )
            )
        chunks = sorted(gather_object(chunks), key=lambda chunk: chunk.start)
        cells = merge(job, chunks, clean, self.seed)
        if path is not None and self.accelerator.is_main_process:
            write_json(path, [cell.to_json() for cell in cells])
        return cells

    def _starts(self) -> range:
        """First rows of this process's chunks; chunks are the same for any number of processes."""
        starts = range(0, len(self.labels), self.batch_size)
        return starts[self.accelerator.process_index :: self.accelerator.num_processes]

    def _batch(self, start: int) -> Pair:
        rows = slice(start, start + self.batch_size)
        device = self.accelerator.device
        return as_float(self.images[rows].to(device)), self.labels[rows].to(device)

    def _key(self) -> str:
        settings = (self.threats, self.surrogates, self.losses, self.batch_size, self.seed)
        # thresholds and time steps decide outcomes, and are no tensors
        digest = hashlib.sha256(f"{settings} {json.dumps(_describe(self.model))}".encode())
        for tensor in (self.images, self.labels, *self.model.state_dict().values()):
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def _worst_cases(cells: list[Cell], budgets: list[float]) -> list[dict[str, Any]]:
    rows = []
    for eps in budgets:
        for threat in dict.fromkeys(cell.threat for cell in cells):
            # images that stand under every attack of this budget
            columns = [cell.outcomes for cell in cells if cell.eps == eps and cell.threat == threat]
            if columns:
                standing = [int(all(values)) for values in zip(*columns, strict=True)]
                rows.append({"eps": eps, "threat": threat, "score": score(standing)})
    return rows


def _read(data: str | ImageSet | Pair, limit: int | None, seed: int) -> tuple[Tensor, Tensor, dict[str, Any]]:
    if isinstance(data, str):
        data = load_data(data).test
    if isinstance(data, ImageSet):
        data = data.take(limit, seed=seed)
        source, _, split = data.name.rpartition("/")
        description = {"source": source, "split": split, "n": len(data), "fingerprint": data.fingerprint()}
        return data.images, data.labels, description
    images, labels = data
    check_images(images)
    labels = check_labels(labels, count=len(images))
    images, labels = images[:limit], labels[:limit]
    digest = hashlib.sha256(images.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes()).hexdigest()
    return images, labels, {"source": "tensors", "split": "given", "n": len(labels), "fingerprint": digest}


def _check_fit(model: nn.Module, images: Tensor, labels: Tensor, device: torch.device) -> None:
    if not len(images):
        raise InputError("evaluate: no images")
    check_fit(model, as_float(images[:1].to(device)), labels)


def _describe(model: nn.Module) -> dict[str, Any]:
    parts: dict[str, nn.Module | None] = {"classifier": classifier_of(model), "purifier": None}
    if isinstance(model, Defended):
        parts["purifier"] = model.purifier
    description: dict[str, Any] = {}
    for name, part in parts.items():
        if part is None:
            description[name] = None
            continue
        config = part_config(part)
        parameters = sum(parameter.numel() for parameter in part.parameters())
        description[name] = {**json.loads(json.dumps(config, default=str)), "parameters": parameters}
    return description


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
