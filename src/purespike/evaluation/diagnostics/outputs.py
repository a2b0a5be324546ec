"""Whether the outputs are logits (group B)."""

from collections.abc import Iterator

import torch

from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.models.answer import logits_of
from purespike.results import Finding

# rounding of a sum of probabilities
TOLERANCE = 1e-3
# images from which, and relative difference up to which, equal sums are no chance
FEWEST, CONSTANT = 4, 1e-4
# time steps of a spike count, and its distance from a whole number
MOST_STEPS, WHOLE = 1024, 1e-3


@rule(needs="images", order=45, passes=len)
@torch.no_grad()
def check_outputs(e: Examination) -> Iterator[Finding]:
    """Are the outputs probabilities instead of logits?

    The cross-entropy of probabilities is a softmax of a softmax: its gradient is small everywhere and nearly
    gone where the model is sure. Log-probabilities lead to the same losses as logits, until a probability
    rounds to 0.
    """
    outputs = logits_of(e.model, e.images).double()
    if outputs.shape[1] < 2:
        return
    ones = torch.ones(len(outputs), dtype=outputs.dtype, device=outputs.device)

    def sums_to_one(values: torch.Tensor) -> bool:
        return torch.allclose(values.sum(1), ones, atol=TOLERANCE, rtol=0)

    scale = _scale(outputs)
    if bool((outputs >= 0).all()) and sums_to_one(outputs):
        kind = "probabilities"
    elif scale is not None:
        kind = f"probabilities times {scale:.4g}"
    elif bool((outputs <= 0).all()) and sums_to_one(outputs.exp()):
        kind = "log-probabilities"
    else:
        return
    lost = kind != "log-probabilities" or not bool(outputs.isfinite().all())
    harm = "their cross-entropy hides the gradient" if lost else "the losses are those of logits all the same"
    yield Finding(
        name="outputs",
        group="gradients",
        level="suspicious" if lost else "reliable",
        message=f"outputs are {kind}; use logits: {harm}",
        advice="leave out the softmax at the end of the model",
        source="Carlini & Wagner 2017, Towards Evaluating the Robustness of Neural Networks",
    )


def _scale(outputs: torch.Tensor) -> float | None:
    """The sum of the outputs of each image, if they are probabilities multiplied with it.

    Spike counts, or their shares of all time steps, sum to a constant where each step has one winner; their
    gradient is not that of a softmax.
    """
    sums = outputs.sum(1)
    scale = sums.mean().item()
    if len(outputs) < FEWEST or scale <= 0 or bool((outputs < 0).any()):
        return None
    if not bool(((sums - scale).abs() <= CONSTANT * scale).all()):
        return None
    steps = torch.arange(1, MOST_STEPS + 1, device=outputs.device)[:, None] * (outputs / scale).flatten()
    counts = bool(((steps - steps.round()).abs().amax(1) <= WHOLE).any())
    return None if counts else scale
