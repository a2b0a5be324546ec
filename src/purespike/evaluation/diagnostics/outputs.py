"""Whether the outputs are logits (group B)."""

from collections.abc import Iterator

import torch

from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.models.answer import logits_of
from purespike.results import Finding

# rounding of a sum of probabilities
TOLERANCE = 1e-3


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

    if bool((outputs >= 0).all()) and sums_to_one(outputs):
        kind = "probabilities"
    elif bool((outputs <= 0).all()) and sums_to_one(outputs.exp()):
        kind = "log-probabilities"
    else:
        return
    lost = kind == "probabilities" or not bool(outputs.isfinite().all())
    harm = "their cross-entropy hides the gradient" if lost else "the losses are those of logits all the same"
    yield Finding(
        name="outputs",
        group="gradients",
        level="suspicious" if lost else "reliable",
        message=f"outputs are {kind}; use logits: {harm}",
        advice="leave out the softmax at the end of the model",
        source="Carlini & Wagner 2017, Towards Evaluating the Robustness of Neural Networks",
    )
