"""The evaluation's loop over chunks of images, shared among processes, with finished cells kept on disk."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from purespike.data import ImageSet
from purespike.evaluation.cell import Cell, attack_chunk, merge
from purespike.evaluation.diagnose import diagnose, sample
from purespike.evaluation.finding import Finding, Limits
from purespike.evaluation.inputs import describe_model
from purespike.evaluation.plan import Job
from purespike.evaluation.scores import likeness
from purespike.evaluation.threat import classifier_of
from purespike.files import write_json
from purespike.models import Defended
from purespike.models.predict import as_float

Outcomes = dict[str, list[int]]
_Row = TypeVar("_Row", Cell, Finding)


@dataclass(frozen=True, eq=False)
class Runner:
    """Everything that an evaluation's cells depend on.

    Chunks, and the seeds of their random draws, are the same for any number of processes.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    threats: tuple[str, ...]
    surrogates: tuple[str, ...]
    losses: tuple[str, ...]
    batch_size: int
    seed: int
    accelerator: Accelerator
    folder: Path | None

    def clean(self) -> tuple[Outcomes, list[dict[str, Any]]]:
        """Outcomes on clean images without and with the purifier, and what purifying does to them."""
        classifier, chunks = classifier_of(self.model), []
        for start, images, labels in self._chunks(self.images, self.labels):
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

    def clean_whole(self, data: ImageSet) -> dict[str, list[int]]:
        """How many images of a larger set are right: ``[correct, n]`` without and with the purifier."""
        classifier = classifier_of(self.model)
        counts = [0, 0]
        for _, images, labels in self._chunks(data.images, data.labels):
            with torch.inference_mode():
                counts[0] += int((classifier(images).argmax(1) == labels).sum())
                if isinstance(self.model, Defended):
                    counts[1] += int((self.model(images).argmax(1) == labels).sum())
        alone, defended = (sum(part) for part in zip(*gather_object([counts]), strict=True))
        return {"undefended": [alone, len(data)], "defended": [defended, len(data)]}

    def attack(self, job: Job, clean: Outcomes) -> list[Cell]:
        """The cells of one attack, one per threat model; read back if an earlier run finished them."""

        def compute() -> list[Cell]:
            chunks = [
                attack_chunk(
                    self.model,
                    images,
                    labels,
                    job,
                    threats=self.threats,
                    surrogates=self.surrogates,
                    losses=self.losses,
                    clean={name: values[start : start + len(labels)] for name, values in clean.items()},
                    start=start,
                    seed=self.seed,
                )
                for start, images, labels in self._chunks(self.images, self.labels)
            ]
            chunks = sorted(gather_object(chunks), key=lambda chunk: chunk.start)
            return merge(job, chunks, clean, self.seed)

        return self._kept(self._path(asdict(job.attack)), Cell.from_json, compute)

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
        count: int,
        limits: Limits,
        **arrived: Any,
    ) -> list[Finding]:
        """What the diagnostics see on the first ``count`` images that are right; read back if kept."""
        device = self.accelerator.device

        def compute() -> list[Finding]:
            images, labels = sample(self.images, self.labels, clean["defended"], count)
            return diagnose(
                self.model,
                as_float(images.to(device)),
                labels.to(device),
                jobs=jobs,
                cells=cells,
                clean=clean,
                surrogates=self.surrogates,
                losses=self.losses,
                limits=limits,
                **arrived,
            )

        path = self._path([asdict(job.attack) for job in jobs], count, asdict(limits), arrived)
        return self._kept(path, lambda row: Finding(**row), compute)

    def _kept(
        self, path: Path | None, read: Callable[[dict[str, Any]], _Row], compute: Callable[[], list[_Row]]
    ) -> list[_Row]:
        """What an earlier run left at ``path``, else what ``compute`` finds, which is then kept there."""
        if path is not None and path.exists():
            try:
                return [read(row) for row in json.loads(path.read_text(encoding="utf-8"))]
            except (ValueError, TypeError, KeyError):
                pass  # damaged: compute it again
        rows = compute()
        if path is not None and self.accelerator.is_main_process:
            write_json(path, [row.to_json() for row in rows])
        return rows

    def _path(self, *parts: Any) -> Path | None:
        """Where a result is kept, by a digest of ``parts`` and all else that decides it."""
        if self.folder is None:
            return None
        settings = (
            self.threats,
            self.surrogates,
            self.losses,
            self.batch_size,
            self.seed,
            parts,
            # thresholds and time steps decide outcomes, and are no tensors
            describe_model(self.model),
        )
        digest = hashlib.sha256(repr(settings).encode())
        for tensor in (self.images, self.labels, *self.model.state_dict().values()):
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return self.folder / f"{digest.hexdigest()[:24]}.json"
