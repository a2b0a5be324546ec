"""Whether the gradients that an attack follows exist and lead anywhere (group B)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks import SignAttack
from purespike.attacks.objective import attacked, cross_entropy, margin
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.neurons import MultiLevelFiring, firing_rates, surrogate_gradient

ATHALYE = "Athalye et al. 2018, Obfuscated Gradients Give a False Sense of Security"
SWEEP = (
    "rectangle(width=0.5)",
    "rectangle(width=1)",
    "rectangle(width=2)",
    "triangle(width=1)",
    "atan(alpha=2)",
)


def _gradients(level: str, seen: str, advice: str) -> Finding:
    return Finding("gradients", "gradients", level, seen, advice, ATHALYE)


DETACHED = _gradients(
    "unreliable",
    "autograd finds no path from the logits to the images",
    "something on the way is detached; give the attacker a differentiable path (bpda) or an attack without "
    "gradients (square)",
)


def check_gradients(
    model: nn.Module, images: Tensor, labels: Tensor, limits: Limits = DEFAULT_LIMITS
) -> list[Finding]:
    """Are logits connected to the images, and for how many of them does the gradient vanish?

    Args:
        model: images to logits.
        images: some that the model classifies correctly, ``[N, C, H, W]``.
        labels: their classes.
        limits: what is still accepted.
    """
    with attacked(model), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        logits = model(leaf)
        if not logits.requires_grad:
            return [DETACHED]
        (by_entropy,) = torch.autograd.grad(
            cross_entropy(logits.float(), labels).sum(), leaf, retain_graph=True, allow_unused=True
        )
        (by_margin,) = torch.autograd.grad(margin(logits.float(), labels).sum(), leaf, allow_unused=True)
    if by_entropy is None or by_margin is None:
        return [DETACHED]
    if not (by_entropy.isfinite().all() and by_margin.isfinite().all()):
        return [
            _gradients(
                "unreliable", "gradients are NaN or infinite", "mend the model: an attack stands still on NaN"
            )
        ]
    vanished, flat = (_zero(gradient) for gradient in (by_margin, by_entropy))
    saturated = flat - vanished
    found = [_share(vanished, limits)]
    if saturated > limits.zero_gradients:
        found.append(
            Finding(
                "saturated cross-entropy",
                "gradients",
                "suspicious",
                f"the cross-entropy has no gradient on {saturated:.0%} of the images, where the margin "
                "has one: the logits are so large that its softmax is exactly one",
                "judge by the margin loss alone; numbers under cross-entropy are worthless here",
                "Carlini & Wagner 2017",
            )
        )
    return found


def _zero(gradient: Tensor) -> float:
    return (gradient.flatten(1).abs().amax(1) == 0).float().mean().item()


def _share(vanished: float, limits: Limits) -> Finding:
    level = "suspicious" if vanished > limits.zero_gradients else "reliable"
    return _gradients(
        "unreliable" if vanished > limits.masked else level,
        f"the gradient is exactly zero on {vanished:.0%} of the images",
        "the model rounds or saturates: differentiate it otherwise (bpda, wider surrogates), or use square",
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
    neurons = [module for module in model.modules() if isinstance(module, MultiLevelFiring)]
    if not neurons:
        return []
    own = str(neurons[0].surrogate)
    broken: dict[str, Tensor] = {}
    for surrogate in dict.fromkeys((own, *used, *SWEEP)):
        with surrogate_gradient(model, surrogate):
            broken[surrogate] = replace(attack, stop_early=True)(model, images, labels).success
    shares = {name: success.float().mean().item() for name, success in broken.items()}
    best = max(shares, key=lambda name: shares[name])
    behind = shares[best] - shares[own]
    source = "Bu et al., and the sweep this project measured: the attacker's surrogate decides the number"
    seen = f"own surrogate {own} breaks {shares[own]:.0%} of {len(images)} images, {best} {shares[best]:.0%}"
    advice = "report the worst case over surrogates (threat model adaptive), never the model's own alone"
    level = "suspicious" if behind > limits.spread + 0.5 / len(images) else "reliable"
    found = [Finding("surrogate", "gradients", level, seen, advice, source)]

    union = torch.stack([broken[name] for name in dict.fromkeys((own, *used))]).any(0)
    missed = (torch.stack(list(broken.values())).any(0) & ~union).float().mean().item()
    if missed > limits.gain + 0.5 / len(images):
        found.append(
            Finding(
                "surrogate ensemble",
                "gradients",
                "suspicious",
                f"surrogates outside the ensemble break a further {missed:.0%}",
                f"add them: {', '.join(name for name in broken if name not in used)}",
                source,
            )
        )
    return found


def check_neurons(model: nn.Module, images: Tensor) -> list[Finding]:
    """Is a whole layer of neurons silent or saturated?"""
    rates = firing_rates(model, images)
    if not rates:
        return []
    silent = [name for name, rate in rates.items() if rate < 1e-3]
    saturated = [name for name, rate in rates.items() if rate > 0.999]
    if silent or saturated:
        level = "suspicious"
        seen = f"silent layers: {', '.join(silent) or 'none'}; saturated: {', '.join(saturated) or 'none'}"
    else:
        level = "reliable"
        seen = (
            f"{len(rates)} layers fire at rates from {min(rates.values()):.1%} to {max(rates.values()):.1%}"
        )
    advice = "such a layer passes no information and hardly a gradient: train with a better initialisation"
    return [Finding("neurons", "gradients", level, seen, advice, "census of this project")]
