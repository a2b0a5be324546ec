"""Whether the surrogate that the attacker differentiates decides the number (group B)."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.neurons import (
    accepts,
    exchangeable_neurons,
    foreign_neurons,
    parse_surrogate,
    spiking_neurons,
    surrogate_gradient,
)
from purespike.results import Finding

# narrow and wide, of all shapes; through time, through rates, and adapting to the membranes
SWEEP = (
    "rectangle(width=0.5)",
    "rectangle(width=1)",
    "rectangle(width=2)",
    "rectangle(width=4)",
    "triangle(width=0.5)",
    "triangle(width=1)",
    "triangle(width=2)",
    "atan(alpha=1)",
    "atan(alpha=2)",
    "atan(alpha=5)",
    "ratebased",
    "bptr",
    "pdsg",
    "assg",
    "hart",
)
# images of the sweep
SWEPT = 16
# the surrogate with which another library's neurons came
OWN = "as trained"


def _passes(e: Examination) -> int:
    return e.cost(e.side, min(len(e), SWEPT), routes=len(_tried(e)))


@rule(order=100, passes=_passes)
def check_surrogates(e: Examination) -> Iterator[Finding]:
    """Does the surrogate that the attacker differentiates decide the number?

    Without neurons whose surrogate can be exchanged there is nothing to check.
    """
    model, images, labels = e.first(SWEPT)
    names = _tried(e)
    if not names:
        return
    count = len(images)
    own = names[0]
    broken: dict[str, Tensor] = {}
    if own == OWN:
        broken[own] = replace(e.side, stop_early=True)(model, images, labels).success
    for surrogate in names[own == OWN :]:
        # a surrogate's memory of each image is lost when others leave the batch
        early = not parse_surrogate(surrogate).remembers
        with surrogate_gradient(model, surrogate):
            broken[surrogate] = replace(e.side, stop_early=early)(model, images, labels).success
    shares = {name: success.float().mean().item() for name, success in broken.items()}
    best, worst = (choose(shares, key=lambda name: shares[name]) for choose in (max, min))
    source = "Bu et al., and the sweep this project measured: the attacker's surrogate decides the number"
    behind = int((broken[best].sum() - broken[own].sum()).item())
    yield Finding(
        name="surrogate",
        group="gradients",
        level="suspicious" if behind > e.thresholds.allowed(count, e.thresholds.spread) else "reliable",
        message=f"own surrogate {own} breaks {shares[own]:.0%} of {count} images; of {len(shares)} tried "
        f"{worst} the fewest ({shares[worst]:.0%}) and {best} the most ({shares[best]:.0%}), a spread of "
        f"{100 * (shares[best] - shares[worst]):.0f} points",
        advice="report the worst case over surrogates (threat model adaptive), never the model's own alone",
        source=source,
    )
    union = torch.stack([broken[name] for name in dict.fromkeys((own, *e.surrogates))]).any(0)
    others = {name: int((success & ~union).sum()) for name, success in broken.items()}
    missed = int((torch.stack(list(broken.values())).any(0) & ~union).sum())
    yield Finding(
        name="surrogate ensemble",
        group="gradients",
        level="suspicious" if missed > e.thresholds.allowed(count) else "reliable",
        message=f"surrogates outside the ensemble break {missed} of {count} images beyond it",
        advice=f"add them: {', '.join(name for name in others if others[name])}",
        source=source,
    )


def _tried(e: Examination) -> list[str]:
    """Surrogates of the sweep, the model's own first; none without neurons that take another."""
    if not exchangeable_neurons(e.model):
        return []
    names = [*e.surrogates, *SWEEP]
    # those of other libraries have no written form
    own = OWN if foreign_neurons(e.model) else str(spiking_neurons(e.model)[0].surrogate)
    return list(dict.fromkeys((own, *filter(partial(accepts, e.model), names))))
