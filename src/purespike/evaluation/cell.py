"""One cell of the table: one attack at one budget under one threat model, chunk by chunk."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from purespike.attacks import AttackResult
from purespike.attacks.precision import full_precision_logits
from purespike.attacks.protocol import recorded
from purespike.attacks.routes import Component, Route, run_routes
from purespike.budget import format_eps
from purespike.evaluation.plan import Job, passes_of
from purespike.evaluation.scores import likeness, score
from purespike.evaluation.threat import THREATS, Scene, classifier_of
from purespike.models import Defended
from purespike.results.vocabulary import NORMS
from purespike.seeding import derive, seeded

# one full-strength attack on the classifier alone serves both
SHARED = ("undefended", "oblivious")


@dataclass
class Part:
    """What one threat model found on one chunk; ``right`` is the share of passes that were right."""

    standing: list[int]
    right: list[float]
    forwards: int
    backwards: int
    seconds: float
    distances: list[float]
    components: list[Component] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    likeness: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Part":
        return cls(**{**row, "components": [Component(**component) for component in row["components"]]})


@dataclass
class Chunk:
    """Threat models that share an attack, on one chunk of images, whose first row is ``start``."""

    start: int
    parts: dict[str, Part]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Chunk":
        return cls(row["start"], {threat: Part.from_json(part) for threat, part in row["parts"].items()})


@dataclass(frozen=True)
class Cell:
    """Outcomes of one attack under one threat model over all images; 1 is still classified correctly.

    Of a model that draws an outcome is that of the majority of ``passes``, and ``pass_accuracy`` the share of
    all passes over all images that were right. Where the evaluation raised a budget by itself,
    ``raised_from`` are the steps of the attack that this one goes on from.
    """

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
    warnings: list[str]
    quality: list[dict[str, Any]]
    seed: int
    passes: int = 1
    pass_accuracy: float | None = None
    raised_from: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "score": score(self.outcomes)}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Cell":
        return cls(**{part.name: row[part.name] for part in fields(cls)})

    def line(self) -> str:
        """One line for the console: the score, never without its threat model."""
        result = score(self.outcomes)
        norm = NORMS.get(self.norm, self.norm)
        if self.norm == "noise":
            budget = "noise"
        elif self.eps is None:
            budget = f"{norm} unbounded, mean {self.mean_l2:.2f}"
        else:
            budget = f"{norm} eps {format_eps(self.eps)}"
        return (
            f"{self.attack}{_steps(self.settings)} ({budget}), {self.threat}: "
            f"{result['accuracy']:.1%} of {result['n']} [{result['low']:.1%}, {result['high']:.1%}], "
            f"{self.seconds:.0f} s"
        )


def _steps(settings: dict[str, Any]) -> str:
    steps = settings.get("steps", 1)
    return f"-{steps}" if steps > 1 else ""


def units(job: Job, scene: Scene, threats: Sequence[str]) -> list[tuple[str, ...]]:
    """The threat models under which ``job`` makes sense, those together that share one attack."""
    shared = tuple(name for name in SHARED if name in threats)
    others = [(name,) for name in threats if name not in SHARED]
    return [unit for unit in (shared, *others) if unit and THREATS[unit[0]].routes(scene, job.attack)]


def attack_chunk(
    scene: Scene,
    job: Job,
    unit: tuple[str, ...],
    images: Tensor,
    labels: Tensor,
    *,
    clean: dict[str, list[int]],
    start: int,
    seed: int,
    passes: int = 1,
) -> Chunk:
    """Attack one chunk under the threat models of one unit.

    Args:
        scene: the model and what the attackers have.
        job: attack and budget.
        unit: one of :func:`units`.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes.
        clean: outcomes of these images on the classifier alone (``"undefended"``) and on the whole; where
            neither is right nothing is attacked, for such images have fallen already.
        start: first row of the chunk in its set; decides the random draws, with ``seed``.
        seed: of the evaluation.
        passes: over which the images of a model that draws are judged.
    """
    draws: tuple[object, ...] = (seed, job.attack.name, start)
    if job.raised_from is not None:
        # other random starts than those of the attack that it goes on from
        draws += ("raised", passes_of(job.attack))
    attack = replace(job.attack, seed=derive(*draws))
    routes = THREATS[unit[0]].routes(scene, attack)
    alone, whole = (
        torch.tensor(clean[name], dtype=torch.bool, device=images.device)
        for name in ("undefended", "defended")
    )
    rows = whole
    if unit[0] in SHARED:
        rows = (alone | whole if "oblivious" in unit else alone) | (job.norm == "noise")
    victim = classifier_of(scene.model) if unit[0] == "undefended" else scene.model
    with seeded(*draws, unit[0], device=images.device):
        begun = time.monotonic()
        found = run_routes(routes, images[rows], labels[rows], attack=attack) if rows.any() else None
        if found is None:
            nothing = [0] * len(images)
            part = Part(nothing, [0.0] * len(images), 0, 0, 0.0, [0.0] * len(images))
            return Chunk(start, {threat: replace(part) for threat in unit})
        result, components = found
        parts = {}
        for threat in unit:
            if threat == "oblivious":
                parts[threat] = _oblivious(scene.model, result, rows, images, labels, passes)
            else:
                right = _judge(victim, result, labels[rows], passes)
                parts[threat] = _part(result, rows, images, right, components if _many(routes) else [])
                parts[threat].seconds = time.monotonic() - begun
    return Chunk(start, parts)


def _many(routes: Sequence[Route]) -> bool:
    return any((route.name, route.loss) != ("own", "own") for route in routes) or len(routes) > 1


def _part(
    result: AttackResult, rows: Tensor, images: Tensor, right: Tensor, components: list[Component]
) -> Part:
    count, attacked = len(images), rows.cpu()
    shares, distances = torch.zeros(count), torch.zeros(count)
    shares[attacked] = right.float().cpu()
    distances[attacked] = (result.images - images[rows]).square().sum((1, 2, 3)).sqrt().float().cpu()
    return Part(
        standing=(shares > 0.5).int().tolist(),
        right=shares.tolist(),
        forwards=result.forwards,
        backwards=result.backwards,
        seconds=0.0,
        distances=distances.tolist(),
        components=components,
        warnings=list(result.config.get("warnings", ())),
    )


@torch.no_grad()
def _judge(model: nn.Module, result: AttackResult, labels: Tensor, passes: int) -> Tensor:
    """Share of passes in which each image is right; the attack's own verdict where one pass says it all."""
    if passes == 1:
        return ~result.broken
    return _share_right(model, result.images, labels, passes)


