"""Building blocks of spiking networks. Time is folded into the batch: ``[T·N, C, H, W]``."""

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from purespike.checks import check_steps
from purespike.errors import InputError, unknown
from purespike.neurons import (
    GATES,
    MLF,
    MLF_THRESHOLDS,
    Dynamics,
    Gates,
    MultiLevelFiring,
    Recalibration,
    Reset,
    SpikingNeuron,
    Surrogate,
    parse_dynamics,
    parse_reset,
    parse_surrogate,
)

MOST_THRESHOLDS, MOST_STEPS = 100, 10_000
"""Bounds on settings that no shape of a weight shows, so that a small file cannot ask for all memory."""


class NeuronConfig:
    """Settings of the neurons of one network; makes its layers, so that all of them agree.

    Args:
        thresholds: V_k of every layer of multi-level firing.
        decay: share of the membrane potential kept from step to step in multi-level firing.
        surrogate: derivative of the spike in backward.
        time_steps: T.
        dynamics: other dynamics than multi-level firing with ``thresholds`` and ``decay``.
        reset: whether gradients flow through the reset: ``"attached"`` or ``"detached"``.
        gates: stochastic gates after every layer, one for each ``"channel"`` or ``"neuron"``; or ``"none"``.
        care: share of the recalibration of channels after every layer, in [0, 1].
        classes: K, for the recalibration.

    Raises:
        InputError: a setting out of its range, unknown dynamics, surrogate, reset or gates, or a combination
            of them without a gradient.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = MLF_THRESHOLDS,
        decay: float = 0.25,
        surrogate: Surrogate | str = "rectangle",
        time_steps: int = 4,
        dynamics: Dynamics | str | None = None,
        reset: Reset = "attached",
        gates: str = "none",
        care: float = 0.0,
        classes: int = 1,
    ) -> None:
        time_steps = check_steps(time_steps, name="time_steps")
        if len(thresholds) > MOST_THRESHOLDS or time_steps > MOST_STEPS:
            raise InputError(
                f"at most {MOST_THRESHOLDS} thresholds and {MOST_STEPS:,} time_steps, "
                f"got {len(thresholds):,} and {time_steps:,}"
            )
        self.dynamics = MLF(tuple(thresholds), decay) if dynamics is None else parse_dynamics(dynamics)
        self.surrogate = parse_surrogate(surrogate)
        self.time_steps = time_steps
        self.reset = parse_reset(reset)
        if gates not in GATES:
            raise unknown("gates", str(gates), GATES)
        self.gates = gates
        if not 0 <= care <= 1:
            raise InputError(f"care: must lie in [0, 1], got {care}")
        self.care, self.classes = care, classes
        self.sized = self.make().sized
        """Whether single neurons have values of their own, so that images have one size."""

    def make(self, channels: int | None = None) -> SpikingNeuron:
        """A layer of neurons for a current of ``channels`` channels."""
        layer = self._layer(channels)
        if self.care:
            layer.recalibration = Recalibration(self.care, self.time_steps, self.classes, channels)
        return layer

    def _layer(self, channels: int | None) -> SpikingNeuron:
        gates = None if self.gates == "none" else Gates(self.gates, channels)
        if isinstance(self.dynamics, MLF):
            thresholds, decay = self.dynamics.thresholds, self.dynamics.decay
            return MultiLevelFiring(thresholds, decay, self.surrogate, self.time_steps, self.reset, gates)
        return SpikingNeuron(self.dynamics, self.surrogate, self.time_steps, channels, self.reset, gates)

    def norm(self, channels: int) -> nn.BatchNorm2d:
        """Batch normalisation over T·N, scaled to the first threshold (tdBN, Zheng et al. 2021)."""
        layer = nn.BatchNorm2d(channels)
        nn.init.constant_(layer.weight, self.dynamics.thresholds[0])
        return layer

    def mean(self, outputs: Tensor) -> Tensor:
        """Mean over time: ``[T·N, ...]`` to ``[N, ...]``."""
        return outputs.unflatten(0, (self.time_steps, -1)).mean(0)


class Layers(nn.Sequential):
    """``nn.Sequential``, but a batch norm followed by neurons runs as one step, in less memory."""

    def forward(self, inputs: Tensor) -> Tensor:
        norm = None
        for module, following in itertools.zip_longest(self, list(self)[1:]):
            if isinstance(module, nn.BatchNorm2d) and isinstance(following, SpikingNeuron):
                norm = module
            else:
                inputs = module(inputs) if norm is None else module(inputs, norm=norm)
                norm = None
        return inputs


class SpatialMean(nn.Module):
    """Mean over height and width, ``[T·N, C, H, W]`` to ``[T·N, C]``."""

    def forward(self, spikes: Tensor) -> Tensor:
        return spikes.mean((2, 3))


class ConvexPair(nn.Module):
    r"""Learnable combination of a residual and its shortcut (SNN-RAT, Ding et al. 2022).

    .. math:: y = w_1\, r + w_2\, s, \quad w \text{ initially } (\tfrac12, \tfrac12)

    The weights stay on the simplex where training projects them (projection ``convex``): then the sum
    stretches no perturbation more than its branches do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((2,), 0.5))

    def forward(self, residual: Tensor, shortcut: Tensor) -> Tensor:
        """The combination of two currents of the same shape."""
        return self.weights[0] * residual + self.weights[1] * shortcut


class Normalise(nn.Module):
    """Subtract a mean and divide by a deviation per channel, so that models take raw pixels in [0, 1].

    Args:
        mean: mean per channel, in [0, 1] units.
        std: standard deviation per channel, positive.

    Raises:
        InputError: at construction, lengths that differ or a deviation that is not positive;
            in forward, images of another channel count.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean or min(std) <= 0:
            raise InputError(f"normalisation: need a mean and a positive std per channel, got {mean}, {std}")
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        check_channels(images, self.mean.shape[1])
        return (images - self.mean) / self.std


def check_channels(images: Tensor, channels: int) -> None:
    """Raise an :class:`InputError` unless ``images`` is ``[N, channels, H, W]``."""
    if images.ndim != 4 or images.shape[1] != channels:
        raise InputError(
            f"images: the model takes [N, {channels}, H, W] ({channels} channel(s)), got {list(images.shape)}"
        )


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class PointwiseConvolution(nn.Conv2d):
    """A 1×1 convolution that takes every ``stride``-th pixel before it multiplies: the same values.

    On CPUs without AVX-512 the backward of oneDNN's own strided 1×1 convolution (PyTorch 2.13) writes past
    its buffer where the channels are not a multiple of 8, and the process dies or is silently damaged.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        rows, columns = self.stride
        return nn.functional.conv2d(inputs[..., ::rows, ::columns], self.weight, self.bias)


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return PointwiseConvolution(inputs, outputs, 1, stride, bias=False)


def initialise(model: nn.Module) -> None:
    """He initialisation of every convolution (fan out, as in the reference code of MLF)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            draw_weights(module, mode="fan_out")


def draw_weights(layer: nn.Conv2d | nn.Linear, *, mode: Literal["fan_in", "fan_out"]) -> None:
    """He initialisation of one layer, and no bias.

    Weights without memory, of a model that is about to be read from a file, are left: there PyTorch would
    load its compiler first, for over a second.
    """
    if not layer.weight.is_meta:
        nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
