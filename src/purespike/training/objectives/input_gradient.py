"""Small input gradients: the loss changes little where it changes most."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from purespike.attacks.objective import cross_entropy
from purespike.training.objectives.finite_difference import FiniteDifference
from purespike.training.objectives.registry import penalty


@penalty("input_gradient")
@dataclass(frozen=True, kw_only=True)
class InputGradient(FiniteDifference):
    r"""Mean squared norm of the gradient of the cross-entropy in the image.

    Ross & Doshi-Velez (2018) penalise :math:`\|\nabla_x L\|_2^2` by double backpropagation; Finlay & Oberman
    (2019, arXiv 1905.11468) by the difference along the gradient's own direction, as here:

    .. math:: \frac{1}{N}\sum_i \left(\frac{L(x_i + h d_i) - L(x_i)}{h}\right)^2, \quad
        d = \frac{\nabla_x L}{\|\nabla_x L\|_2} \text{ or, for the } \ell_1 \text{ norm, }
        \frac{\mathrm{sign}(\nabla_x L)}{\sqrt{CHW}}

    Args:
        step: h, in pixel units.
        norm: ``"l2"``, or ``"l1"``, of which it is the square over the number of pixels and channels.
    """

    norm: Literal["l1", "l2"] = "l2"

    def function(self, logits: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
        return partial(cross_entropy, labels=labels)

    def shift(self, gradient: Tensor) -> Tensor:
        direction = gradient.sign() if self.norm == "l1" else gradient
        length = torch.linalg.vector_norm(direction.flatten(1), dim=1).view(-1, 1, 1, 1)
        if self.norm == "l1":
            length = torch.full_like(length, direction[0].numel() ** 0.5)
        return self.step * direction / length.clamp_min(torch.finfo(length.dtype).tiny)
