"""Whether the gradient points where the loss really rises (group B)."""

import contextlib
import math
from collections.abc import Sequence

import torch
from scipy.stats import t as student
from torch import Tensor, nn

from purespike.attacks import SignAttack, spsa_gradient
from purespike.attacks.objective import attacked, margin
from purespike.evaluation.finding import DEFAULT_LIMITS, Finding, Limits
from purespike.neurons import spiking_neurons, surrogate_gradient
from purespike.seeding import generator

# random directions, and the fewest along which the loss must change to be judged by
DIRECTIONS, FEWEST = 48, 12


def check_direction(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: SignAttack,
    used: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Finding:
    r"""Along random directions, does the gradient tell up from down?

    A direction v is one sample of SPSA: the loss is measured at :math:`x \pm \delta v`, and the gradient g is
    right if :math:`g \cdot v` has the sign of the difference. The cosine between g and the mean of S samples
    says less: in d dimensions even the true gradient reaches about :math:`\sqrt{S / (S + d)}` only, and
    there is no telling how much of what is missing is the estimate's own error. Of signs it is known that a
    gradient which says nothing gets half of them right. Directions are independent, images share them; so
    shares of right signs per direction enter a one-sided t test against one half. Images whose loss does not
    change along a direction are left out of it.

    Where the attacker has several surrogates, the best of them is judged.

    Args:
        model: images to logits, differentiable.
        images: some that the model classifies correctly, ``[N, C, H, W]``; a few will do.
        labels: their classes.
        attack: whose budget sets the probe: half of it, in L2 half of its length.
        used: the surrogates of the evaluation, tried beside the model's own.
        limits: what is still accepted.
    """
    assert isinstance(attack.eps, float)
    delta = attack.eps / 2
    if attack.norm == "l2":
        delta /= math.sqrt(images[0].numel())
    delta = min(max(delta, 1e-3), 1.0)
    draw = generator(attack.seed, "directions")

    def loss(probes: Tensor) -> Tensor:
        return margin(model(probes).float(), labels)

    with attacked(model):
        samples = torch.stack(
            [spsa_gradient(loss, images, samples=1, delta=delta, generator=draw) for _ in range(DIRECTIONS)]
        ).double()
        names = ["own", *used] if spiking_neurons(model) else ["own"]
        judged = {}
        for name in names:
            with surrogate_gradient(model, name) if name != "own" else contextlib.nullcontext():
                judged[name] = _judge(_gradient(model, images, labels).double(), samples)
    best = max(judged, key=lambda name: judged[name][0])
    share, error, cosine, directions = judged[best]
    ceiling = math.sqrt(DIRECTIONS / (DIRECTIONS + images[0].numel()))
    least = share - error * float(student.ppf(1 - limits.significance, max(directions - 1, 1)))
    who = f"the gradient ({best})" if len(names) > 1 else "the gradient"
    if directions < FEWEST:
        seen = (
            f"the loss changes along {directions} of {DIRECTIONS} random directions only: too few to judge by"
        )
    else:
        seen = (
            f"{who} has the right sign along {share:.0%} ± {error:.0%} of {directions} random directions; "
            f"its cosine with SPSA is {cosine:.2f}, of at most about {ceiling:.2f}"
        )
    return Finding(
        "direction of the gradient",
        "gradients",
        "suspicious" if directions >= FEWEST and least <= 0.5 else "reliable",
        seen,
        "the gradient says nothing about the loss: other surrogates, bpda, or an attack without gradients "
        "(square, spsa)",
        "Uesato et al. 2018, Adversarial Risk and the Dangers of Evaluating Against Weak Attacks",
    )


def _gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(margin(model(leaf).float(), labels).sum(), leaf)
    return gradient


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
