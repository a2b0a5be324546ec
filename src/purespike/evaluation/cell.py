"""One cell of the table: one attack at one budget under one threat model, chunk by chunk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from purespike.attacks import Attack, AttackResult, Component, SignAttack, worst_case
from purespike.checks import format_eps
from purespike.evaluation.plan import Job
from purespike.evaluation.scores import likeness, score
from purespike.evaluation.threat import bpda, classifier_of
from purespike.models import Defended
from purespike.seeding import derive


@dataclass
class Part:
    """What one threat model found on one chunk."""

    standing: list[int]
    forwards: int
    backwards: int
    seconds: float
    distances: list[float]
    components: list[Component] = field(default_factory=list)
    likeness: dict[str, dict[str, list[float]]] = field(default_factory=dict)


@dataclass
class Chunk:
    """All threat models on one chunk of images, whose first row is ``start``."""

    start: int
    parts: dict[str, Part]


@dataclass(frozen=True)
class Cell:
    """Outcomes of one attack under one threat model over all images; 1 is still classified correctly."""

    attack: str
    eps: float | None
    norm: str
    threat: str
    outcomes: list[int]
    settings: dict[str, Any]
    forwards: int
    backwards: int
    seconds: float
    mean_l2: float
    components: list[dict[str, Any]]
    quality: list[dict[str, Any]]
    seed: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "score": score(self.outcomes)}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Cell":
        return cls(**{part.name: row[part.name] for part in fields(cls)})

    def line(self) -> str:
        """One line for the console: the score, never without its threat model."""
        result = score(self.outcomes)
        budget = {
            "linf": f"L∞ eps {format_eps(self.eps or 0)}",
            "l2": f"L2 unbounded, mean {self.mean_l2:.2f}",
        }
        return (
            f"{self.attack}{_steps(self.settings)} ({budget.get(self.norm, 'noise')}), {self.threat}: "
            f"{result['accuracy']:.1%} of {result['n']} [{result['low']:.1%}, {result['high']:.1%}], "
            f"{self.seconds:.0f} s"
        )


def _steps(settings: dict[str, Any]) -> str:
    steps = settings.get("steps", 1)
    return f"-{steps}" if steps > 1 else ""


def attack_chunk(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    job: Job,
    *,
    threats: Sequence[str],
    surrogates: Sequence[str],
    losses: Sequence[str],
    clean: dict[str, list[int]],
    start: int,
    seed: int,
) -> Chunk:
    """Attack one chunk under each threat model.

    Only images are attacked that are right when clean (``clean``, the chunk's outcomes): the others have
    fallen already. One full-strength attack on the classifier alone serves ``undefended`` and ``oblivious``;
    the others need only know which images fall, and stop at the first success.
    """
    attack = replace(job.attack, seed=derive(seed, job.attack.name, start))
    undefended, defended = (
        torch.tensor(clean[name], dtype=torch.bool, device=images.device)
        for name in ("undefended", "defended")
    )
    parts: dict[str, Part] = {}
    if "undefended" in threats:
        rows = (undefended | defended if "oblivious" in threats else undefended) | (job.norm == "noise")
        result, parts["undefended"] = _attack(rows, attack, classifier_of(model), images, labels)
        if "oblivious" in threats:
            parts["oblivious"] = _oblivious(model, rows, result, parts["undefended"], images, labels)
    if not job.differentiates:
        if "query" in threats and job.norm != "noise":
            _, parts["query"] = _attack(defended, attack, model, images, labels)
        return Chunk(start, parts)
    if "bpda" in threats:
        _, parts["bpda"] = _attack(defended, _early(attack), bpda(model), images, labels)
    if "adaptive" in threats:
        components: list[Component] = []

        def adaptive(model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
            result, found = worst_case(
                model, images, labels, attack=attack, surrogates=surrogates, losses=losses
            )
            components.extend(found)
            return result

        _, parts["adaptive"] = _attack(defended, adaptive, model, images, labels)
        parts["adaptive"].components = components
    return Chunk(start, parts)


def _early(attack: Attack) -> Attack:
    return replace(attack, stop_early=True) if isinstance(attack, SignAttack) else attack


def _attack(
    rows: Tensor,
    attack: Callable[[nn.Module, Tensor, Tensor], AttackResult],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
) -> tuple[AttackResult | None, Part]:
    """Attack these rows of a chunk, bool ``[N]``: the result, if there are any, and all images' outcomes."""
    begun = time.monotonic()
    standing = torch.zeros(len(images), dtype=torch.int)
    distances = torch.zeros(len(images))
    result = attack(model, images[rows], labels[rows]) if rows.any() else None
    if result is not None:
        attacked = rows.cpu()
        standing[attacked] = (~result.success).int().cpu()
        distances[attacked] = (result.images - images[rows]).square().sum((1, 2, 3)).sqrt().float().cpu()
    forwards, backwards = (result.forwards, result.backwards) if result else (0, 0)
    seconds = time.monotonic() - begun
    return result, Part(standing.tolist(), forwards, backwards, seconds, distances.tolist())


@torch.inference_mode()
def _oblivious(
    model: nn.Module,
    rows: Tensor,
    result: AttackResult | None,
    alone: Part,
    images: Tensor,
    labels: Tensor,
) -> Part:
    """Purify what fooled the classifier alone, and judge the whole model on it."""
    assert isinstance(model, Defended)
    if result is None:
        return alone
    purified = model.purify(result.images)
    standing = torch.zeros_like(labels)
    standing[rows] = (model.classifier(purified).argmax(1) == labels[rows]).long()
    shown = {"attacked": result.images, "attacked, purified": purified}
    return replace(
        alone,
        standing=standing.tolist(),
        forwards=alone.forwards + len(purified),
        likeness={
            name: {key: value.tolist() for key, value in likeness(pictures, images[rows]).items()}
            for name, pictures in shown.items()
        },
    )


def merge(job: Job, chunks: Sequence[Chunk], clean: dict[str, list[int]], seed: int) -> list[Cell]:
    """Put the chunks of all processes together, one cell per threat model."""
    cells = []
    for threat in chunks[0].parts:
        parts = [chunk.parts[threat] for chunk in chunks]
        outcomes = [value for part in parts for value in part.standing]
        if job.norm != "noise":
            # an attacker may leave an image as it is
            unattacked = clean["undefended" if threat == "undefended" else "defended"]
            outcomes = [a & b for a, b in zip(outcomes, unattacked, strict=True)]
        distances = [value for part in parts for value in part.distances]
        cells.append(
            Cell(
                attack=job.attack.name,
                eps=job.eps,
                norm=job.norm,
                threat=threat,
                outcomes=outcomes,
                settings={k: v for k, v in asdict(job.attack).items() if k not in ("name", "seed")},
                forwards=sum(part.forwards for part in parts),
                backwards=sum(part.backwards for part in parts),
                seconds=round(sum(part.seconds for part in parts), 3),
                mean_l2=sum(distances) / len(distances),
                components=_components(parts),
                quality=_quality(job, parts),
                seed=seed,
            )
        )
    return cells


def _components(parts: Sequence[Part]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str], list[int]] = {}
    for part in parts:
        for component in part.components:
            pair = sums.setdefault((component.surrogate, component.loss), [0, 0])
            pair[0] += component.attacked
            pair[1] += component.broken
    return [
        {"surrogate": surrogate, "loss": loss, "attacked": attacked, "broken": broken}
        for (surrogate, loss), (attacked, broken) in sums.items()
    ]


def _quality(job: Job, parts: Sequence[Part]) -> list[dict[str, Any]]:
    budget = "" if job.eps is None else f" eps {format_eps(job.eps)}"
    label = f"{job.attack.name}{_steps(asdict(job.attack))}{budget}"
    rows: dict[str, dict[str, Any]] = {}
    # a chunk of which nothing was attacked has nothing to show
    shown = [part.likeness for part in parts if part.likeness]
    for name, measures in shown[0].items() if shown else ():
        rows[name] = {"images": f"{label}: {name}"}
        for measure in measures:
            values = [value for likeness in shown for value in likeness[name][measure]]
            rows[name][measure] = sum(values) / len(values)
    return list(rows.values())
