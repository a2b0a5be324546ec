"""Membranes of multi-level firing at one threshold, and backpropagation through them.

Forward, backward, memories and censuses share these plain operations.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Activity(Protocol):
    """Neurons of one threshold over T steps, as a surrogate sees them, whatever their dynamics."""

    @property
    def inputs(self) -> Sequence[Tensor]:
        """Input current x of each step."""

    @property
    def distances(self) -> list[Tensor]:
        """Membrane potential minus threshold of each step, before the reset."""

    @property
    def threshold(self) -> float: ...

    @property
    def decay(self) -> float | Tensor | None:
        """Share of the membrane kept from step to step; ``None`` where it is no constant."""

    @property
    def kept(self) -> list[tuple[Tensor, ...]] | None:
        """Values that a remembering surrogate keeps of each step; ``None`` without a memory."""


class Firing(NamedTuple):
    """The multi-level firing neurons of one threshold over T steps, as backward sees them.

    Each step is a tensor ``[M]``, or ``[M, C]`` where channels are kept apart.
    """

    inputs: list[Tensor]
    """Input current x of each step."""
    membranes: list[Tensor]
    """Membrane potential u of each step, before the reset."""
    silent: list[Tensor]
    """1 where the membrane stays, 0 where it is reset, for each step but the last."""
    output_gradient: Tensor
    """Gradient of the spikes, ``[T, ...]``, in the type of the current."""
    threshold: float
    decay: float
    kept: list[tuple[Tensor, ...]] | None = None
    """Values that a remembering surrogate keeps of each step, this gradient included; ``None`` without a
    memory."""
    attached: bool = True
    """Whether gradients flow through the reset."""
    pulls: Sequence[Tensor] | None = None
    """Gradient of the membranes of each step themselves, where more than the spikes depends on them."""

    @property
    def distances(self) -> list[Tensor]:
        """Membrane potential minus threshold of each step."""
        return [membrane - self.threshold for membrane in self.membranes]

    def incoming(self, t: int) -> Tensor:
        """Gradient of the spikes of step ``t``, in the type of the membranes."""
        return self.output_gradient[t].to(self.membranes[t].dtype)


def input_current(current: Tensor, affine: list[Tensor], t: int) -> Tensor:
    """Input of step ``t`` in the type of the state: float32, or float64 for a float64 current.

    Args:
        current: ``[T, M]``, or ``[T, M, C]`` where ``affine`` is given.
        affine: scale and shift per channel, ``[C]``, which come first; or nothing.
        t: step.
    """
    x = current[t].to(torch.promote_types(current.dtype, torch.float32))
    return torch.addcmul(affine[1], x, affine[0]) if affine else x


def membrane_potentials(
    inputs: list[Tensor], threshold: float | Tensor, decay: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Membrane potential at each step; and at each but the last 1 where it stays, 0 where it is reset."""
    membranes, silent = inputs[:1], []
    for x in inputs[1:]:
        # compared in place: a result of type bool makes this and its users five times slower on a CPU
        silent.append(membranes[-1].clone().lt_(threshold))
        membranes.append(torch.addcmul(x, membranes[-1], silent[-1], value=decay))
    return membranes, silent


def through_time(firing: Firing, slope: Callable[[int], Tensor]) -> list[Tensor]:
    r"""Gradient of the input of each step by backpropagation through time.

    With s the slope and g the adjoint of u, which is the adjoint of x too,
    :math:`g[t] = s[t]\,(\partial L/\partial o[t] - d\,u[t]\,g[t+1]) + d\,(1 - o[t])\,g[t+1]`;
    without the term of u[t] where the reset is detached, and with the pull on u[t] where there is one.

    Args:
        firing: neurons of one threshold.
        slope: derivative taken for that of the spike, by step; called once a step, last step first.
    """
    gradients: list[Tensor] = []
    for t in reversed(range(len(firing.membranes))):
        derivative, incoming = slope(t), firing.incoming(t)
        if gradients:
            later = gradients[-1]
            through_spike = incoming
            if firing.attached:
                through_spike = torch.addcmul(incoming, later, firing.membranes[t], value=-firing.decay)
            kept = firing.silent[t]
            gradients.append((through_spike * derivative).addcmul_(later, kept, value=firing.decay))
        else:
            gradients.append(incoming * derivative)
        if firing.pulls is not None:
            gradients[-1].add_(firing.pulls[t])
    gradients.reverse()
    return gradients
