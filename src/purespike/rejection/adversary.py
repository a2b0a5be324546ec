"""The attacker who knows the gate: every way through the model, surrogate, loss and way with the gate."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from purespike.attacks import Attack, AttackResult
from purespike.attacks.adaptive import adaptive_routes, guess_routes
from purespike.attacks.bpda import GuessBackward, guess_of
from purespike.attacks.gate import GATES, passes_and_misses
from purespike.attacks.objective import frozen_eval
from purespike.attacks.precision import achieved
from purespike.attacks.routes import Route
from purespike.rejection.gated import Gated, threshold_of
from purespike.rejection.rejecting import Rejecting
from purespike.rejection.seen import Seen
from purespike.seeding import derive

UNPURIFIED, PURIFIED = "unpurified", "purified"


class Way(nn.Module):
    """Images to logits along one way through a model, and the margin by which they go it, ``[N, K + 1]``.

    The margin is not negative exactly where the model goes this way and accepts the image.

    Args:
        gate: a ``Rejecting``, or a ``Gated``, or a ``Rejecting`` of one.
        branch: branch of the ``Gated``, ``"unpurified"`` or ``"purified"``; empty without one.
        unit: score that counts as 1 in the margin, so that penalties have a scale.
    """

    def __init__(self, gate: nn.Module, branch: str = "", *, unit: float = 1.0) -> None:
        super().__init__()
        self.gate, self.branch, self.unit = gate, branch, unit

    def forward(self, images: Tensor) -> Tensor:
        inner = self.gate.model if isinstance(self.gate, Rejecting) else self.gate
        seen = Seen(inner, images)
        margin = torch.full((len(images),), torch.inf, device=images.device)
        logits = None
        if isinstance(inner, Gated):
            excess = self._excess(inner, seen)
            # exactly at the threshold an image stays unpurified
            flagged = torch.where(excess > 0, excess, excess - torch.finfo(excess.dtype).tiny)
            margin = flagged if self.branch == PURIFIED else -excess
            logits = seen.purified_logits if self.branch == PURIFIED else seen.bare_logits
        if isinstance(self.gate, Rejecting):
            margin = torch.minimum(margin, -self._excess(self.gate, seen))
        logits = seen.logits if logits is None else logits
        return torch.cat((logits, margin[:, None].to(logits.dtype)), 1)

    def _excess(self, gate: Rejecting | Gated, seen: Seen) -> Tensor:
        """Score above the threshold, in units."""
        return (gate.score(seen, gate.reference) - threshold_of(gate)) / self.unit


def ways(model: nn.Module, *, unit: float = 1.0) -> list[Way]:
    """Every way through ``model``: of a ``Gated``, also inside a ``Rejecting``, one per branch."""
    inner = model.model if isinstance(model, Rejecting) else model
    branches = (UNPURIFIED, PURIFIED) if isinstance(inner, Gated) else ("",)
    return [Way(model, branch, unit=unit) for branch in branches]


def gate_routes(
    model: nn.Module,
    attack: Attack,
    *,
    surrogates: Sequence[str],
    losses: Sequence[str],
    unit: float = 1.0,
) -> list[Route]:
    """Routes that win only with images accepted and misclassified; the worst of all per image counts.

    Where the purifier has an encoder, its guess is differentiated in place of the logits as well.

    Args:
        model: a ``Rejecting`` or a ``Gated``.
        attack: attack that follows the routes, with the setting ``gate``.
        surrogates: surrogates that are differentiated.
        losses: names of attack losses.
        unit: see :class:`Way`.
    """
    found = []
    guess = guess_of(model)
    for gate in GATES:
        for way in ways(model, unit=unit):
            routes = adaptive_routes(way, attack, surrogates=surrogates, losses=losses)
            if guess is not None and way.branch != UNPURIFIED:
                routes += guess_routes(GuessBackward(way, guess, own=True), losses)
            found += [_through(route, way, gate) for route in routes]
    return found


def _through(route: Route, way: Way, gate: str) -> Route:
    """``route`` with one way with the gate, judged by the way's own surrogates."""

    def run(attack: Attack, images: Tensor, labels: Tensor) -> AttackResult:
        # a sign step may circle around a narrow way: each start is another
        aware: Any = replace(attack, gate=gate, seed=derive(attack.seed, gate))
        result = route.run(aware, images, labels)
        # a score that attacks inside has other values under the surrogate of the attacker
        with frozen_eval(way):
            success = achieved(way, result.images, labels, reached=passes_and_misses)
        return replace(result, success=success, forwards=result.forwards + len(images))

    how = "selective gradient" if gate == GATES[0] else f"penalty {gate}"
    loss = ", ".join(part for part in (route.loss, way.branch, how) if part)
    return replace(route, loss=loss, run=run)


class Refused(nn.Module):
    """Two logits ``[N, 2]`` with the second in front exactly where an image is rejected.

    An attack on the first class makes images be rejected, and needs no labels.
    """

    def __init__(self, gate: Rejecting, *, unit: float = 1.0) -> None:
        super().__init__()
        self.gate, self.unit = gate, unit

    def forward(self, images: Tensor) -> Tensor:
        excess = (self.gate.scores(images) - threshold_of(self.gate)) / self.unit
        excess = torch.where(excess > 0, excess, excess - torch.finfo(excess.dtype).tiny)
        return torch.stack((torch.zeros_like(excess), excess), 1)
