"""Settings of all spiking classifiers, and the module around stem and body."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.models.coding import Coding, parse_coding
from purespike.models.layers import NeuronConfig, Normalise, SpatialMean, check_channels, initialise
from purespike.neurons import MLF_THRESHOLDS, Dynamics, Reset, Surrogate


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Settings of every architecture in the registry.

    Args:
        num_classes: K, at least 2.
        in_channels: C of the images.
        width: multiplier of every stage's channels, for small machines.
        time_steps: T.
        thresholds: V_k of every neuron of multi-level firing; one threshold makes them LIF.
        decay: share of the membrane potential kept from step to step in multi-level firing.
        surrogate: derivative of the spike in training, e.g. ``"rectangle(width=1)"``.
        mean: mean of the training images per channel in [0, 1]; default 0.5.
        std: standard deviation per channel; default 0.25.
        dynamics: other dynamics than multi-level firing, e.g. ``"adaptivelif(rise=0.5)"``;
            ``thresholds`` and ``decay`` are then unused.
        coding: images to frames, e.g. ``"poisson"``.
        reset: whether gradients flow through the reset in training: ``"attached"`` or ``"detached"``.
        gates: stochastic gates after the neurons, one for each ``"channel"`` or ``"neuron"``; or ``"none"``.
        care: share of a recalibration of channels after the neurons, in [0, 1].
        image_size: H and W, the only ones that the network will take; for dynamics and gates with values of
            every single neuron.

    Raises:
        InputError: a value out of its range, or no ``image_size`` where one is needed.
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
    dynamics: Dynamics | str | None = None
    coding: Coding | str = "direct"
    reset: Reset = "attached"
    gates: str = "none"
    care: float = 0.0
    image_size: Sequence[int] | None = None

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
        size = self.image_size
        if size is not None and (len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size)):
            raise InputError(f"image_size: must be height and width, e.g. [32, 32], got {size}")
        if size is None and self.neurons().sized:
            raise InputError(
                "image_size: needed, e.g. [32, 32], where every neuron has values of its own (dynamics "
                f"{self.dynamics}, gates {self.gates})"
            )

    def neurons(self) -> NeuronConfig:
        return NeuronConfig(
            self.thresholds,
            self.decay,
            self.surrogate,
            self.time_steps,
            self.dynamics,
            self.reset,
            self.gates,
            self.care,
            self.num_classes,
        )

    @property
    def frame_channels(self) -> int:
        """Channels C' of the frames that the stem takes."""
        return parse_coding(self.coding).channels(self.in_channels)

    def channels(self, *full: int) -> list[int]:
        """The channel counts of the full-size network, scaled by ``width``; each at least 1."""
        return [max(1, round(count * self.width)) for count in full]

    def normalise(self) -> Normalise:
        """The normalisation of frames."""
        mean = [0.5] * self.in_channels if self.mean is None else [float(value) for value in self.mean]
        std = [0.25] * self.in_channels if self.std is None else [float(value) for value in self.std]
        return Normalise(*parse_coding(self.coding).statistics(mean, std))


class SpikingClassifier(nn.Module):
    """A function from images ``[N, C, H, W]`` in [0, 1] to logits ``[N, K]``.

    The coding makes frames of an image, and the stem currents of the frames. With direct coding the frames
    are the same at every step, and the stem is computed once. The logits are the mean over time.

    Args:
        stem: normalised frames to current, ``[T·N, C', H', W']``, or once ``[N, C', H', W']``.
        body: current ``[T·N, ...]`` to spikes ``[T·N, c, h, w]``.
        features: F.
        settings: other settings, among them the coding.
        neurons: settings of the network's neurons.
        head: spikes of the body to features ``[T·N, F]``; by default the spatial mean, with F = c.
    """

    def __init__(
        self,
        stem: nn.Module,
        body: nn.Module,
        features: int,
        settings: ClassifierSettings,
        neurons: NeuronConfig,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.neurons = neurons
        self.coding = parse_coding(settings.coding)
        self.num_classes = settings.num_classes
        self.in_channels = settings.in_channels
        self.image_size = None if settings.image_size is None else tuple(settings.image_size)
        self.normalise = settings.normalise()
        self.stem = stem
        self.body = body
        self.head = SpatialMean() if head is None else head
        self.readout = nn.Linear(features, settings.num_classes)
        initialise(self)
        # convolutions are faster in this format, on CPU and GPU; neurons work in any memory order
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        # the readout is linear: the mean over time may come first
        return self.readout(self.neurons.mean(self.features(images)))

    def features(self, images: Tensor) -> Tensor:
        """Features of each time step, ``[T·N, F]``."""
        check_channels(images, self.in_channels)
        if self.image_size is not None and images.shape[2:] != self.image_size:
            height, width = self.image_size
            raise InputError(
                f"images: the model is made for {height}×{width} pixels alone, got {list(images.shape)}"
            )
        current = self.coding.currents(
            images, self.neurons.time_steps, lambda frames: self.stem(self.normalise(frames))
        )
        features: Tensor = self.head(self.body(current))
        return features

    def cuts(self, features: Tensor) -> Tensor:
        """Logits of the network stopped after each time step, ``[T, N, K]``: the mean of its logits so far.

        Those of the last step are the network's own, up to rounding.

        Args:
            features: features of each time step, ``[T·N, F]``, as :meth:`features` gives them.
        """
        steps = self.neurons.time_steps
        logits = self.readout(features).unflatten(0, (steps, -1))
        counts = torch.arange(1, steps + 1, dtype=logits.dtype, device=logits.device)
        return logits.cumsum(0) / counts.view(-1, 1, 1)
