"""One attack at one budget: its chunks under each threat model, and the cells of the table they make."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from purespike.attacks import AttackResult
from purespike.attacks.precision import full_precision_logits
from purespike.attacks.protocol import settings_of
from purespike.attacks.routes import Route, run_routes
from purespike.attacks.run import from_outside
from purespike.budget import format_eps
from purespike.evaluation.plan import Job, passes_of, stepped_name
from purespike.evaluation.quality import image_quality, mean_quality
from purespike.evaluation.threat import THREATS, Scene
from purespike.models import Defended
from purespike.models.answer import correct, logits_of
from purespike.results import AttackSettings, Cell, Component, Quality, Record, Rounded, Score
from purespike.results.record import Count, Number, Outcome
from purespike.seeding import derive, seeded

# one full-strength attack on the classifier alone serves both
SHARED = ("undefended", "oblivious")

Outcomes = Mapping[str, Sequence[int]]
"""1 per correctly classified image: ``"undefended"`` without, ``"defended"`` with the purifier; of the latter
also 1 per image that is ``"tied"`` with another class, or whose logits are ``"not_finite"``."""


class Part(Record):
    """Results of one threat model on one chunk.

    Args:
        robust: 1 for each image still classified correctly by the majority of passes.
        right: share of correct passes, per image.
        forwards: images passed through the model.
        backwards: images differentiated.
        seconds: duration of the attack.
        distances: L2 distance of each image from its clean version.
        components: result of each route.
        warnings: warnings of the attack.
        quality: PSNR and SSIM per image, of attacked and of purified images.
        rounded: as ``robust``, of the images in 8 bits; empty unless images are saved.
    """

    robust: list[Outcome]
    right: list[Number]
    forwards: Count = 0
    backwards: Count = 0
    seconds: Number = 0.0
    distances: list[Number]
    components: tuple[Component, ...] = ()
    warnings: tuple[str, ...] = ()
    quality: dict[str, dict[str, list[float]]] = Field(default_factory=dict)
    rounded: list[Outcome] = Field(default_factory=list)


class Chunk(Record):
    """Threat models that share an attack, on one chunk of images."""

    parts: dict[str, Part]

    def covers(self, count: int) -> bool:
        """Whether every part has an outcome for each of ``count`` images."""
        lengths = {
            len(row) for part in self.parts.values() for row in (part.robust, part.right, part.distances)
        }
        return lengths == {count}


def units(job: Job, scene: Scene, threats: Sequence[str]) -> list[tuple[str, ...]]:
    """The threat models that apply to ``job``, grouped if they share one attack."""
    shared = tuple(name for name in SHARED if name in threats)
    others = [(name,) for name in threats if name not in SHARED]
    return [unit for unit in (shared, *others) if unit and THREATS[unit[0]].ways(scene, job.attack)]


def attack_chunk(
    scene: Scene,
    job: Job,
    unit: tuple[str, ...],
    images: Tensor,
    labels: Tensor,
    *,
    clean: Outcomes,
    start: int,
    seed: int,
    passes: int = 1,
    adversarial: dict[str, Tensor] | None = None,
) -> Chunk:
    """Attack one chunk under the threat models of one unit.

    Args:
        scene: the model and the resources of the attackers.
        job: attack and budget.
        unit: one of :func:`units`.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes.
        clean: outcomes of these images before the attack; an image misclassified both without and with the
            purifier is already broken and not attacked.
        start: first row of the chunk in its set; decides the draws of a stochastic model, with ``seed``.
        seed: seed of the evaluation.
        passes: passes over which the images of a stochastic model are judged.
        adversarial: mapping that receives the images of each threat model; ``None`` to drop them.
    """
    # images draw their own numbers, a stochastic model those of its chunk
    seed_parts: tuple[object, ...] = (seed, job.attack.name)
    if job.raised_from is not None:
        # other random starts than those of the attack that it continues
        seed_parts += ("raised", passes_of(job.attack))
    attack = replace(job.attack, seed=derive(*seed_parts))
    threat_model = THREATS[unit[0]]
    routes = threat_model.ways(scene, attack)
    rows = _attacked(job, unit, clean, images.device)
    victim = threat_model.judge(scene.model)
    if adversarial is not None:
        adversarial.update(dict.fromkeys(unit, images))
    with seeded(*seed_parts, start, unit[0], device=images.device):
        begun = time.monotonic()
        if not rows.any():
            nothing = [0.0] * len(images)
            part = Part(robust=[0] * len(images), right=nothing, distances=nothing)
            return Chunk(parts=dict.fromkeys(unit, part))
        judge = victim if from_outside(threat_model.routes) else None
        result, components = run_routes(routes, images[rows], labels[rows], attack=attack, judge=judge)
        if adversarial is not None:
            whole = images.clone()
            whole[rows] = result.images.to(images)
            adversarial.update(dict.fromkeys(unit, whole))
        parts = {}
        for threat in unit:
            if threat == "oblivious":
                parts[threat] = _oblivious(scene.model, result, rows, images, labels, passes)
            else:
                right = _judge(victim, result, labels[rows], passes)
                part = _part(result, rows, images, right, components if _has_several(routes) else [])
                parts[threat] = part.model_copy(update={"seconds": time.monotonic() - begun})
    return Chunk(parts=parts)


def _attacked(job: Job, unit: tuple[str, ...], clean: Outcomes, device: torch.device) -> Tensor:
    """Mask of the images to attack, bool ``[N]``."""
    alone, defended = (
        torch.tensor(clean[name], dtype=torch.bool, device=device) for name in ("undefended", "defended")
    )
    if unit[0] not in SHARED:
        return defended
    return (alone | defended if "oblivious" in unit else alone) | (job.norm == "noise")


def _has_several(routes: Sequence[Route]) -> bool:
    return any((route.name, route.loss) != ("own", "own") for route in routes) or len(routes) > 1


def _part(
    result: AttackResult, rows: Tensor, images: Tensor, right: Tensor, components: list[Component]
) -> Part:
    count, attacked = len(images), rows.cpu()
    shares, distances = torch.zeros(2, count, dtype=torch.float32)
    shares[attacked] = right.float().cpu()
    distances[attacked] = (result.images - images[rows]).square().sum((1, 2, 3)).sqrt().float().cpu()
    return Part(
        robust=(shares > 0.5).int().tolist(),
        right=shares.tolist(),
        forwards=result.forwards,
        backwards=result.backwards,
        distances=distances.tolist(),
        components=tuple(components),
        warnings=result.warnings,
    )


@torch.no_grad()
def _judge(model: nn.Module, result: AttackResult, labels: Tensor, passes: int) -> Tensor:
    """Share of correct passes per image; the attack's own verdict if one pass decides."""
    if passes == 1:
        return ~result.broken
    return share_right(model, result.images, labels, passes)


