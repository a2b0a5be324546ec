"""Transfer attacks: a matrix of substitutes and targets, on the same images."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor, nn

from purespike.attacks.objective import frozen_eval
from purespike.attacks.precision import full_precision_logits
from purespike.attacks.protocol import recorded, settings_of
from purespike.attacks.run import run_attack
from purespike.attacks.transfer import check_pair, full_strength
from purespike.checks import as_float, check_seed
from purespike.chunks import Json, Store, accelerator_for, chunk_results, chunks
from purespike.data import ImageSet, given_images, overlap
from purespike.environment import provenance
from purespike.errors import InputError
from purespike.evaluation.inputs import Pair, describe_model, read_images
from purespike.evaluation.plan import AttackSpec, Job, parse_budgets, passes_of, plan_jobs
from purespike.models import fit
from purespike.models.adapters import as_modules
from purespike.models.answer import correct
from purespike.models.guard import lent
from purespike.models.identity import code_of, identity
from purespike.modes import normal, outside_inference_mode
from purespike.progress import Bar, bar
from purespike.results import (
    AttackSettings,
    Provenance,
    Record,
    Score,
    Training,
    TransferCell,
    TransferClean,
    TransferMatrix,
)
from purespike.results.record import Count, Number, Outcome
from purespike.seeding import derive, seeded
from purespike.settings import EvaluationSettings

Models = Mapping[str, nn.Module]


@outside_inference_mode()
def transfer_matrix(
    substitutes: Models,
    targets: Models,
    data: str | ImageSet | Pair,
    *,
    attacks: str | Sequence[AttackSpec] = ("pgd:steps=20",),
    eps: float | str | Sequence[float | str] = "8/255",
    norm: str = "linf",
    images: int | None = None,
    batch_size: int = 128,
    trained_on: Mapping[str, ImageSet] | None = None,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    folder: Path | None = None,
) -> TransferMatrix:
    """Attack every substitute, and judge every target on the adversarial images.

    Images are made once per substitute, attack and budget, at full strength
    (:func:`purespike.attacks.transfer.full_strength`), and sent to all targets. As everywhere, an image
    counts as robust if a target classifies it correctly both clean and attacked. Where substitute and target
    are the same model the entry is white-box. The modes and buffers of the models are restored.

    Args:
        substitutes: models that the attacker differentiates, by name.
        targets: models that are judged, by name; purified or not.
        data: name of a source (its test split), an ``ImageSet``, a ``Dataset`` or ``DataLoader`` of pairs, or
            ``(images [N, C, H, W] in [0, 1], labels [N])``.
        attacks: attacks as :class:`~purespike.settings.EvaluationSettings` takes them.
        eps: one or several budgets: L∞ in pixel units, or L2 radii.
        norm: ``"linf"`` or ``"l2"``.
        images: largest number of images, a stratified subset; ``None`` for all.
        batch_size: images per forward.
        trained_on: training images of substitutes and targets, by name, where known: the result then says
            how many of a substitute's are also a target's, or among the attacked.
        seed: seed of every random draw.
        accelerator: device and processes; by default the device the first target is on.
        folder: place of finished chunks, so that a killed run resumes; ``None`` keeps none.

    Returns:
        Scores with 95% Wilson intervals, outcomes per image, settings and provenance.

    Raises:
        InputError: no substitute or target, models that do not take the same images, unknown attacks, or
            budgets out of range.
    """
    substitutes = as_modules(substitutes, name="substitutes")
    targets = as_modules(targets, name="targets")
    if not substitutes or not targets:
        raise InputError("transfer: needs at least one substitute and one target")
    trained_on, seed = _known(trained_on), check_seed(seed)
    settings = EvaluationSettings.of(
        attacks=attacks, eps=eps, norm=norm, images=images, batch_size=batch_size
    )
    budgets = parse_budgets(settings.eps, norm)
    jobs = plan_jobs(settings.attacks or (), budgets, norm=norm)
    if not jobs:
        raise InputError("transfer: needs at least one attack, e.g. pgd:steps=20")
    for job in jobs:
        if job.norm == "noise":
            raise InputError(f"transfer: {job.attack.name} needs no substitute; leave it out")
    accelerator = accelerator_for(next(iter(targets.values())), accelerator)
    data = given_images(data, next(iter(targets.values())))
    pixels, labels, description = read_images(data, limit=images, seed=seed)
    pixels, labels = normal(pixels), normal(labels)
    device = accelerator.device
    lent_out = {f"substitute {name}": model for name, model in substitutes.items()}
    lent_out |= {f"target {name}": model for name, model in targets.items()}
    with lent(lent_out), seeded(seed, "transfer matrix", device=device):
        for model in (*substitutes.values(), *targets.values()):
            model.to(device)
        first = as_float(pixels[:1].to(device))
        for name, substitute in substitutes.items():
            for other, target in targets.items():
                _check(name, other, substitute, target, first, labels)

        matrix = _Matrix(pixels, labels, batch_size, seed, accelerator, folder)
        work = sum(passes_of(job.attack) for job in jobs) * len(labels) * len(substitutes)
        with bar("transfer", work, unit="passes", show=accelerator.is_main_process, at_most=True) as progress:
            # the same model under two names is judged once
            models = {id(model): model for model in (*substitutes.values(), *targets.values())}
            judged = {key: matrix.clean(model) for key, model in models.items()}
            clean = {
                role: {name: judged[id(model)] for name, model in named.items()}
                for role, named in (("substitutes", substitutes), ("targets", targets))
            }
            cells = []
            for job in jobs:
                for name, substitute in substitutes.items():
                    found = matrix.attack(job, substitute, targets, _advancing(progress, job))
                    for place, (other, target) in enumerate(targets.items()):
                        white_box = substitute is target
                        cell = _cell(
                            job, name, other, place, found, clean["targets"][other], white_box=white_box
                        )
                        cells.append(cell)
                        progress.say(cell.line())

    scores = {
        role: {name: Score.of(outcomes) for name, outcomes in named.items()} for role, named in clean.items()
    }
    return TransferMatrix(
        schema_version=1,
        threat="transfer",
        substitutes={name: describe_model(model) for name, model in substitutes.items()},
        targets={name: describe_model(model) for name, model in targets.items()},
        data=description,
        training=_training(substitutes, targets, trained_on, pixels),
        settings={
            "norm": norm,
            "eps": budgets,
            "attacks": [recorded(full_strength(job.attack)) for job in jobs],
            "batch_size": batch_size,
            "precision": fit.precision_of(*substitutes.values(), *targets.values()),
            "processes": accelerator.num_processes,
        },
        clean=TransferClean(**scores),
        clean_outcomes={
            role: {name: tuple(outcomes) for name, outcomes in named.items()} for role, named in clean.items()
        },
        labels=tuple(labels.tolist()),
        cells=tuple(cells),
        seed=seed,
        provenance=Provenance(**provenance(seed=seed, device=device)),
    )


def _check(
    name: str, other: str, substitute: nn.Module, target: nn.Module, image: Tensor, labels: Tensor
) -> None:
    try:
        check_pair(substitute, target, image, labels)
    except InputError as error:
        raise InputError(f"substitute {name!r}, target {other!r}: {error}") from error


def _known(trained_on: Mapping[str, ImageSet] | None) -> Mapping[str, ImageSet]:
    known = trained_on or {}
    if not isinstance(known, Mapping) or not all(isinstance(each, ImageSet) for each in known.values()):
        raise InputError("trained_on: give a mapping of names to ImageSets")
    return known


def _training(
    substitutes: Models, targets: Models, trained_on: Mapping[str, ImageSet], pixels: Tensor
) -> dict[str, Training]:
    """Overlap of a substitute's training images with the targets' and the attacked images, where known."""
    if pixels.dtype != torch.uint8:
        pixels = (pixels * 255).round().to(torch.uint8)
    return {
        name: Training(
            images=len(own),
            attacked=overlap(own.images, pixels),
            targets={
                target: overlap(own.images, trained_on[target].images)
                for target in targets
                if target in trained_on
            },
        )
        for name, own in trained_on.items()
        if name in substitutes
    }


def _advancing(progress: Bar, job: Job) -> Callable[[int], None]:
    return lambda count: progress.advance(count * passes_of(job.attack), job.attack.name)


class Judged(Record):
    """Outcomes on one chunk, 1 is correct: one list for a model, or one per target."""

    right: list[list[Outcome]]
    forwards: Count = 0
    backwards: Count = 0
    seconds: Number = 0.0
    distances: list[Number] = Field(default_factory=list)
    warnings: tuple[str, ...] = ()


def _cell(
    job: Job,
    substitute: str,
    target: str,
    place: int,
    rows: Sequence[Judged],
    clean: Sequence[int],
    *,
    white_box: bool,
) -> TransferCell:
    right = [value for row in rows for value in row.right[place]]
    # an attacker may leave an image as it is
    outcomes = [a & b for a, b in zip(right, clean, strict=True)]
    distances = [value for row in rows for value in row.distances]
    settings = {k: v for k, v in settings_of(full_strength(job.attack)).items() if k != "name"}
    return TransferCell(
        attack=job.attack.name,
        eps=job.eps,
        norm=job.norm,
        threat="transfer",
        substitute=substitute,
        target=target,
        outcomes=tuple(outcomes),
        score=Score.of(outcomes),
        settings=AttackSettings(**settings),
        forwards=sum(row.forwards for row in rows),
        backwards=sum(row.backwards for row in rows),
        seconds=round(sum(row.seconds for row in rows), 3),
        mean_l2=sum(distances) / len(distances),
        warnings=tuple(dict.fromkeys(line for row in rows for line in row.warnings)),
        white_box=white_box,
    )


class _Matrix:
    """The images in chunks, shared among processes; chunks and draws do not depend on their number."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        seed: int,
        accelerator: Accelerator,
        folder: Path | None,
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.seed, self.accelerator = seed, accelerator
        self.store = Store(folder, "transfer", [images, labels], batch_size, seed)

    def clean(self, model: nn.Module) -> list[int]:
        """1 for each image that ``model`` classifies correctly."""

        def compute(start: int, images: Tensor, labels: Tensor) -> Judged:
            with frozen_eval(model), seeded(self.seed, "clean", start, device=images.device):
                right, _ = _right(model, images, labels)
                return Judged(right=[right])

        rows = self._rows(compute, ["clean", identity(model)], models=1)
        return [value for row in rows for value in row.right[0]]

    def attack(
        self, job: Job, substitute: nn.Module, targets: Models, done: Callable[[int], None]
    ) -> list[Judged]:
        """Outcomes of each target, per chunk, on the images that ``job`` makes on ``substitute``."""

        def compute(start: int, images: Tensor, labels: Tensor) -> Judged:
            begun = time.monotonic()
            attack = replace(full_strength(job.attack), seed=derive(self.seed, job.attack.name))
            with seeded(self.seed, job.attack.name, start, "transfer", device=images.device):
                found = run_attack(attack, substitute, images, labels)
            right, lines = [], list(found.warnings)
            for name, target in targets.items():
                with frozen_eval(target), seeded(self.seed, "judge", start, device=images.device):
                    each, unbounded = _right(target, found.images, labels)
                right.append(each)
                if unbounded:
                    lines.append(f"target {name}: logits that are not finite count as misclassified")
            return Judged(
                right=right,
                forwards=found.forwards,
                backwards=found.backwards,
                seconds=time.monotonic() - begun,
                distances=(found.images - images).square().sum((1, 2, 3)).sqrt().tolist(),
                warnings=tuple(lines),
            )

        models = [identity(model) for model in (substitute, *targets.values())]
        key = ["attack", recorded(job.attack), *models, *code_of(type(job.attack))]
        return self._rows(compute, key, models=len(targets), attacked=True, done=done)

    def _rows(
        self,
        compute: Callable[[int, Tensor, Tensor], Judged],
        key: list[Any],
        *,
        models: int,
        attacked: bool = False,
        done: Callable[[int], None] = lambda count: None,
    ) -> list[Judged]:
        """The result of ``compute`` on every chunk, in order; finished ones are read back.

        Args:
            compute: function of the first row of a chunk, its images and labels.
            key: values that decide the result.
            models: number of models that it judges.
            attacked: whether it has a distance for each image.
            done: function that is told the images of each chunk.
        """

        def complete(row: Judged, count: int) -> bool:
            lists: list[Sequence[float]] = [*row.right, *([row.distances] if attacked else [])]
            return len(row.right) == models and all(len(each) == count for each in lists)

        parts = chunks(self.images, self.labels, self.batch_size, self.accelerator)
        return chunk_results(parts, self.store, Json(Judged), key, compute, complete=complete, done=done)


def _right(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[list[int], bool]:
    """1 for each image that is classified correctly; and whether any logit is not finite."""
    with torch.no_grad():
        logits = full_precision_logits(model, images)
    return correct(logits, labels).int().tolist(), not bool(logits.isfinite().all())
