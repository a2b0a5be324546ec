"""Clean and attacked images before a model with a gate, in chunks that are kept."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor, nn

from purespike.attacks.adaptive import adaptive_routes
from purespike.attacks.gradient import SignAttack
from purespike.attacks.objective import frozen_eval
from purespike.attacks.protocol import recorded
from purespike.attacks.routes import Route, direct, run_routes
from purespike.attacks.transfer import full_strength
from purespike.chunks import Json, Store, chunk_results, chunks
from purespike.models.answer import correct, logits_of
from purespike.models.identity import identity
from purespike.rejection.adversary import Refused, gate_routes
from purespike.rejection.gated import Gated, threshold_of
from purespike.rejection.rejecting import Rejecting
from purespike.results import Component, Record
from purespike.results.record import Count, Number, Outcome
from purespike.seeding import derive, seeded


class Judged(Record):
    """Verdicts on one chunk: score, whether it passes the gate, is answered and right, a value per image."""

    scores: list[Number]
    passed: list[Outcome]
    answered: list[Outcome]
    right: list[Outcome]
    components: list[Component] = Field(default_factory=list)
    forwards: Count = 0
    backwards: Count = 0
    seconds: Number = 0.0
    warnings: tuple[str, ...] = ()


def judge(model: nn.Module, images: Tensor, labels: Tensor) -> Judged:
    """The verdict of a ``Rejecting`` or ``Gated``, which answers always, on each image."""
    with frozen_eval(model), torch.no_grad():
        if isinstance(model, Rejecting):
            logits, accept, scores = model.decide(images)
            answered = accept
        else:
            logits, scores = logits_of(model, images), model.scores(images)  # type: ignore[operator]
            accept, answered = scores <= threshold_of(model), torch.ones_like(labels, dtype=torch.bool)
        # a file holds finite numbers
        finite = scores.clamp(max=torch.finfo(torch.float32).max)
        return Judged(
            scores=finite.double().tolist(),
            passed=accept.int().tolist(),
            answered=answered.int().tolist(),
            right=correct(logits, labels).int().tolist(),
        )


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The model, its images and its attackers' means; chunks do not depend on the number of processes.

    Args:
        model: a ``Rejecting`` or a ``Gated``.
        images: ``[N, C, H, W]``.
        labels: true classes, ``[N]``.
        surrogates: surrogates of the adaptive attacker.
        losses: its losses.
        batch_size: images per chunk.
        seed: seed of every draw.
        accelerator: device and processes.
        store: place of finished chunks.
    """

    model: Rejecting | Gated
    images: Tensor
    labels: Tensor
    surrogates: Sequence[str]
    losses: Sequence[str]
    batch_size: int
    seed: int
    accelerator: Accelerator
    store: Store

    def clean(self) -> Judged:
        """Verdicts on the images as they are."""
        return self._all(["clean"], lambda images, labels: judge(self.model, images, labels))

    def oblivious(self, attack: SignAttack, done: Callable[[int], None]) -> Judged:
        """Verdicts on images made against the classifier alone, at full strength."""

        def routes() -> list[Route]:
            return [direct_at_full_strength(self.model.classifier)]

        return self._attacked("oblivious", attack, routes, done)

    def adaptive(self, attack: SignAttack, unit: float, done: Callable[[int], None]) -> Judged:
        """Verdicts on images of the attacker who knows the gate; see :func:`gate_routes`."""

        def routes() -> list[Route]:
            return gate_routes(self.model, attack, surrogates=self.surrogates, losses=self.losses, unit=unit)

        return self._attacked("adaptive", attack, routes, done, unit, [*self.surrogates, *self.losses])

    def refused(self, attack: SignAttack, unit: float, done: Callable[[int], None]) -> Judged:
        """Verdicts on images made to be rejected."""
        assert isinstance(self.model, Rejecting)
        refused = Refused(self.model, unit=unit)

        def routes() -> list[Route]:
            found = adaptive_routes(refused, attack, surrogates=self.surrogates, losses=["margin"])
            return [_on_the_first_class(route) for route in found]

        return self._attacked("refused", attack, routes, done, unit, list(self.surrogates))

    def _attacked(
        self,
        kind: str,
        attack: SignAttack,
        routes: Callable[[], list[Route]],
        done: Callable[[int], None],
        *more: Any,
    ) -> Judged:
        def compute(images: Tensor, labels: Tensor) -> Judged:
            begun = time.monotonic()
            seeded_attack = replace(attack, seed=derive(self.seed, attack.name))
            found, components = run_routes(routes(), images, labels, attack=seeded_attack)
            judged = judge(self.model, found.images, labels)
            return judged.model_copy(
                update={
                    "components": components,
                    "forwards": found.forwards,
                    "backwards": found.backwards,
                    "seconds": time.monotonic() - begun,
                    "warnings": found.warnings,
                }
            )

        return self._all([kind, recorded(attack), *more], compute, done)

    def _all(
        self,
        key: list[Any],
        compute: Callable[[Tensor, Tensor], Judged],
        done: Callable[[int], None] = lambda count: None,
    ) -> Judged:
        """The result of ``compute`` on all chunks as one; finished ones are read back."""

        def made(start: int, images: Tensor, labels: Tensor) -> Judged:
            with seeded(self.seed, key[0], start, device=images.device):
                return compute(images, labels)

        parts = chunks(self.images, self.labels, self.batch_size, self.accelerator)
        return _joined(
            chunk_results(parts, self.store, Json(Judged), key, made, complete=_complete, done=done)
        )


def store_for(folder: Any, model: nn.Module, *decided_by: Any) -> Store:
    """The store of an evaluation of ``model``."""
    return Store(folder, "rejection", identity(model), *decided_by)


def direct_at_full_strength(classifier: nn.Module) -> Route:
    """Attack a classifier for the highest loss: an image just misclassified may be rejected or repaired."""
    route = direct(classifier)

    def run(attack: SignAttack, images: Tensor, labels: Tensor) -> Any:
        return full_strength(attack)(classifier, images, labels)

    return replace(route, run=run)  # type: ignore[arg-type]


def _on_the_first_class(route: Route) -> Route:
    return replace(
        route, run=lambda attack, images, labels: route.run(attack, images, torch.zeros_like(labels))
    )


def _complete(row: Judged, count: int) -> bool:
    return all(len(each) == count for each in (row.scores, row.passed, row.answered, row.right))


def _joined(rows: Sequence[Judged]) -> Judged:
    components: dict[tuple[str, str, str | None], Component] = {}
    for part in (part for row in rows for part in row.components):
        key = (part.surrogate, part.loss, part.reset)
        former = components.get(key)
        if former is not None:
            part = part.model_copy(
                update={"attacked": former.attacked + part.attacked, "broken": former.broken + part.broken}
            )
        components[key] = part
    lists = {
        name: [value for row in rows for value in getattr(row, name)]
        for name in ("scores", "passed", "answered", "right")
    }
    return Judged(
        **lists,
        components=list(components.values()),
        forwards=sum(row.forwards for row in rows),
        backwards=sum(row.backwards for row in rows),
        seconds=round(sum(row.seconds for row in rows), 3),
        warnings=tuple(dict.fromkeys(line for row in rows for line in row.warnings)),
    )
