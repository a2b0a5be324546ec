"""What the neurons of one threshold did, and backpropagation through it."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Firing(NamedTuple):
    """The neurons of one threshold over T steps, as backward sees them.

    Each step is a tensor ``[M]``, or ``[M, C]`` where channels are kept apart.
    """

    inputs: list[Tensor]
    """Input current x of each step."""
    membranes: list[Tensor]
    """Membrane potential u of each step, before the reset."""
    silent: list[Tensor]
    """Of each step but the last: 1 where the membrane stays, 0 where it is reset."""
    output_gradient: Tensor
    """Gradient of the spikes, ``[T, ...]``, in the type of the current."""
    threshold: float
    decay: float
    kept: list[tuple[Tensor, ...]] | None = None
    """What a remembering surrogate keeps of each step, this gradient included; ``None`` without a memory."""

    def incoming(self, t: int) -> Tensor:
        """Gradient of the spikes of step ``t``, in the type of the membranes."""
        return self.output_gradient[t].to(self.membranes[t].dtype)


def through_time(firing: Firing, slope: Callable[[int], Tensor]) -> list[Tensor]:
    r"""Gradient of the input of each step by backpropagation through time, reset included.

    With s the slope and g the adjoint of u, which is that of x too,
    :math:`g[t] = s[t]\,(\partial L/\partial o[t] - d\,u[t]\,g[t+1]) + d\,(1 - o[t])\,g[t+1]`.

    Args:
        firing: the neurons.
        slope: what stands for the derivative of the spike of a step, asked for once a step, last step first.
    """
    gradients: list[Tensor] = []
    for t in reversed(range(len(firing.membranes))):
        derivative, incoming = slope(t), firing.incoming(t)
        if gradients:
            later = gradients[-1]
            through_spike = torch.addcmul(incoming, later, firing.membranes[t], value=-firing.decay)
            kept = firing.silent[t]
            gradients.append((through_spike * derivative).addcmul_(later, kept, value=firing.decay))
        else:
            gradients.append(incoming * derivative)
    gradients.reverse()
    return gradients
