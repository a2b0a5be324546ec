"""How membranes move: what forward, backward, memories and censuses compute alike, as plain operations."""

import torch
from torch import Tensor

Settings = tuple[int, tuple[float, ...], float]
"""T, thresholds, decay."""


def input_current(current: Tensor, affine: list[Tensor], t: int) -> Tensor:
    """Input of step ``t`` in the type of the state: float32, or float64 for a float64 current.

    Args:
        current: ``[T, M]``, or ``[T, M, C]`` where ``affine`` is given.
        affine: scale and shift per channel, ``[C]``, which come first; or nothing.
        t: the step.
    """
    x = current[t].to(torch.promote_types(current.dtype, torch.float32))
    return torch.addcmul(affine[1], x, affine[0]) if affine else x


def membrane_potentials(
    inputs: list[Tensor], threshold: float, decay: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Membrane potential at each step; and at each but the last 1 where it stays, 0 where it is reset."""
    membranes, silent = inputs[:1], []
    for x in inputs[1:]:
        # compared in place: a result of type bool makes this and what uses it five times slower on a CPU
        silent.append(membranes[-1].clone().lt_(threshold))
        membranes.append(torch.addcmul(x, membranes[-1], silent[-1], value=decay))
    return membranes, silent
