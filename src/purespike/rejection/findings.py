"""What speaks against the figures of a gate."""

from collections.abc import Sequence

import torch
from torch import Tensor

from purespike.attacks.objective import frozen_eval, input_gradient
from purespike.checks import as_float
from purespike.rejection.gated import Gated
from purespike.rejection.rejecting import Rejecting
from purespike.results import DataDescription, Finding
from purespike.results.rejection import RejectionCell
from purespike.settings import DEFAULT_THRESHOLDS

# what adversarially trained ResNet-18s reach on CIFAR-10 at half of 8/255, at the most
BEST_AT_HALF, EPS = 0.70, 8 / 255
SEEN = 32


def examine(
    model: Rejecting | Gated,
    images: Tensor,
    cells: Sequence[RejectionCell],
    data: DataDescription,
    device: torch.device,
) -> list[Finding]:
    """Everything that speaks against the figures in ``cells``; empty if nothing does.

    Args:
        model: the model with its gate.
        images: clean images, ``[N, C, H, W]``.
        cells: what was measured.
        data: description of the images.
        device: device of the model.
    """
    found = [_gradients(model, as_float(images[:SEEN].to(device))), *(_implied(cell, data) for cell in cells)]
    found += [_gap(cell, cells) for cell in cells]
    return [finding for finding in found if finding is not None]


def _gradients(model: Rejecting | Gated, images: Tensor) -> Finding | None:
    """An adaptive attacker who sees no gradient of the score attacks the classifier alone."""
    with frozen_eval(model), torch.enable_grad():
        pixels = images.clone().requires_grad_()
        gradient = input_gradient(model.scores(pixels), pixels)
    share = (gradient.nan_to_num().flatten(1).abs().amax(1) == 0).float().mean().item()
    if share <= DEFAULT_THRESHOLDS.zero_gradients:
        return None
    return Finding(
        name="score gradient",
        group="gradients",
        level="unreliable" if share > DEFAULT_THRESHOLDS.masked else "suspicious",
        message=f"the score has no gradient at {100 * share:.0f}% of {len(images)} clean images, so that the "
        "adaptive attacker does not see the gate there",
        advice="choose a score that is differentiable, or surrogates that reach it",
        source="Tramèr 2022",
    )


def _implied(cell: RejectionCell, data: DataDescription) -> Finding | None:
    """A detector robust at eps is a classifier robust at half of it (Tramèr 2022)."""
    known = data.source == "cifar10" and cell.norm == "linf" and cell.threat == "adaptive"
    if not known or cell.eps is None or cell.eps < EPS - 1e-6 or cell.robust.accuracy <= BEST_AT_HALF:
        return None
    return Finding(
        name="implied classifier",
        group="defence",
        level="suspicious",
        message=f"{cell.robust.text}% robust with reject ({cell.condition}) would imply a classifier as "
        f"robust at half of it, where the best of its size reach about {100 * BEST_AT_HALF:.0f}%",
        advice="look for a stronger attack before believing this number",
        source="Tramèr 2022",
    )


def _gap(cell: RejectionCell, cells: Sequence[RejectionCell]) -> Finding | None:
    """The attacker who knows more did worse: then the adaptive attack is too weak."""
    same = (
        other
        for other in cells
        if other.threat == "oblivious" and (other.attack, other.eps) == (cell.attack, cell.eps)
    )
    other = next(same, None)
    if cell.threat != "adaptive" or other is None:
        return None
    lost = sum(a and not b for a, b in zip(cell.outcomes, other.outcomes, strict=True))
    if lost <= DEFAULT_THRESHOLDS.allowed(len(cell.outcomes)):
        return None
    return Finding(
        name="weaker than oblivious",
        group="optimisation",
        level="unreliable",
        message=f"{lost} images that the oblivious {cell.title} breaks hold against the adaptive one",
        advice="more steps, other surrogates or losses",
        source="Carlini et al. 2019",
    )
