"""SR: sparse gradients of the probability of the true class against its best rival."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from purespike.training.objectives.finite_difference import FiniteDifference
from purespike.training.objectives.registry import penalty


@penalty("sparse_gradient")
@dataclass(frozen=True, kw_only=True)
class SparseGradient(FiniteDifference):
    r"""Mean squared :math:`\ell_1` norm of the gradient of the margin's probability (SR; Liu et al. 2024).

    .. math:: \frac{1}{N}\sum_i \left(\frac{p(x_i + h d_i) - p(x_i)}{h}\right)^2, \quad
        p = \sigma(z_y - z_r), \quad r = \arg\max_{k \ne y} z_k(x_i), \quad
        d = \mathrm{sign}(\nabla_x p)

    The difference along the sign tends to :math:`\|\nabla_x p\|_1`, which stands for the number of its
    entries that are not zero ("Enhancing Adversarial Robustness in SNNs with Sparse Gradients", ICML 2024).
    The rival r is that of the image itself at both points. Liu et al. divide exponentials, which overflow;
    the logistic function of the difference is the same.

    Args:
        step: h, in pixel units.
    """

    def function(self, logits: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
        true = labels[:, None]
        rival = logits.detach().scatter(1, true, -torch.inf).argmax(1, keepdim=True)

        def probability(logits: Tensor) -> Tensor:
            return (logits.gather(1, true) - logits.gather(1, rival)).squeeze(1).sigmoid()

        return probability

    def shift(self, gradient: Tensor) -> Tensor:
        return self.step * gradient.sign()
