"""The evaluation's loop over chunks of images, shared among processes; finished ones are kept on disk."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from purespike.attacks.protocol import recorded
from purespike.data import ImageSet
from purespike.evaluation.cell import Cell, Chunk, attack_chunk, merge, units
from purespike.evaluation.diagnose import diagnose, diagnose_budget, sample
from purespike.evaluation.finding import Finding, Limits
from purespike.evaluation.inputs import describe_model
from purespike.evaluation.plan import Job
from purespike.evaluation.scores import likeness
from purespike.evaluation.threat import Scene, classifier_of
from purespike.files import write_json
from purespike.models import Defended
from purespike.models.predict import as_float
from purespike.seeding import seeded

Outcomes = dict[str, list[int]]
_Row = TypeVar("_Row", Chunk, Finding)


@dataclass(frozen=True, eq=False, kw_only=True)
class Runner:
    """Everything that an evaluation's cells depend on.

    Chunks, and the seeds of their random draws, are the same for any number of processes.
    """

    scene: Scene
    images: Tensor
    labels: Tensor
    threats: tuple[str, ...]
    batch_size: int
    seed: int
    passes: int
    accelerator: Accelerator
    folder: Path | None

    @property
    def model(self) -> nn.Module:
        return self.scene.model

    def clean(self) -> tuple[Outcomes, list[dict[str, Any]]]:
        """Outcomes on clean images without and with the purifier, and what purifying does to them."""
        classifier, chunks = classifier_of(self.model), []
        for start, images, labels in self._chunks(self.images, self.labels):
            with torch.inference_mode(), seeded(self.seed, "clean", start, device=images.device):
                alone = self._right(classifier, images, labels)
                defended, like = alone, {}
                if isinstance(self.model, Defended):
                    purified = self.model.purify(images)
                    if self.passes == 1:
                        defended = self._right(classifier, purified, labels)
                    else:
                        defended = self._right(self.model, images, labels)
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

    def _right(self, model: nn.Module, images: Tensor, labels: Tensor) -> list[int]:
        """1 for each image that the majority of passes gets right."""
        votes = sum((model(images).argmax(1) == labels).int() for _ in range(self.passes))
        return (2 * votes > self.passes).int().tolist()

    def clean_whole(self, data: ImageSet) -> dict[str, list[int]]:
        """How many images of a larger set are right: ``[correct, n]`` without and with the purifier."""
        classifier = classifier_of(self.model)
        counts = [0, 0]
        for _, images, labels in self._chunks(data.images, data.labels):
            with torch.inference_mode(), seeded(self.seed, "whole", device=images.device):
                counts[0] += int((classifier(images).argmax(1) == labels).sum())
                if isinstance(self.model, Defended):
                    counts[1] += int((self.model(images).argmax(1) == labels).sum())
        alone, defended = (sum(part) for part in zip(*gather_object([counts]), strict=True))
        return {"undefended": [alone, len(data)], "defended": [defended, len(data)]}

    def attack(
        self,
        job: Job,
        clean: Outcomes,
        threats: Sequence[str] | None = None,
        done: Callable[[str, int], None] = lambda threat, images: None,
    ) -> list[Cell]:
        """The cells of one attack, one per threat model; what an earlier run finished is read back.

        Args:
            job: attack and budget.
            clean: outcomes to start from, without and with the purifier; what is wrong there has fallen.
            threats: instead of the runner's own.
            done: told after each chunk which threat model met how many images.
        """
        cells = []
        for unit in units(job, self.scene, threats or self.threats):
            chunks: list[Chunk] = []
            for start, images, labels in self._chunks(self.images, self.labels):
                part = {name: values[start : start + len(labels)] for name, values in clean.items()}

                def compute(
                    start: int = start,
                    images: Tensor = images,
                    labels: Tensor = labels,
                    part: Outcomes = part,
                ) -> list[Chunk]:
                    return [
                        attack_chunk(
                            self.scene,
                            job,
                            unit,  # noqa: B023 (called at once)
                            images,
                            labels,
                            clean=part,
                            start=start,
                            seed=self.seed,
                            passes=self.passes,
                        )
                    ]

                path = self._path(recorded(job.attack), job.raised_from is not None, unit, start, part)
                # chunks are each process's own
                chunks += self._kept(path, Chunk.from_json, compute, mine=True)
                done(unit[-1], len(labels))
            chunks = sorted(gather_object(chunks), key=lambda chunk: chunk.start)
            cells += merge(job, chunks, clean, seed=self.seed, passes=self.passes)
        return cells

    def _chunks(self, images: Tensor, labels: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """This process's chunks of a set: first row, float images and labels, on the device."""
        device = self.accelerator.device
        starts = range(0, len(labels), self.batch_size)
        for start in starts[self.accelerator.process_index :: self.accelerator.num_processes]:
            rows = slice(start, start + self.batch_size)
            yield start, as_float(images[rows].to(device)), labels[rows].to(device)

    def diagnose(
        self,
        jobs: list[Job],
        cells: list[Cell],
        clean: Outcomes,
        *,
        budget: list[Finding],
        count: int,
        limits: Limits,
        **arrived: Any,
    ) -> list[Finding]:
        """What the diagnostics see on the first ``count`` images that are right; read back if kept."""

        def compute() -> list[Finding]:
            return diagnose(
                self.model,
                *self._sample(clean, count),
                jobs=jobs,
                cells=cells,
                clean=clean,
                surrogates=self.scene.surrogates,
                losses=self.scene.losses,
                budget=budget,
                limits=limits,
                **arrived,
            )

        path = self._path(
            [recorded(job.attack) for job in jobs], self.threats, clean, count, asdict(limits), arrived
        )
        return self._kept(path, lambda row: Finding(**row), compute)

    def diagnose_budget(
        self, jobs: list[Job], cells: list[Cell], clean: Outcomes, *, count: int, limits: Limits
    ) -> list[Finding]:
        """What the diagnostics see of the budget alone, on the same images; read back if kept."""

        def compute() -> list[Finding]:
            return diagnose_budget(
                self.model,
                *self._sample(clean, count),
                jobs=jobs,
                cells=cells,
                surrogates=self.scene.surrogates,
                losses=self.scene.losses,
                limits=limits,
            )

        path = self._path("budget", [recorded(job.attack) for job in jobs], clean, count, asdict(limits))
        return self._kept(path, lambda row: Finding(**row), compute)

    def _sample(self, clean: Outcomes, count: int) -> tuple[Tensor, Tensor]:
        images, labels = sample(self.images, self.labels, clean["defended"], count)
        return as_float(images.to(self.accelerator.device)), labels.to(self.accelerator.device)

    def _kept(
        self,
        path: Path | None,
        read: Callable[[dict[str, Any]], _Row],
        compute: Callable[[], list[_Row]],
        *,
        mine: bool = False,
    ) -> list[_Row]:
        """What an earlier run left at ``path``, else what ``compute`` finds, which is then kept there."""
        if path is not None and path.exists():
            try:
                return [read(row) for row in json.loads(path.read_text(encoding="utf-8"))]
            except (ValueError, TypeError, KeyError):
                pass  # damaged: compute it again
        rows = compute()
        if path is not None and (mine or self.accelerator.is_main_process):
            write_json(path, [row.to_json() for row in rows])
        return rows

    def _path(self, *parts: Any) -> Path | None:
        """Where a result is kept, by a digest of ``parts`` and all else that decides it."""
        if self.folder is None:
            return None
        digest = self._common.copy()
        digest.update(repr(parts).encode())
        return self.folder / f"{digest.hexdigest()[:24]}.json"

    @functools.cached_property
    def _common(self) -> Any:
        others = {"approximation": self.scene.approximation, **self.scene.substitutes}
        models = {"model": self.model, **{name: model for name, model in others.items() if model is not None}}
        settings = (
            # thresholds and time steps decide outcomes, and are no tensors
            {name: describe_model(model) for name, model in models.items()},
            tuple(self.scene.surrogates),
            tuple(self.scene.losses),
            self.batch_size,
            self.seed,
            self.passes,
        )
        digest = hashlib.sha256(repr(settings).encode())
        tensors = [tensor for model in models.values() for tensor in model.state_dict().values()]
        for tensor in (self.images, self.labels, *tensors):
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest
