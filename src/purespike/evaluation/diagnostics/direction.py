"""Whether the gradient points where the loss really rises (group B)."""

import contextlib
import math
from collections.abc import Iterator

import torch
from scipy.stats import t as student
from torch import Tensor, nn

from purespike.attacks import spsa_gradient
from purespike.attacks.objective import frozen_eval, margin
from purespike.evaluation.diagnostics.examination import Examination, input_gradient_of_margin
from purespike.evaluation.diagnostics.rule import rule
from purespike.models.answer import logits_of
from purespike.neurons import surrogate_gradient
from purespike.results import Finding
from purespike.seeding import generator

# random directions, and the fewest along which the loss must change to be judged by
DIRECTIONS, FEWEST = 48, 12
# images; a few will do
POINTED = 8


def _passes(e: Examination) -> int:
    return min(len(e), POINTED) * (2 * DIRECTIONS + 3 * (1 + len(e.surrogates)))


@rule(order=80, passes=_passes)
def check_direction(e: Examination) -> Iterator[Finding]:
    r"""Along random directions, does the gradient tell up from down?

    A direction v is one sample of SPSA: the loss is measured at :math:`x \pm \delta v`, and the gradient g is
    right if :math:`g \cdot v` has the sign of the difference. The cosine between g and the mean of S samples
    says less: in d dimensions even the true gradient reaches about :math:`\sqrt{S / (S + d)}` only, and
    there is no telling how much of the rest is the estimate's own error. An uninformative gradient gets half
    of the signs right. Directions are independent, images share them; so shares of right signs per direction
    enter a one-sided t test against one half. Images whose loss does not change along a direction are left
    out of it.

    The budget of the attack sets the probe: half of it, in L2 half of its length. Where the attacker has
    several surrogates, the best of them is judged.
    """
    model, images, labels = e.first(POINTED)
    delta = min(max(e.attack.ball.per_pixel(images[0].numel()) / 2, 1e-3), 1.0)
    draw = generator(e.attack.seed, "directions")

    def loss(probes: Tensor) -> Tensor:
        return margin(logits_of(model, probes), labels)

    with frozen_eval(model):
        samples = torch.stack(
            [spsa_gradient(loss, images, samples=1, delta=delta, generator=draw) for _ in range(DIRECTIONS)]
        ).double()
    names = ["own", *e.surrogates]
    judged = {}
    for name in names:
        with surrogate_gradient(model, name) if name != "own" else contextlib.nullcontext():
            judged[name] = _judge(input_gradient_of_margin(model, images, labels).double(), samples)
    best = max(judged, key=lambda name: judged[name][0])
    share, error, cosine, directions = judged[best]
    ceiling = math.sqrt(DIRECTIONS / (DIRECTIONS + images[0].numel()))
    least = share - error * float(student.ppf(1 - e.thresholds.significance, max(directions - 1, 1)))
    who = f"the gradient ({best})" if len(names) > 1 else "the gradient"
    if directions < FEWEST:
        message = (
            f"the loss changes along {directions} of {DIRECTIONS} random directions only: too few to judge by"
        )
    else:
        message = (
            f"{who} has the right sign along {share:.0%} ± {error:.0%} of {directions} random directions; "
            f"its cosine with SPSA is {cosine:.2f}, of at most about {ceiling:.2f}"
        )
    yield Finding(
        name="direction of the gradient",
        group="gradients",
        level="suspicious" if directions >= FEWEST and least <= 0.5 else "reliable",
        message=message,
        advice="the gradient says nothing about the loss: other surrogates, bpda, or an attack without "
        "gradients (square, spsa)",
        source="Uesato et al. 2018, Adversarial Risk and the Dangers of Evaluating Against Weak Attacks",
    )


def _judge(gradient: Tensor, samples: Tensor) -> tuple[float, float, float, int]:
    """Share of right signs, its standard error, mean cosine with the samples' mean, and usable directions.

    Args:
        gradient: ``[N, C, H, W]``.
        samples: one-sample estimates, ``[S, N, C, H, W]``.
    """
    products = (gradient * samples).sum((2, 3, 4))
    changes = samples.abs().amax((2, 3, 4)) > 0
    usable = changes.any(1)
    # a gradient of zero guesses
    right = (products > 0).double() + 0.5 * (products == 0).double()
    shares = (right * changes).sum(1)[usable] / changes.sum(1)[usable]
    cosine = nn.functional.cosine_similarity(gradient.flatten(1), samples.mean(0).flatten(1), dim=1).mean()
    if len(shares) < 2:
        return 0.5, 0.0, cosine.item(), len(shares)
    error = shares.std() / math.sqrt(len(shares))
    return shares.mean().item(), error.item(), cosine.item(), len(shares)