def _share_right(model: nn.Module, images: Tensor, labels: Tensor, passes: int) -> Tensor:
    right = [full_precision_logits(model, images).argmax(1) == labels for _ in range(passes)]
    return torch.stack(right).float().mean(0)


@torch.no_grad()
def _oblivious(
    model: nn.Module, result: AttackResult, rows: Tensor, images: Tensor, labels: Tensor, passes: int
) -> Part:
    """Purify what was made against the classifier alone, and judge the whole model on it."""
    assert isinstance(model, Defended)
    begun = time.monotonic()
    purified = model.purify(result.images)
    if passes == 1:
        right = model.classifier(purified).argmax(1) == labels[rows]
    else:
        right = _share_right(model, result.images, labels[rows], passes)
    part = _part(result, rows, images, right, [])
    part.forwards += passes * len(purified)
    shown = {"attacked": result.images, "attacked, purified": purified}
    part.likeness = {
        name: {key: value.tolist() for key, value in likeness(pictures, images[rows]).items()}
        for name, pictures in shown.items()
    }
    part.seconds = time.monotonic() - begun
    return part


def merge(
    job: Job, chunks: Sequence[Chunk], clean: dict[str, list[int]], *, seed: int, passes: int = 1
) -> list[Cell]:
    """Put the chunks of all processes together, one cell per threat model."""
    cells = []
    for threat in chunks[0].parts:
        parts = [chunk.parts[threat] for chunk in chunks]
        outcomes = [value for part in parts for value in part.standing]
        if job.norm != "noise":
            # an attacker may leave an image as it is
            unattacked = clean["undefended" if threat == "undefended" else "defended"]
            outcomes = [a & b for a, b in zip(outcomes, unattacked, strict=True)]
        right = [value for part in parts for value in part.right]
        distances = [value for part in parts for value in part.distances]
        cells.append(
            Cell(
                attack=job.attack.name,
                eps=job.eps,
                norm=job.norm,
                threat=threat,
                outcomes=outcomes,
                settings={k: v for k, v in recorded(job.attack).items() if k not in ("name", "seed")},
                forwards=sum(part.forwards for part in parts),
                backwards=sum(part.backwards for part in parts),
                seconds=round(sum(part.seconds for part in parts), 3),
                mean_l2=sum(distances) / len(distances),
                components=_components(parts),
                warnings=list(dict.fromkeys(line for part in parts for line in part.warnings)),
                quality=_quality(job, parts),
                seed=seed,
                passes=passes,
                pass_accuracy=sum(right) / len(right) if passes > 1 else None,
                raised_from=None
                if job.raised_from is None
                else getattr(job.raised_from.attack, "steps", None),
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
    label = f"{job.attack.name}{_steps(recorded(job.attack))}{budget}"
    rows: dict[str, dict[str, Any]] = {}
    # a chunk of which nothing was attacked has nothing to show
    shown = [part.likeness for part in parts if part.likeness]
    for name, measures in shown[0].items() if shown else ():
        rows[name] = {"images": f"{label}: {name}"}
        for measure in measures:
            values = [value for likeness in shown for value in likeness[name][measure]]
            rows[name][measure] = sum(values) / len(values)
    return list(rows.values())
