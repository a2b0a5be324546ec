"""Accuracy of a model under attack, threat model by threat model, on the same images."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from purespike.data import ImageSet, load_data
from purespike.environment import provenance
from purespike.evaluation.cell import Cell
from purespike.evaluation.determinism import in_training
from purespike.evaluation.finding import DEFAULT_LIMITS, Limits
from purespike.evaluation.inputs import Pair, check_fit, describe_model, read_images
from purespike.evaluation.plan import AttackSpec, check_ensemble, parse_budgets, plan_jobs
from purespike.evaluation.result import Evaluation
from purespike.evaluation.runner import Runner
from purespike.evaluation.scores import score, share
from purespike.evaluation.threat import select_threats
from purespike.evaluation.verdict import judge
from purespike.models import Defended
from purespike.progress import bar

SURROGATES = ("rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)")
LOSSES = ("ce", "margin")


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
    diagnose: int = 32,
    limits: Limits = DEFAULT_LIMITS,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    folder: Path | None = None,
) -> Evaluation:
    """Measure ``model`` clean and under every attack and threat model, in float32.

    An image counts as robust if the model classifies it correctly both clean and attacked: an attacker may
    always leave an image as it is. Of an ``ImageSet`` from which only a subset is attacked, clean accuracy
    is measured on the whole as well. Gaussian noise is no attacker, and is judged on the noisy image alone.

    Args:
        model: images to logits. In a ``Defended`` the classifier is also attacked alone.
        data: a source's name (its test split), an ``ImageSet``, or ``(images [N, C, H, W] in [0, 1],
            labels [N])``.
        attacks: names, or mappings of a name and settings, e.g. ``{"name": "pgd", "steps": 20}``.
        threat: one or several of the names in :data:`THREATS`, or ``"all"``.
        eps: one or several L∞ budgets.
        curve: an attack to run at ``curve_eps`` as well.
        curve_eps: budgets of the accuracy-versus-eps curve.
        surrogates: what the adaptive attacker differentiates in place of the spike.
        losses: what the adaptive attacker maximises.
        images: at most so many images, a stratified subset; ``None`` for all.
        batch_size: images per forward.
        diagnose: the evaluation examines itself on so many images that are right when clean; 0 for no.
        limits: what its diagnostics still accept.
        seed: of every random draw.
        accelerator: device and processes; by default the device the model is on.
        folder: where finished cells are kept, so that a killed evaluation goes on; ``None`` keeps none.

    Returns:
        The scores with 95% Wilson intervals, outcomes per image, settings and provenance, and the verdict of
        the diagnostics.

    Raises:
        InputError: unknown names, budgets out of range, or images or labels that do not fit the model.
    """
    accelerator = accelerator or Accelerator(cpu=_device(model).type == "cpu")
    budgets = parse_budgets(eps)
    curve_budgets = parse_budgets(list(curve_eps)) if curve_eps else []
    threats = select_threats(threat if isinstance(threat, str) else list(threat), model)
    check_ensemble(surrogates, losses)
    jobs = plan_jobs(attacks, budgets, curve, curve_budgets)
    if isinstance(data, str):
        data = load_data(data).test
    pixels, labels, description = read_images(data, limit=images, seed=seed)
    arrived_training = in_training(model)
    model = model.to(accelerator.device).eval()
    check_fit(model, pixels, labels, accelerator.device)

    runner = Runner(
        model=model,
        images=pixels,
        labels=labels,
        threats=tuple(threats),
        surrogates=tuple(surrogates),
        losses=tuple(losses),
        batch_size=batch_size,
        seed=seed,
        accelerator=accelerator,
        folder=folder,
    )
    work = (len(jobs) + 1) * len(labels)
    with bar("evaluation", work, show=accelerator.is_main_process) as progress:
        clean, quality = runner.clean()
        progress.advance(len(labels))
        # clean images cost little: where only some are attacked, the others are classified all the same
        whole = None
        if isinstance(data, ImageSet) and len(data) > len(labels):
            whole = runner.clean_whole(data)
        cells: list[Cell] = []
        for job in jobs:
            found = runner.attack(job, clean)
            cells += found
            progress.advance(len(labels), job.attack.name)
            for cell in found:
                progress.say(cell.line())
        findings = None
        if diagnose and accelerator.is_main_process:
            findings = runner.diagnose(
                jobs,
                cells,
                clean,
                count=diagnose,
                arrived_training=arrived_training,
                limits=limits,
            )

    return Evaluation(
        {
            "schema": 1,
            "model": describe_model(model),
            "data": description,
            "settings": {
                "eps": budgets,
                "curve_eps": curve_budgets,
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
            "clean_whole": None
            if whole is None
            else {
                "undefended": share(*whole["undefended"]),
                "defended": share(*whole["defended"]) if isinstance(model, Defended) else None,
            },
            "clean_outcomes": clean,
            "cells": [cell.to_json() for cell in cells],
            "worst_case": _worst_cases(cells, budgets),
            "quality": quality + [row for cell in cells for row in cell.quality],
            "diagnostics": None if findings is None else [finding.to_json() for finding in findings],
            "verdict": None if findings is None else judge(findings).to_json(),
            "seed": seed,
            "provenance": provenance(seed=seed, device=accelerator.device),
        }
    )


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


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
