"""Stochastic gates after neurons (StoG)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from purespike.errors import InputError, unknown

LEAST = 0.1
"""Smallest probability that a gate is open."""
GATES = ("none", "channel", "neuron")


class Gates(nn.Module):
    r"""Gates after the neurons of a layer that are open at random (StoG; Ding et al., AAAI 2024).

    .. math:: \hat o = o \odot G, \quad G \sim \mathrm{Bernoulli}(p), \quad p = \mathrm{clip}(q, 0.1, 1)

    G is drawn anew for every image, step and neuron, from torch's global generator, in training and in
    evaluation alike. Spikes get the gradient that an open gate lets pass; q, which starts at 1, gets that of
    the expectation, :math:`\partial \hat o / \partial p = o` (straight-through).

    Args:
        per: ``"channel"``, or ``"neuron"``, which takes images of one size alone.
        channels: C of the current; ``None`` for one q of the whole layer.

    Raises:
        InputError: another ``per``.
    """

    def __init__(self, per: str, channels: int | None = None) -> None:
        super().__init__()
        if per not in GATES[1:]:
            raise unknown("gates", per, GATES)
        self.per = per
        self.frozen = False
        """Whether no gradient reaches q."""
        self.probability = nn.Parameter(torch.ones(channels or 1))

    def size(self, shape: Sequence[int], device: torch.device | str | None = None) -> None:
        """One q for every neuron of a current ``[T·N, *shape]``, where they have their own."""
        if self.per == "neuron":
            self.probability = nn.Parameter(torch.ones(tuple(shape), device=device))

    def forward(self, spikes: Tensor) -> Tensor:
        """The spikes ``[T·N, ...]`` that open gates let pass, in their shape and memory format."""
        q: Tensor = self.probability
        if self.per == "channel":
            q = q.view(-1, *[1] * (spikes.ndim - 2))
        elif q.shape != spikes.shape[1:]:
            raise InputError(
                f"gates: each neuron has its own, for {list(q.shape)} (C, H, W), got {list(spikes.shape[1:])}"
            )
        p = q.clamp(LEAST, 1)
        # drawn in this order for every memory format, so that a seed gives the same gates
        drawn = torch.rand(spikes.shape, device=spikes.device) < p
        gates = torch.empty_like(spikes).copy_(drawn)
        # several processes expect a gradient of every parameter, if only 0
        return spikes * (gates + (0 if self.frozen else 1) * (p - p.detach()).to(gates.dtype))

    def extra_repr(self) -> str:
        return f"per={self.per}"
