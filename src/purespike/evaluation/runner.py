"""The evaluation's loop over chunks of images, shared among processes; finished ones are kept on disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from purespike.attacks.protocol import recorded
from purespike.ball import Ball
from purespike.checks import as_float
from purespike.chunks import Json, Store, chunks, gathered
from purespike.data import ImageSet
from purespike.evaluation.cell import Chunk, Outcomes, attack_chunk, merge, units
from purespike.evaluation.plan import Job
from purespike.evaluation.quality import image_quality, mean_quality
from purespike.evaluation.saved import Archive, forget_others, place, with_images, write_images
from purespike.evaluation.threat import THREATS, Scene, classifier_of
from purespike.models import Defended
from purespike.models.answer import correct, logits_of, tied
from purespike.models.identity import code_of, identity
from purespike.neurons import parse_surrogate
from purespike.results import Cell, CleanScores, Quality, Score
from purespike.seeding import seeded


@dataclass(frozen=True, eq=False, kw_only=True)
class Runner:
    """The inputs that the cells of an evaluation depend on.

    Chunks, and the seeds of their random draws, are the same for any number of processes.

    Args:
        scene: the model and the resources of the attackers.
        images: ``[N, C, H, W]``, uint8 or floats in [0, 1].
        labels: true classes, ``[N]``.
        threats: threat models.
        batch_size: images per chunk and forward.
        seed: seed of the evaluation.
        passes: passes over which an image of a stochastic model is judged.
        accelerator: device and processes.
        store: finished chunks.
        save: folder of the adversarial images; ``None`` drops them.
    """

    scene: Scene
    images: Tensor
    labels: Tensor
    threats: tuple[str, ...]
    batch_size: int
    seed: int
    passes: int
    accelerator: Accelerator
    store: Store
    save: Path | None = None
    saved: dict[Path, Job] = field(default_factory=dict)
    """Folders below ``save`` with the attacks whose images they hold."""

    @property
    def model(self) -> nn.Module:
        return self.scene.model

    def clean(self) -> tuple[Outcomes, list[Quality]]:
        """Outcomes on clean images without and with the purifier, and the quality of purified images."""
        classifier = classifier_of(self.model)
        found: list[tuple[int, tuple[Any, ...]]] = []
        for start, images, labels in self._chunks(self.images, self.labels):
            with torch.inference_mode(), seeded(self.seed, "clean", start, device=images.device):
                alone = defended = self._answers(classifier, images, labels)
                quality = {}
                if isinstance(self.model, Defended):
                    purified = self.model.purify(images.clone())
                    if self.passes == 1 and self.model.by_parts:
                        defended = self._answers(classifier, purified, labels)
                    else:
                        defended = self._answers(self.model, images, labels)
                    like = image_quality(purified, images)
                    quality = {name: value.tolist() for name, value in like.items()}
            found.append((start, (alone[0], *defended, quality)))
        rows = gathered(found)
        names = ("undefended", "defended", "tied", "not_finite")
        outcomes = {name: [value for row in rows for value in row[at]] for at, name in enumerate(names)}
        qualities = [row[-1] for row in rows]
        return outcomes, mean_quality("clean, purified", qualities) if qualities[0] else []

    def _answers(self, model: nn.Module, images: Tensor, labels: Tensor) -> list[list[int]]:
        """1 for each image that most passes classify correctly; that ties; whose logits are not finite."""
        votes = torch.zeros(3, len(labels), dtype=torch.long, device=images.device)
        for _ in range(self.passes):
            logits = logits_of(model, images)
            votes += torch.stack((correct(logits, labels), tied(logits, labels), ~logits.isfinite().all(1)))
        return (2 * votes > self.passes).int().tolist()

    def clean_whole(self, data: ImageSet) -> CleanScores:
        """Clean accuracy on a larger set, without and with the purifier, by the majority of the passes."""
        classifier = classifier_of(self.model)
        counts = [0, 0]
        for start, images, labels in self._chunks(data.images, data.labels):
            with torch.inference_mode(), seeded(self.seed, "whole", start, device=images.device):
                counts[0] += sum(self._answers(classifier, images, labels)[0])
                if isinstance(self.model, Defended):
                    counts[1] += sum(self._answers(self.model, images, labels)[0])
        each = gathered([(self.accelerator.process_index, counts)])
        alone, defended = (Score.share(sum(part), len(data)) for part in zip(*each, strict=True))
        return CleanScores(undefended=alone, defended=defended if isinstance(self.model, Defended) else None)

    def attack(
        self,
        job: Job,
        clean: Outcomes,
        threats: Sequence[str] | None = None,
        done: Callable[[str, int], None] = lambda threat, images: None,
    ) -> list[Cell]:
        """The cells of one attack, one per threat model; chunks that an earlier run finished are read back.

        Args:
            job: attack and budget.
            clean: outcomes before the attack, without and with the purifier; misclassified images are broken.
            threats: threat models instead of the runner's own.
            done: callback after each chunk, with the threat model and the number of images.
        """
        cells = []
        for unit in units(job, self.scene, threats or self.threats):
            found = []
            codes = code_of(type(job.attack), *(THREATS[threat].routes for threat in unit), _ball(job))
            # by all processes alike, whichever chunks they have
            places = {threat: place(self.save, job, threat, taken=self.saved) for threat in unit if self.save}
            for start, images, labels in self._chunks(self.images, self.labels):
                part = {name: values[start : start + len(labels)] for name, values in clean.items()}
                compute = partial(
                    attack_chunk,
                    self.scene,
                    job,
                    unit,
                    images,
                    labels,
                    clean=part,
                    start=start,
                    seed=self.seed,
                    passes=self.passes,
                )
                key = recorded(job.attack), job.raised_from is not None, unit, start, part, *codes
                complete = partial(Chunk.covers, count=len(labels))
                if self.save is None:
                    chunk = self.store.get(Json(Chunk), key, compute, valid=complete)
                else:
                    chunk = self._saved(job, places, compute, key, complete, start, images, labels)
                found.append((start, chunk))
                done(unit[-1], len(labels))
            starts = range(0, len(self.labels), self.batch_size)
            for folder in places.values() if self.accelerator.is_main_process else ():
                forget_others(folder, starts, len(self.labels))
            cells += merge(job, gathered(found), clean, seed=self.seed, passes=self.passes)
        return cells

    def _saved(
        self,
        job: Job,
        places: Mapping[str, Path],
        compute: Any,
        key: Any,
        complete: Any,
        start: int,
        images: Tensor,
        labels: Tensor,
    ) -> Chunk:
        """One chunk whose images are written, and judged in 8 bits as well."""
        judged = partial(
            with_images,
            lambda found: compute(adversarial=found),
            self.scene,
            job,
            images,
            labels,
            passes=self.passes,
            seed=(self.seed, start),
        )
        kept = self.store.get(Archive(), (*key, "images"), judged, valid=lambda value: complete(value.chunk))
        for threat in kept.chunk.parts:
            write_images(places[threat], start, kept, threat, images, labels, job)
        return kept.chunk

    def examined(self, clean: Outcomes, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, images and labels of the first ``count`` that are classified correctly, on the device."""
        right = torch.tensor(clean["defended"], dtype=torch.bool)
        rows = right.nonzero().squeeze(1)[:count]
        device = self.accelerator.device
        return rows, as_float(self.images[rows].to(device)), self.labels[rows].to(device)

    def _chunks(self, images: Tensor, labels: Tensor) -> Any:
        return chunks(images, labels, self.batch_size, self.accelerator)


def _ball(job: Job) -> object:
    """The class of the balls that bound an attack, whose code decides its outcomes too."""
    return Ball.known.get(job.norm, Ball)


def store_of(folder: Path | None, scene: Scene, images: Tensor, labels: Tensor, *settings: object) -> Store:
    """The finished chunks of an evaluation with this scene, these images and settings."""
    others = {"approximation": scene.approximation, **scene.substitutes}
    models = {"model": scene.model, **{name: model for name, model in others.items() if model is not None}}
    # equal weights do not make equal models: settings, attributes and code decide outcomes too
    identities = {name: identity(model) for name, model in models.items()}
    codes = code_of(*(type(parse_surrogate(name)) for name in scene.surrogates))
    decided_by = identities, tuple(scene.surrogates), tuple(scene.losses), *settings, *codes
    return Store(folder, decided_by, [images, labels])
