"""Stochastic gates after neurons (StoG)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from purespike.errors import InputError, unknown
from purespike.neurons.layout import memory_order, undo

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
        is_open = torch.empty_like(spikes, dtype=torch.bool).copy_(drawn)
        if not torch.is_grad_enabled():
            return _passed(spikes, is_open)
        # several processes expect a gradient of every parameter, if only 0
        return _Passed.apply(spikes, 0 * p if self.frozen else p, is_open)

    def extra_repr(self) -> str:
        return f"per={self.per}"


def _passed(spikes: Tensor, is_open: Tensor) -> Tensor:
    return torch.where(is_open, spikes, 0)


class _Passed(torch.autograd.Function):
    """The spikes that open gates let pass; backward keeps a byte a gate."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, p: Tensor, is_open: Tensor) -> Tensor:
        ctx.save_for_backward(is_open, p, *([spikes] if ctx.needs_input_grad[1] else []))
        return _passed(spikes, is_open)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        is_open, p, *spikes = ctx.saved_tensors
        of_spikes = _passed(gradient, is_open) if ctx.needs_input_grad[0] else None
        if not spikes:
            return of_spikes, None, None
        expected = gradient * spikes[0]
        # summed in the order of memory, four times as fast
        order = memory_order(expected)
        total = undo(expected.permute(order).sum(0, keepdim=True, dtype=p.dtype), order)
        return of_spikes, total[0].sum_to_size(p.shape), None
