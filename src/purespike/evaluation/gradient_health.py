"""Whether the gradients that an attack follows exist, and at which size (group B)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks import SignAttack
from purespike.attacks.objective import cross_entropy, frozen_eval, margin
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits

ATHALYE = "Athalye et al. 2018, Obfuscated Gradients Give a False Sense of Security"
CARLINI_WAGNER = "Carlini & Wagner 2017, Towards Evaluating the Robustness of Neural Networks"


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
    """Are logits connected to the images, and for how many images and pixels does the gradient vanish?

    Args:
        model: images to logits.
        images: some that the model classifies correctly, ``[N, C, H, W]``.
        labels: their classes.
        limits: what is still accepted.
    """
    with frozen_eval(model), torch.enable_grad():
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
    found = [_share(vanished, limits), _pixels(by_margin, limits)]
    if saturated > limits.zero_gradients:
        found.append(
            Finding(
                "saturated cross-entropy",
                "gradients",
                "suspicious",
                f"the cross-entropy has no gradient on {saturated:.0%} of the images, where the margin "
                "has one: the logits are so large that its softmax is exactly one",
                "judge by the margin loss alone; numbers under cross-entropy are worthless here",
                CARLINI_WAGNER,
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


def _pixels(gradient: Tensor, limits: Limits) -> Finding:
    """Of the images that have a gradient at all; the others are counted already."""
    alive = gradient.flatten(1)[gradient.flatten(1).abs().amax(1) > 0]
    share = (alive == 0).float().mean().item() if len(alive) else 0.0
    return Finding(
        "pixels without gradient",
        "gradients",
        "suspicious" if share > limits.zero_pixels else "reliable",
        f"the gradient of {share:.0%} of the pixels is exactly zero, where an image has one at all",
        "signed steps leave such pixels as they are: look for what stops the gradient (clipping, dead units, "
        "narrow surrogates), or use square",
        ATHALYE,
    )


def check_norms(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: SignAttack,
    limits: Limits = DEFAULT_LIMITS,
) -> Finding:
    """Is the loss as steep at the images as around them, or does each sit in a flat spot?

    Norms are L2, of the gradient of the margin, which does not saturate as the cross-entropy does.

    Args:
        model: images to logits, differentiable.
        images: some that the model classifies correctly, ``[N, C, H, W]``.
        labels: their classes.
        attack: whose ball the random points are drawn from.
        limits: what is still accepted.
    """
    around = attack.ball.sample(images, seed=attack.seed)
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    here, there = (
        torch.quantile(_norms(model, points, labels).cpu(), quantiles).tolist() for points in (images, around)
    )
    flat = here[1] < limits.flat * there[1]
    return Finding(
        "size of gradients",
        "gradients",
        "suspicious" if flat else "reliable",
        f"gradient norms (10%, 50%, 90% of the images): {_three(here)} at the images, {_three(there)} at "
        "random points around them",
        "the images sit in flat spots: start at random, with several restarts",
        "Tramèr et al. 2018, Ensemble Adversarial Training",
    )


def _norms(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with frozen_eval(model), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(margin(model(leaf).float(), labels).sum(), leaf)
    return torch.linalg.vector_norm(gradient.float().flatten(1), dim=1)


def _three(values: list[float]) -> str:
    return ", ".join(f"{value:.2g}" for value in values)


class _Divided(nn.Module):
    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).float() / self.scale


def check_scale(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    standing: Tensor,
    *,
    attack: SignAttack,
    limits: Limits = DEFAULT_LIMITS,
) -> Finding:
    """Does dividing the logits by their standard deviation, which changes no prediction, break more?

    The cross-entropy is run on both. What the evaluation's own attack left standing decides: where that used
    the margin as well, large logits have hidden nothing from it.

    Args:
        model: images to logits.
        images: some that the model classifies correctly, ``[N, C, H, W]``.
        labels: their classes.
        standing: bool ``[N]``, what the evaluation's attack left.
        attack: run twice.
        limits: what is still accepted.
    """
    with torch.no_grad():
        deviation = model(images).float().std().clamp(min=1e-12).item()
    by_entropy = replace(attack, loss="ce", stop_early=True)
    plain = by_entropy(model, images, labels).success
    divided = by_entropy(_Divided(model, deviation).eval(), images, labels).success
    missed = int((divided & standing).sum())
    return Finding(
        "scale of the logits",
        "gradients",
        "suspicious" if missed > limits.allowed(len(images)) else "reliable",
        f"the cross-entropy breaks {int(plain.sum())} of {len(images)} images, of logits divided by their "
        f"standard deviation ({deviation:.3g}) {int(divided.sum())}, {missed} of them left by the evaluation",
        "the size of the logits hides the gradient: add the margin to the losses, or apgd_dlr to the attacks",
        f"{CARLINI_WAGNER}; Croce & Hein 2020",
    )