def share_right(model: nn.Module, images: Tensor, labels: Tensor, passes: int) -> Tensor:
    """Share of ``passes`` in which ``model`` classifies each image correctly, ``[N]``."""
    right = [correct(full_precision_logits(model, images), labels) for _ in range(passes)]
    return torch.stack(right).float().mean(0)


@torch.no_grad()
def _oblivious(
    model: nn.Module, result: AttackResult, rows: Tensor, images: Tensor, labels: Tensor, passes: int
) -> Part:
    """Purify the images made against the classifier alone, and judge the defended model on them."""
    assert isinstance(model, Defended)
    begun = time.monotonic()
    purified = model.purify(result.images.clone())
    if passes == 1 and model.by_parts:
        right = correct(logits_of(model.classifier, purified), labels[rows])
    else:
        right = share_right(model, result.images, labels[rows], passes)
    shown = {"attacked": result.images, "attacked, purified": purified}
    quality = {
        name: {key: value.tolist() for key, value in image_quality(pictures, images[rows]).items()}
        for name, pictures in shown.items()
    }
    part = _part(result, rows, images, right, [])
    forwards = part.forwards + passes * len(purified)
    seconds = time.monotonic() - begun
    return part.model_copy(update={"forwards": forwards, "quality": quality, "seconds": seconds})


