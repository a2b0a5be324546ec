"""Small input gradients, by finite differences: spiking neurons have no second derivative."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from purespike.attacks.objective import cross_entropy, frozen_eval, input_gradient
from purespike.training.objectives.batch import Batch, View
from purespike.training.objectives.registry import Penalty, penalty


@penalty("input_gradient")
@dataclass(frozen=True, kw_only=True)
class InputGradient(Penalty):
    r"""Mean squared norm of the gradient of the cross-entropy in the image.

    Ross & Doshi-Velez (2018) penalise :math:`\|\nabla_x L\|_2^2` by double backpropagation; Finlay & Oberman
    (2019, arXiv 1905.11468) by the difference along the gradient's own direction, as here:

    .. math:: \frac{1}{N}\sum_i \left(\frac{L(x_i + h d_i) - L(x_i)}{h}\right)^2, \quad
        d = \frac{\nabla_x L}{\|\nabla_x L\|_2} \text{ or, for the } \ell_1 \text{ norm, }
        \frac{\mathrm{sign}(\nabla_x L)}{\sqrt{CHW}}

    The direction is a constant, found in evaluation mode. Both losses come from the one forward of the step,
    with the same batch statistics. They are piecewise constant in the image where neurons spike: a step that
    flips no spike sees no gradient.

    Args:
        step: h, in pixel units.
        norm: ``"l2"``, or ``"l1"``, of which it is the square over the number of pixels and channels.
    """

    step: Annotated[float, Field(gt=0, le=1)] = 0.01
    norm: Literal["l1", "l2"] = "l2"

    passes = 1

    def further(self, batch: Batch, images: Tensor) -> Tensor:
        with frozen_eval(batch.network), torch.enable_grad():
            leaf = images.detach().clone().requires_grad_()
            gradient = input_gradient(cross_entropy(batch.network(leaf).float(), batch.labels), leaf)
        direction = gradient.sign() if self.norm == "l1" else gradient
        length = torch.linalg.vector_norm(direction.flatten(1), dim=1).view(-1, 1, 1, 1)
        if self.norm == "l1":
            length = torch.full_like(length, direction[0].numel() ** 0.5)
        return images + self.step * direction / length.clamp_min(torch.finfo(length.dtype).tiny)

    def __call__(self, view: View) -> Tensor:
        assert view.further is not None
        here, there = (
            # half precision would leave rounding noise, divided by the step
            cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), view.labels)
            for logits in (view.logits, view.further.logits)
        )
        return ((there - here) / self.step).square().mean()
