"""Whether the gradients that an attack follows exist, and at which size (group B)."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.evaluation.diagnostics.examination import Examination, input_gradient_of_margin
from purespike.evaluation.diagnostics.rule import rule
from purespike.models.answer import logits_of
from purespike.results import Finding, Level

ATHALYE = "Athalye et al. 2018, Obfuscated Gradients Give a False Sense of Security"
CARLINI_WAGNER = "Carlini & Wagner 2017, Towards Evaluating the Robustness of Neural Networks"


def _gradients(
    level: Level, message: str, advice: str, *, name: str = "gradients", source: str = ATHALYE
) -> Finding:
    return Finding(name=name, group="gradients", level=level, message=message, advice=advice, source=source)


@rule(needs="images", order=50, passes=lambda e: 5 * len(e))
def check_gradients(e: Examination) -> Iterator[Finding]:
    """Are logits connected to the images, and for how many images and pixels does the gradient vanish?"""
    if e.gradients is None:
        yield _gradients(
            "unreliable",
            "autograd finds no path from the logits to the images",
            "something on the way is detached; give the attacker a differentiable path (bpda) or an attack "
            "without gradients (square)",
        )
        return
    by_entropy, by_margin = e.gradients
    if not (by_entropy.isfinite().all() and by_margin.isfinite().all()):
        yield _gradients(
            "unreliable", "gradients are NaN or infinite", "fix the model: no attack gets past a NaN"
        )
        return
    vanished, flat = (_zero(gradient) for gradient in (by_margin, by_entropy))
    few: Level = "suspicious" if vanished > e.thresholds.zero_gradients else "reliable"
    yield _gradients(
        "unreliable" if vanished > e.thresholds.masked else few,
        f"the gradient is exactly zero on {vanished:.0%} of the images",
        "the model rounds or saturates: differentiate it otherwise (bpda, wider surrogates), or use square",
    )
    yield _pixels(by_margin, e.thresholds.zero_pixels)
    saturated = flat - vanished
    if saturated > e.thresholds.zero_gradients:
        yield _gradients(
            "suspicious",
            f"the cross-entropy has no gradient on {saturated:.0%} of the images, where the margin has one: "
            "the logits are so large that its softmax is exactly one",
            "judge by the margin loss alone; numbers under cross-entropy are worthless here",
            name="saturated cross-entropy",
            source=CARLINI_WAGNER,
        )


def _zero(gradient: Tensor) -> float:
    return (gradient.flatten(1).abs().amax(1) == 0).float().mean().item()


def _pixels(gradient: Tensor, most: float) -> Finding:
    """Pixels without gradient, in images that have one; images without any are counted before."""
    alive = gradient.flatten(1)[gradient.flatten(1).abs().amax(1) > 0]
    share = (alive == 0).float().mean().item() if len(alive) else 0.0
    return _gradients(
        "suspicious" if share > most else "reliable",
        f"the gradient of {share:.0%} of the pixels is exactly zero, where an image has one at all",
        "signed steps leave such pixels as they are: look for what stops the gradient (clipping, dead units, "
        "narrow surrogates), or use square",
        name="pixels without gradient",
    )


@rule(order=70, passes=lambda e: 2 * 3 * len(e))
def check_norms(e: Examination) -> Iterator[Finding]:
    """Is the loss as steep at the images as around them, or does each sit in a flat spot?

    Norms are L2, of the gradient of the margin. The random points are drawn from the ball of the attack.
    """
    around = e.attack.ball.sample(e.images, seed=e.attack.seed)
    quantiles = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float32)
    here, there = (
        torch.quantile(_norms(e.model, points, e.labels).cpu(), quantiles).tolist()
        for points in (e.images, around)
    )
    yield _gradients(
        "suspicious" if here[1] < e.thresholds.flat * there[1] else "reliable",
        f"gradient norms (10%, 50%, 90% of the images): {_three(here)} at the images, {_three(there)} at "
        "random points around them",
        "the images sit in flat spots: start at random, with several restarts",
        name="size of gradients",
        source="Tramèr et al. 2018, Ensemble Adversarial Training",
    )


def _norms(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    gradient = input_gradient_of_margin(model, images, labels)
    return torch.linalg.vector_norm(gradient.float().flatten(1), dim=1)


def _three(values: list[float]) -> str:
    return ", ".join(f"{value:.2g}" for value in values)


class _Divided(nn.Module):
    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, images: Tensor) -> Tensor:
        return logits_of(self.model, images) / self.scale


@rule(order=90, passes=lambda e: e.cost_of_robust + len(e) + 2 * e.cost(e.side, len(e)))
def check_scale(e: Examination) -> Iterator[Finding]:
    """Does dividing the logits by their standard deviation, which changes no prediction, break more?

    The cross-entropy is run on both. The images that the evaluation's own attack left robust decide: where
    that used the margin as well, large logits have hidden nothing from it.
    """
    with torch.no_grad():
        deviation = logits_of(e.model, e.images).std().clamp(min=1e-12).item()
    by_entropy = replace(e.side, loss="ce", stop_early=True)
    plain = by_entropy(*e.given).success
    divided = by_entropy(_Divided(e.model, deviation).eval(), e.images, e.labels).success
    missed = int((divided & e.robust).sum())
    yield _gradients(
        "suspicious" if missed > e.thresholds.allowed(len(e)) else "reliable",
        f"the cross-entropy breaks {int(plain.sum())} of {len(e)} images, of logits divided by their "
        f"standard deviation ({deviation:.3g}) {int(divided.sum())}, {missed} of them beyond the evaluation",
        "the size of the logits hides the gradient: add the margin to the losses, or apgd_dlr to the attacks",
        name="scale of the logits",
        source=f"{CARLINI_WAGNER}; Croce & Hein 2020",
    )