def merge(job: Job, chunks: Sequence[Chunk], clean: Outcomes, *, seed: int, passes: int = 1) -> list[Cell]:
    """Put the chunks of all processes together, one cell per threat model."""
    return [
        _cell(job, threat, [chunk.parts[threat] for chunk in chunks], clean, seed, passes)
        for threat in chunks[0].parts
    ]


def _cell(job: Job, threat: str, parts: Sequence[Part], clean: Outcomes, seed: int, passes: int) -> Cell:
    outcomes = [value for part in parts for value in part.robust]
    unattacked: Sequence[int] = [1] * len(outcomes)
    if job.norm != "noise":
        # an attacker may leave an image as it is
        unattacked = clean["undefended" if threat == "undefended" else "defended"]
        outcomes = [a & b for a, b in zip(outcomes, unattacked, strict=True)]
    rounded = [value for part in parts for value in part.rounded]
    right = [value for part in parts for value in part.right]
    distances = [value for part in parts for value in part.distances]
    before = None if job.raised_from is None else getattr(job.raised_from.attack, "steps", None)
    settings = {key: value for key, value in settings_of(job.attack).items() if key != "name"}
    return Cell(
        attack=job.attack.name,
        eps=job.eps,
        norm=job.norm,
        threat=threat,
        outcomes=tuple(outcomes),
        settings=AttackSettings(**settings),
        forwards=sum(part.forwards for part in parts),
        backwards=sum(part.backwards for part in parts),
        seconds=round(sum(part.seconds for part in parts), 3),
        mean_l2=sum(distances) / len(distances),
        components=tuple(_components(parts)),
        warnings=tuple(dict.fromkeys(line for part in parts for line in part.warnings)),
        quality=tuple(_quality(job, parts)),
        seed=seed,
        passes=passes,
        pass_accuracy=sum(right) / len(right) if passes > 1 else None,
        **({"every_pass": _every_pass(outcomes, right)} if passes > 1 else {}),
        raised_from=before,
        score=Score.of(outcomes),
        **({"rounded": _rounded(outcomes, rounded, unattacked)} if rounded else {}),
    )


def _every_pass(outcomes: Sequence[int], right: Sequence[float]) -> float:
    """Share of the images that no pass misclassified: broken once is broken for who may try again."""
    return sum(robust for robust, share in zip(outcomes, right, strict=True) if share == 1) / len(right)


def _rounded(outcomes: Sequence[int], rounded: Sequence[int], clean: Sequence[int]) -> Rounded:
    rows = [(a, b & c) for a, b, c in zip(outcomes, rounded, clean, strict=True)]
    broken = [b for (a, b), c in zip(rows, clean, strict=True) if c and not a]
    return Rounded(broken=len(broken), survived=broken.count(0), outcomes=tuple(b for _, b in rows))


def _components(parts: Sequence[Part]) -> list[Component]:
    sums: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for part in parts:
        for component in part.components:
            names = component.to_json()
            key = tuple((name, names[name]) for name in ("surrogate", "loss", "reset") if name in names)
            pair = sums.setdefault(key, [0, 0])
            pair[0] += component.attacked
            pair[1] += component.broken
    return [
        Component(**dict(key), attacked=attacked, broken=broken) for key, (attacked, broken) in sums.items()
    ]


def _quality(job: Job, parts: Sequence[Part]) -> list[Quality]:
    budget = "" if job.eps is None else f" eps {format_eps(job.eps)}"
    name = f"{stepped_name(job.attack)}{budget}"
    # a chunk without attacked images has no quality
    shown = [part.quality for part in parts if part.quality]
    return [
        quality
        for kind in (shown[0] if shown else ())
        for quality in mean_quality(f"{name}: {kind}", [each[kind] for each in shown])
    ]
