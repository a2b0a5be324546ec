"""Whether the derivative taken for the spike's decides the number, and whether neurons let it pass."""

import functools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks import SignAttack
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.neurons import (
    Census,
    accepts,
    membrane_census,
    parse_surrogate,
    spiking_neurons,
    surrogate_gradient,
)

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


def check_surrogates(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: SignAttack,
    used: Sequence[str],
    limits: Limits = DEFAULT_LIMITS,
) -> list[Finding]:
    """Does the derivative the attacker takes for the spike's decide the number?

    Args:
        model: images to logits; without neurons of ours there is nothing to check.
        images: some that the model classifies correctly.
        labels: their classes.
        attack: run once per surrogate.
        used: the surrogates of the evaluation itself.
        limits: what is still accepted.
    """
    neurons = spiking_neurons(model)
    if not neurons:
        return []
    own, count = str(neurons[0].surrogate), len(images)
    broken: dict[str, Tensor] = {}
    for surrogate in filter(functools.partial(accepts, model), dict.fromkeys((own, *used, *SWEEP))):
        # what a surrogate remembers of each image is lost when others leave the batch
        early = not parse_surrogate(surrogate).remembers
        with surrogate_gradient(model, surrogate):
            broken[surrogate] = replace(attack, stop_early=early)(model, images, labels).success
    shares = {name: success.float().mean().item() for name, success in broken.items()}
    best, worst = (choose(shares, key=lambda name: shares[name]) for choose in (max, min))
    source = "Bu et al., and the sweep this project measured: the attacker's surrogate decides the number"
    behind = int((broken[best].sum() - broken[own].sum()).item())
    found = [
        Finding(
            "surrogate",
            "gradients",
            "suspicious" if behind > limits.allowed(count, limits.spread) else "reliable",
            f"own surrogate {own} breaks {shares[own]:.0%} of {count} images; of {len(shares)} tried {worst} "
            f"the fewest ({shares[worst]:.0%}) and {best} the most ({shares[best]:.0%}), a spread of "
            f"{100 * (shares[best] - shares[worst]):.0f} points",
            "report the worst case over surrogates (threat model adaptive), never the model's own alone",
            source,
        )
    ]
    union = torch.stack([broken[name] for name in dict.fromkeys((own, *used))]).any(0)
    others = {name: int((success & ~union).sum()) for name, success in broken.items()}
    missed = int((torch.stack(list(broken.values())).any(0) & ~union).sum())
    found.append(
        Finding(
            "surrogate ensemble",
            "gradients",
            "suspicious" if missed > limits.allowed(count) else "reliable",
            f"surrogates outside the ensemble break {missed} of {count} images beyond it",
            f"add them: {', '.join(name for name in others if others[name])}",
            source,
        )
    )
    return found


def check_neurons(
    model: nn.Module, images: Tensor, used: Sequence[str] = (), limits: Limits = DEFAULT_LIMITS
) -> list[Finding]:
    """Does each layer of neurons pass information forwards, and a gradient backwards?

    Args:
        model: images to logits.
        images: some of them, ``[N, C, H, W]``.
        used: the surrogates of the evaluation; a layer is blocked where none of them, nor the model's own,
            lets a gradient pass.
        limits: what is still accepted.
    """
    census = membrane_census(model, images)
    if not census:
        return []
    windows = [census]
    for surrogate in used:
        with surrogate_gradient(model, surrogate):
            windows.append(membrane_census(model, images))
    silent = [name for name, layer in census.items() if layer.dead >= limits.dead]
    saturated = [name for name, layer in census.items() if layer.saturated >= limits.dead]
    blocked = [name for name in census if all(each[name].in_window < limits.window for each in windows)]
    advice = "such a layer passes no information and hardly a gradient: train with a better initialisation"
    if blocked and not (silent or saturated):
        advice = "give the adaptive attacker wider surrogates, e.g. rectangle(width=4) or atan(alpha=1)"
    lists = {"silent layers": silent, "saturated": saturated, "out of every surrogate's window": blocked}
    objections = "; ".join(f"{what}: {', '.join(names)}" for what, names in lists.items() if names)
    return [
        Finding(
            "neurons",
            "gradients",
            "suspicious" if objections else "reliable",
            f"{objections}; {_ranges(census)}" if objections else _ranges(census),
            advice,
            "census of this project",
        )
    ]


def _ranges(census: dict[str, Census]) -> str:
    def span(name: str) -> str:
        values = [getattr(layer, name) for layer in census.values()]
        return f"{min(values):.1%} to {max(values):.1%}"

    return (
        f"{len(census)} layers fire at rates from {span('rate')}, with {span('in_window')} of the membranes "
        f"in the surrogate's window, {span('dead')} of the neurons dead and {span('saturated')} saturated"
    )
