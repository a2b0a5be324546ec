"""Small slopes of a prediction in the image, by finite differences: neurons have no second derivative."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from purespike.attacks.objective import frozen_eval, input_gradient
from purespike.training.objectives.batch import Batch, View
from purespike.training.objectives.registry import Penalty


@dataclass(frozen=True, kw_only=True)
class FiniteDifference(Penalty):
    r"""Base of penalties on the slope of a function f of each image, along a direction of its gradient.

    .. math:: \frac{1}{N}\sum_i \left(\frac{f(x_i + h d_i) - f(x_i)}{h}\right)^2

    The direction d is a constant, found in evaluation mode. Both values come from the one forward of the
    step, with the same batch statistics. They are piecewise constant in the image where neurons spike: a step
    that flips no spike sees no gradient.

    Args:
        step: h, in pixel units.
    """

    step: Annotated[float, Field(gt=0, le=1)] = 0.01

    passes = 1

    @abstractmethod
    def function(self, logits: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
        """f as a function of logits ``[N, K]``, to a value per image, ``[N]``.

        Args:
            logits: logits at the images themselves, on which f may depend as on constants.
            labels: true classes, ``[N]``.
        """

    @abstractmethod
    def shift(self, gradient: Tensor) -> Tensor:
        """h d for the gradient of f in the images, ``[N, C, H, W]``; same shape."""

    def further(self, batch: Batch, images: Tensor) -> Tensor:
        with frozen_eval(batch.network), torch.enable_grad():
            leaf = images.detach().clone().requires_grad_()
            logits = batch.network(leaf).float()
            gradient = input_gradient(self.function(logits, batch.labels)(logits), leaf)
        return images + self.shift(gradient)

    def __call__(self, view: View) -> Tensor:
        assert view.further is not None
        here, there = (
            # half precision would leave rounding noise, divided by the step
            logits if logits.dtype == torch.float64 else logits.float()
            for logits in (view.logits, view.further.logits)
        )
        function = self.function(here, view.labels)
        return ((function(there) - function(here)) / self.step).square().mean()
