"""Accuracy of a model under attack, threat model by threat model, on the same images."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from purespike.attacks.approximation import Approximation
from purespike.attacks.bpda import fit_approximation
from purespike.attacks.objective import check_differentiable
from purespike.attacks.protocol import recorded
from purespike.checks import as_float, check_seed
from purespike.chunks import accelerator_for
from purespike.data import ImageSet, given_images
from purespike.data.corrupted import Corruptions
from purespike.environment import provenance
from purespike.errors import InputError
from purespike.evaluation.cell import units
from purespike.evaluation.corrupted import open_fitting, with_corrupted
from purespike.evaluation.diagnostics.determinism import in_training
from purespike.evaluation.escalation import examine_and_escalate
from purespike.evaluation.followed import followed, most_passes
from purespike.evaluation.inputs import Pair, check_fit, describe_model, is_stochastic, read_images
from purespike.evaluation.plan import Job, applicable, averaged, parse_budgets, plan_jobs, resolve
from purespike.evaluation.runner import Runner, store_of
from purespike.evaluation.threat import THREATS, Scene, select_threats
from purespike.files import as_path
from purespike.models import Defended, fit
from purespike.models.adapters import as_module, as_modules
from purespike.models.answer import passes_told
from purespike.models.guard import ModelFailure, check_values, lent
from purespike.modes import mode, normal, outside_inference_mode
from purespike.neurons import accepted, unknown_spiking_modules
from purespike.progress import bar
from purespike.results import (
    Cell,
    CleanOutcomes,
    CleanScores,
    Conditions,
    Evaluation,
    Finding,
    Provenance,
    Quality,
    Score,
    Verdict,
)
from purespike.seeding import seeded
from purespike.settings import EvaluationSettings

# against a stochastic model: gradients averaged by its attackers, and passes over which it is judged
EOT, PASSES = 20, 10
# images from which an attacker learns to imitate the purifier; it needs no labels
BPDA_FIT_IMAGES = 256


@outside_inference_mode()
def evaluate(
    model: nn.Module | Callable[[Tensor], Tensor],
    data: str | ImageSet | Pair,
    settings: EvaluationSettings | Mapping[str, Any] | None = None,
    *,
    substitutes: Mapping[str, nn.Module | Callable[[Tensor], Tensor]] | None = None,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    folder: str | Path | None = None,
    save: str | Path | None = None,
    corrupted: str | Path | Corruptions | None = None,
    **changes: Any,
) -> Evaluation:
    """Measure ``model`` clean and under every attack and threat model, in the model's own precision.

    An image counts as robust if the model classifies it correctly both clean and attacked: an attacker may
    always leave an image as it is. Of an ``ImageSet`` from which only a subset is attacked, clean accuracy
    is measured on all images as well. Gaussian noise is no attacker: only the noisy image counts.
    The modes and buffers of the model and the substitutes are restored; both stay on the accelerator's
    device.

    Args:
        model: images to logits, a module or a function. In a ``Defended`` the classifier is also attacked
            alone.
        data: name of a source (its test split), an ``ImageSet``, a ``Dataset`` or ``DataLoader`` of pairs, or
            ``(images [N, C, H, W] in [0, 1], labels [N])``.
        settings: attacks, threat models, budgets and other settings; by default FGSM and PGD, adaptive, at
            L∞ eps 8/255.
        substitutes: models of an attacker without access to ``model``, by name, for ``transfer``.
        seed: seed of every random draw.
        accelerator: device and processes; by default the device the model is on.
        folder: place of finished chunks, so that a killed evaluation resumes; ``None`` keeps none.
        save: folder for the adversarial images of every attack and threat model, as ``.npz``, and as PNG
            rounded towards the clean image, which are judged again: ``cell.rounded`` holds how many are still
            broken. ``None`` drops the images.
        corrupted: folder of corrupted test images in the layout of CIFAR-10-C, on which accuracy and
            robustness are measured as well (:func:`~purespike.evaluation.corrupted.with_corrupted`).
        changes: any field of :class:`~purespike.settings.EvaluationSettings`, in place of that of
            ``settings``: ``suite="standard"``, ``attacks=["pgd:steps=5"]``, ``eps="4/255,8/255"``,
            ``threat="all"``, …, spelled as on the command line.

    Returns:
        The scores with 95% Wilson intervals, outcomes per image, settings and provenance, and the verdict of
        the diagnostics.

    Raises:
        InputError: unknown names, budgets out of range, or images or labels that do not fit the model.
    """
    seed, folder = check_seed(seed), None if folder is None else as_path(folder, name="folder")
    save = None if save is None else as_path(save, name="save")
    if save is not None and save.exists() and not save.is_dir():
        raise InputError(f"save: {save} is a file; name a folder")
    given = EvaluationSettings.of(settings, **changes)
    chosen = given.suite is None or given.attacks is not None
    settings = resolve(given)
    model = as_module(model)
    accelerator = accelerator_for(model, accelerator)
    if corrupted is not None:
        # what does not fit is found before hours of attacks on clean images
        corruptions = open_fitting(corrupted, model)
        kept: Any = {"seed": seed, "accelerator": accelerator, "folder": folder}
        attack: Any = partial(evaluate, model, substitutes=substitutes, **kept)
        place = None if save is None else save / "corrupted"
        whole = attack(data, given, save=save)
        return with_corrupted(whole, model, corruptions, partial(attack, save=place), given, **kept)
    others = as_modules(substitutes, name="substitutes")
    for network in (model, *others.values()):
        check_differentiable(network)
    threats = select_threats(settings.threats, model, others)
    budgets = parse_budgets(settings.eps, settings.norm)
    curve_budgets = parse_budgets(settings.curve_eps, settings.norm) if settings.curve_eps else []
    jobs = plan_jobs(settings.attacks or (), budgets, settings.curve, curve_budgets, settings.norm)
    if (settings.curve is None) == bool(settings.curve_eps):
        raise InputError("curve: needs an attack and its budgets: give both curve and curve_eps")
    data = given_images(data, model)
    pixels, labels, description = read_images(data, limit=settings.images, seed=seed)
    pixels, labels = normal(pixels), normal(labels)
    arrived_training = in_training(model)
    with contextlib.ExitStack() as modes:
        each = {"the model": model, **{f"substitute {name}": other for name, other in others.items()}}
        for name, network in each.items():
            check_values(network, name)
            modes.enter_context(mode(network.to(accelerator.device), training=False))
        modes.enter_context(lent(each))
        modes.enter_context(seeded(seed, "evaluate", device=accelerator.device))
        # the caller's own would be measured in its precision, and reported in this one
        modes.enter_context(torch.autocast(accelerator.device.type, enabled=False))
        # also of the images that are not attacked, but classified
        every = normal(data.labels) if isinstance(data, ImageSet) else labels
        classes = check_fit(model, pixels, every, accelerator.device)
        jobs, left_out = applicable(jobs, pixels, classes, chosen=chosen)
        for name, substitute in others.items():
            check_fit(substitute, pixels, labels, accelerator.device, name=f"substitute {name}")
        first = as_float(pixels[:8].to(accelerator.device))
        stochastic = is_stochastic(model, first, settings.thresholds.nondeterminism)
        threats, needless = _of_this_nature(threats, settings.threats, stochastic=stochastic)
        eot = settings.eot or (EOT if stochastic else 1)
        jobs = [averaged(job, eot) for job in jobs]
        approximation = None
        if settings.learned_bpda and "bpda" in threats:
            approximation = _imitate(model, pixels, budgets, settings.norm, seed, accelerator.device)
        surrogates = settings.surrogates or ()
        if "adaptive" in threats:
            surrogates = accepted(model, surrogates)
        own_surrogates = unknown_spiking_modules(model, first) if "adaptive" in threats else []
        scene = Scene(model, surrogates, settings.losses, approximation, others)
        left_out = (*left_out, *needless, *_idle(jobs, scene, threats))
        passes = settings.passes or (PASSES if stochastic else 1)
        runner = Runner(
            scene=scene,
            images=pixels,
            labels=labels,
            threats=tuple(threats),
            batch_size=settings.batch_size,
            seed=seed,
            passes=passes,
            accelerator=accelerator,
            store=store_of(folder, scene, pixels, labels, settings.batch_size, seed, passes),
            save=save,
        )
        # clean images cost little: where only some are attacked, the others are classified as well
        full_set = data if isinstance(data, ImageSet) and len(data) > len(labels) else None
        try:
            measured = _measure(
                runner,
                jobs,
                full_set,
                settings,
                budgets,
                left_out=left_out,
                missing=description.missing_classes,
                in_training=arrived_training,
                stochastic=stochastic,
            )
        except ModelFailure as failure:
            kept = "" if folder is None else f"; the images attacked before stay finished in {folder}"
            raise ModelFailure(f"{failure}{kept}") from failure.__cause__
        conditions = Conditions(
            norm=settings.norm,
            eps=tuple(budgets),
            curve_eps=tuple(curve_budgets),
            attacks=tuple(recorded(job.attack) for job in jobs),
            threats=tuple(threats),
            surrogates=surrogates,
            losses=settings.losses,
            substitutes={name: describe_model(other) for name, other in others.items()},
            learned_bpda=None if approximation is None else approximation.described(),
            eot=eot,
            passes=passes,
            max_cost=settings.max_cost,
            batch_size=settings.batch_size,
            precision=fit.precision_of(model),
            processes=accelerator.num_processes,
            **(
                {"kept_surrogates": tuple(name or type(model).__name__ for name in own_surrogates)}
                if own_surrogates
                else {}
            ),
            **({"left_out": left_out} if left_out else {}),
        )
        clean, cells, findings = measured.clean, measured.cells, measured.findings
        evaluation = Evaluation(
            schema_version=1,
            model=describe_model(model),
            data=description,
            settings=conditions,
            clean=CleanScores(
                undefended=Score.of(clean.undefended),
                defended=Score.of(clean.defended) if isinstance(model, Defended) else None,
            ),
            clean_whole=measured.clean_whole,
            clean_outcomes=clean,
            labels=tuple(labels.tolist()),
            cells=cells,
            worst_case=(),
            quality=(*measured.quality, *(row for cell in cells for row in cell.quality)),
            diagnostics=findings,
            verdict=None if findings is None else Verdict.of(findings),
            seed=seed,
            provenance=Provenance(**provenance(seed=seed, device=accelerator.device)),
        )
        return evaluation.model_copy(update={"worst_case": evaluation.worst_cases})


class _Measured(NamedTuple):
    clean: CleanOutcomes
    clean_whole: CleanScores | None
    quality: list[Quality]
    cells: tuple[Cell, ...]
    findings: tuple[Finding, ...] | None


def _measure(
    runner: Runner,
    jobs: list[Job],
    full_set: ImageSet | None,
    settings: EvaluationSettings,
    budgets: Sequence[float],
    *,
    left_out: Sequence[str],
    missing: Sequence[int],
    in_training: Sequence[str],
    stochastic: bool,
) -> _Measured:
    """Clean accuracy, every job, and the examination; escalated jobs are appended to ``jobs``."""
    count = len(runner.labels)
    # with and without the purifier
    others = 0 if full_set is None else len(full_set) * (2 if isinstance(runner.model, Defended) else 1)
    others *= runner.passes
    work = others + count * (1 + sum(most_passes(job, runner.scene, runner.threats) for job in jobs))
    speaks = runner.accelerator.is_main_process
    with bar("evaluation", work, unit="passes", show=speaks, at_most=True) as progress:
        for sentence in left_out:
            progress.say(sentence)
        clean, quality = runner.clean()
        progress.advance(count)
        clean_whole = None
        if full_set is not None:
            with passes_told(lambda images, _: progress.advance(images, "clean images")):
                clean_whole = runner.clean_whole(full_set)
        cells: list[Cell] = []
        for job in jobs:
            cells += followed(runner, job, clean, runner.threats, progress)
        findings = None
        if settings.diagnose != 0:
            findings = examine_and_escalate(
                runner,
                jobs,
                cells,
                clean,
                budgets=budgets,
                settings=settings,
                arrived_training=in_training,
                missing_classes=missing,
                stochastic=stochastic,
                progress=progress,
            )
    # ties and logits that are not finite are recorded where there are any
    always = ("undefended", "defended")
    rows = {name: tuple(row) for name, row in clean.items() if name in always or any(row)}
    outcomes = CleanOutcomes(**rows)
    found = None if findings is None else tuple(findings)
    return _Measured(outcomes, clean_whole, quality, tuple(cells), found)


def _idle(jobs: Sequence[Job], scene: Scene, threats: Sequence[str]) -> list[str]:
    """A sentence for each attack that none of the threat models takes.

    Raises:
        InputError: none is taken.
    """
    idle = [job for job in jobs if not units(job, scene, threats)]
    others = [each for each in THREATS.values() if each.fits(scene.model, scene.substitutes)]
    sentences = []
    # the budgets of an attack share its sentence
    for attack in {job.attack.name: job.attack for job in idle}.values():
        found = [each.name for each in others if each.name not in threats and each.ways(scene, attack)]
        remedy = f"; add the threat model {' or '.join(found)}" if found else ""
        sentences.append(f"{attack.name} is left out: no attack under {', '.join(threats)}{remedy}")
    if len(idle) == len(jobs):
        raise InputError(f"attacks: {'; '.join(sentences)}")
    return sentences


def _of_this_nature(
    threats: Sequence[str], named: Sequence[str], *, stochastic: bool
) -> tuple[list[str], list[str]]:
    """The threat models that make sense against a model that draws, or does not; a sentence for the others.

    Those that nobody ``named`` are left out without one.

    Raises:
        InputError: none makes sense.
    """
    fitting = [name for name in threats if stochastic or not THREATS[name].random]
    if not fitting:
        raise InputError(
            f"threats: {', '.join(threats)} is for models that draw random numbers, and this one draws none; "
            "use adaptive"
        )
    return fitting, [
        f"{name} is left out: the model draws no random numbers"
        for name in threats
        if name not in fitting and name in named
    ]


def _imitate(
    model: nn.Module, pixels: Tensor, budgets: Sequence[float], norm: str, seed: int, device: torch.device
) -> Approximation:
    assert isinstance(model, Defended)
    seen = as_float(pixels[:BPDA_FIT_IMAGES].to(device))
    return fit_approximation(model.purifier, seen, eps=max(budgets), norm=norm, seed=seed)
