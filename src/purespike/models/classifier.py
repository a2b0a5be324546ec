"""What all spiking classifiers share: their settings, and the shell around stem and body."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.models.layers import Neurons, Normalise, initialise
from purespike.neurons import MLF_THRESHOLDS, Surrogate


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Settings of every architecture in the registry.

    Args:
        num_classes: K, at least 2.
        in_channels: C of the images.
        width: multiplier of every stage's channels, for small machines.
        time_steps: T.
        thresholds: V_k of every neuron; one threshold makes them LIF.
        decay: share of the membrane potential kept from step to step.
        surrogate: derivative of the spike in training, e.g. ``"rectangle(width=1)"``.
        mean: per-channel mean of the training images in [0, 1]; default 0.5.
        std: per-channel standard deviation; default 0.25.

    Raises:
        InputError: a value out of its range.
    """

    num_classes: int = 10
    in_channels: int = 3
    width: float = 1.0
    time_steps: int = 4
    thresholds: Sequence[float] = MLF_THRESHOLDS
    decay: float = 0.25
    surrogate: Surrogate | str = "rectangle"
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise InputError(f"num_classes: must be at least 2, got {self.num_classes}")
        if self.in_channels < 1:
            raise InputError(f"in_channels: must be at least 1, got {self.in_channels}")
        if not self.width > 0:
            raise InputError(f"width: must be positive, got {self.width}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.in_channels:
                raise InputError(f"{name}: need {self.in_channels} values, one per channel, got {values}")

    def neurons(self) -> Neurons:
        return Neurons(self.thresholds, self.decay, self.surrogate, self.time_steps)

    def channels(self, *full: int) -> list[int]:
        """The channel counts of the full-size network, scaled by ``width``; each at least 1."""
        return [max(1, round(count * self.width)) for count in full]

    def normalise(self) -> Normalise:
        mean = [0.5] * self.in_channels if self.mean is None else self.mean
        std = [0.25] * self.in_channels if self.std is None else self.std
        return Normalise([float(value) for value in mean], [float(value) for value in std])


class SpikingClassifier(nn.Module):
    """A function from images ``[N, C, H, W]`` in [0, 1] to logits ``[N, K]``.

    The image is direct-coded: the analog current of the stem is the same at every step, so the stem is
    computed once and repeated. The logits are the mean over time.

    Args:
        stem: images to current, ``[N, C, H, W]`` to ``[N, C', H', W']``.
        body: current to spikes, ``[T·N, C', H', W']`` to ``[T·N, C'', H'', W'']``.
        features: C''.
        settings: the rest.
        neurons: how the network's neurons fire.
    """

    def __init__(
        self, stem: nn.Module, body: nn.Module, features: int, settings: ClassifierSettings, neurons: Neurons
    ) -> None:
        super().__init__()
        self.neurons = neurons
        self.num_classes = settings.num_classes
        self.in_channels = settings.in_channels
        self.normalise = settings.normalise()
        self.stem = stem
        self.body = body
        self.readout = nn.Linear(features, settings.num_classes)
        initialise(self)
        # convolutions are faster so, on CPU and GPU; neurons work in any memory order
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        current = self.neurons.repeat(self.stem(self.normalise(images)))
        spikes = self.body(current)
        # the readout is linear: the mean over time may come first
        return self.readout(self.neurons.mean(spikes.mean((2, 3))))
