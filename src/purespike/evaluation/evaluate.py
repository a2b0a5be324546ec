"""Accuracy of a model under attack, threat model by threat model, on the same images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from purespike.attacks.bpda import fit_approximation
from purespike.attacks.protocol import recorded
from purespike.data import ImageSet, load_data
from purespike.environment import provenance
from purespike.evaluation.cell import Cell, units
from purespike.evaluation.determinism import in_training
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.evaluation.inputs import Pair, check_fit, describe_model, draws, read_images
from purespike.evaluation.plan import (
    LOSSES,
    SURROGATES,
    AttackSpec,
    Job,
    averaged,
    check_ensemble,
    parse_budgets,
    passes_of,
    plan_jobs,
)
from purespike.evaluation.raising import raised, still_standing
from purespike.evaluation.result import Evaluation
from purespike.evaluation.runner import Outcomes, Runner
from purespike.evaluation.scores import score, share
from purespike.evaluation.threat import THREATS, Scene, select_threats
from purespike.evaluation.verdict import judge
from purespike.models import Defended
from purespike.models.predict import as_float
from purespike.progress import Bar, bar

# of a model that draws: gradients averaged by its attackers, and passes over which it is judged
EOT, PASSES = 20, 10
# images from which an attacker learns to imitate the purifier; it needs no labels
IMITATED = 256


def evaluate(
    model: nn.Module,
    data: str | ImageSet | Pair,
    *,
    attacks: Sequence[AttackSpec] = ("fgsm", "pgd"),
    threat: str | Sequence[str] = "adaptive",
    eps: float | str | Sequence[float | str] = "8/255",
    norm: str = "linf",
    curve: AttackSpec | None = None,
    curve_eps: Sequence[float | str] = (),
    surrogates: Sequence[str] = SURROGATES,
    losses: Sequence[str] = LOSSES,
    substitutes: Mapping[str, nn.Module] | None = None,
    learned_bpda: bool = False,
    eot: int | None = None,
    passes: int | None = None,
    images: int | None = None,
    batch_size: int = 128,
    diagnose: int = 32,
    max_cost: int = 400,
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
        eps: one or several budgets: L∞ in pixel units, or L2 radii.
        norm: ``"linf"`` or ``"l2"``.
        curve: an attack to run at ``curve_eps`` as well.
        curve_eps: budgets of the accuracy-versus-eps curve.
        surrogates: what the adaptive attacker differentiates in place of the spike.
        losses: what the adaptive attacker maximises.
        substitutes: by name, models of an attacker who has no other, for the threat model ``transfer``.
        learned_bpda: let the ``bpda`` attacker also learn to imitate the purifier, from the attacked images.
        eot: gradients averaged against a model that draws (Athalye et al. 2018); ``None`` is 20, and 1 for a
            model that does not draw.
        passes: over which a model that draws is judged, by the majority; ``None`` is 10, or 1.
        images: at most so many images, a stratified subset; ``None`` for all.
        batch_size: images per forward.
        diagnose: the evaluation examines itself on so many images that are right when clean; 0 for no.
        max_cost: where more steps or starts break more than ``limits.gain``, the strongest attack is repeated
            with them, up to so many gradients an image, surrogate and loss.
        limits: what its diagnostics still accept.
        seed: of every random draw.
        accelerator: device and processes; by default the device the model is on.
        folder: where finished chunks are kept, so that a killed evaluation goes on; ``None`` keeps none.

    Returns:
        The scores with 95% Wilson intervals, outcomes per image, settings and provenance, and the verdict of
        the diagnostics.

    Raises:
        InputError: unknown names, budgets out of range, or images or labels that do not fit the model.
    """
    accelerator = accelerator or Accelerator(cpu=_device(model).type == "cpu")
    device = accelerator.device
    budgets = parse_budgets(eps, norm)
    curve_budgets = parse_budgets(list(curve_eps), norm) if curve_eps else []
    substitutes = dict(substitutes or {})
    threats = select_threats(threat, model, substitutes)
    check_ensemble(surrogates, losses)
    jobs = plan_jobs(attacks, budgets, curve, curve_budgets, norm)
    if isinstance(data, str):
        data = load_data(data).test
    pixels, labels, description = read_images(data, limit=images, seed=seed)
    arrived_training = in_training(model)
    model = model.to(device).eval()
    check_fit(model, pixels, labels, device)
    for name, substitute in substitutes.items():
        substitutes[name] = substitute.to(device).eval()
        check_fit(substitute, pixels, labels, device, name=f"substitute {name}")

    random = draws(model, as_float(pixels[:8].to(device)), limits.nondeterminism)
    eot = eot or (EOT if random else 1)
    passes = passes or (PASSES if random else 1)
    jobs = [averaged(job, eot) for job in jobs]
    approximation = fit = None
    if learned_bpda and "bpda" in threats:
        assert isinstance(model, Defended)
        seen = as_float(pixels[:IMITATED].to(device))
        approximation = fit_approximation(model.purifier, seen, eps=max(budgets), norm=norm, seed=seed)
        fit = approximation.fit
    scene = Scene(model, tuple(surrogates), tuple(losses), approximation, substitutes)
    runner = Runner(
        scene=scene,
        images=pixels,
        labels=labels,
        threats=tuple(threats),
        batch_size=batch_size,
        seed=seed,
        passes=passes,
        accelerator=accelerator,
        folder=folder,
    )
    costs = {job: _costs(job, scene, threats) for job in jobs}
    work = len(labels) * (1 + sum(sum(each.values()) for each in costs.values()))
    with bar("evaluation", work, unit="passes", show=accelerator.is_main_process) as progress:
        clean, quality = runner.clean()
        progress.advance(len(labels))
        # clean images cost little: where only some are attacked, the others are classified all the same
        whole = None
        if isinstance(data, ImageSet) and len(data) > len(labels):
            whole = runner.clean_whole(data)
        cells: list[Cell] = []
        for job in jobs:
            found = runner.attack(job, clean, done=_advancing(progress, job, costs[job]))
            cells += found
            for cell in found:
                progress.say(cell.line())
        findings = None
        if diagnose:
            findings = _examine(
                runner,
                jobs,
                cells,
                clean,
                progress,
                budgets=budgets,
                max_cost=max_cost,
                count=diagnose,
                limits=limits,
                arrived_training=arrived_training,
            )

    return Evaluation(
        {
            "schema": 1,
            "model": describe_model(model),
            "data": description,
            "settings": {
                "norm": norm,
                "eps": budgets,
                "curve_eps": curve_budgets,
                "attacks": [recorded(job.attack) for job in jobs],
                "threats": threats,
                "surrogates": list(surrogates),
                "losses": list(losses),
                "substitutes": {name: describe_model(other) for name, other in substitutes.items()},
                "learned_bpda": None if fit is None else fit.to_json(),
                "eot": eot,
                "passes": passes,
                "max_cost": max_cost,
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
            "labels": labels.tolist(),
            "cells": [cell.to_json() for cell in cells],
            "worst_case": _worst_cases(cells, budgets),
            "quality": quality + [row for cell in cells for row in cell.quality],
            "diagnostics": None if findings is None else [finding.to_json() for finding in findings],
            "verdict": None if findings is None else judge(findings).to_json(),
            "seed": seed,
            "provenance": provenance(seed=seed, device=device),
        }
    )


def _examine(
    runner: Runner,
    jobs: list[Job],
    cells: list[Cell],
    clean: Outcomes,
    progress: Bar,
    *,
    budgets: Sequence[float],
    max_cost: int,
    count: int,
    limits: Limits,
    **arrived: Any,
) -> list[Finding]:
    """The findings of the diagnostics; jobs and cells of budgets that they raise are appended."""
    while True:
        found = runner.diagnose_budget(jobs, cells, clean, count=count, limits=limits)
        more = raised(jobs, found, budgets=budgets, max_cost=max_cost)
        if not more:
            return runner.diagnose(jobs, cells, clean, budget=found, count=count, limits=limits, **arrived)
        for job in more:
            attacked = runner.attack(job, *still_standing(job, cells, clean, runner.threats))
            jobs.append(job)
            cells += attacked
            for cell in attacked:
                progress.say(cell.line())


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


def _costs(job: Job, scene: Scene, threats: Sequence[str]) -> dict[str, int]:
    """About how many passes an image takes under each unit of threat models, by the unit's last."""
    return {
        unit[-1]: passes_of(job.attack) * len(THREATS[unit[0]].routes(scene, job.attack))
        for unit in units(job, scene, threats)
    }


def _advancing(progress: Bar, job: Job, costs: Mapping[str, int]) -> Callable[[str, int], None]:
    def done(threat: str, images: int) -> None:
        progress.advance(images * costs[threat], f"{job.attack.name}, {threat}")

    return done


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
