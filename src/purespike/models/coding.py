"""Codings: how an image becomes the input of each time step, and their written form."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from purespike.errors import InputError, kind_of
from purespike.written import Written


@dataclass(frozen=True)
class Coding(Written, ABC):
    """Base of all codings: a frozen dataclass of settings with one method to implement.

    A subclass is registered under its lower-case name and can then be written in a recipe, e.g.
    ``classifier.coding: poisson``; a base of further codings is not: ``class Base(Coding, abstract=True)``.
    Random codings draw from torch's global generator. Gradients reach the images; a coding without a
    derivative documents its replacement.

    Example:
        >>> @dataclass(frozen=True)
        ... class Fading(Coding):
        ...     share: float = 0.5
        ...
        ...     def encode(self, images, time_steps):
        ...         return torch.cat([images * self.share**t for t in range(time_steps)])
        >>> Coding.parse("fading(share=0.1)").encode(torch.ones(1, 1, 1, 1), 3).flatten()
        tensor([1.0000, 0.1000, 0.0100])
    """

    kind: ClassVar[str] = "coding"
    constant: ClassVar[bool] = False
    """Whether every step sees the same frames, which are then coded, and convolved, once."""
    normalised: ClassVar[bool] = True
    """Whether frames are normalised by the statistics of the images, where both have as many channels."""
    folds: ClassVar[bool] = False
    """Whether an image holds a frame for each step, so that a purifier gives one for each as well."""

    @abstractmethod
    def encode(self, images: Tensor, time_steps: int) -> Tensor:
        """Frames ``[T·N, C', H', W']`` with time outermost; ``[N, C', H', W']`` of a ``constant`` coding.

        Args:
            images: ``[N, C, H, W]`` in [0, 1], or slightly outside after a purifier.
            time_steps: T.
        """

    def channels(self, in_channels: int) -> int:
        """C' for images of C channels."""
        return in_channels

    def statistics(self, mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
        """Mean and standard deviation per channel by which frames are normalised.

        Args:
            mean: mean of the training images per channel, ``C`` values in [0, 1] units.
            std: standard deviation, likewise.

        Returns:
            ``C'`` values each: those of the images, or 0 and 1 where the number of channels differs, or
            frames are not :attr:`normalised`.
        """
        count = self.channels(len(mean))
        same = self.normalised and count == len(mean)
        return (list(mean), list(std)) if same else ([0.0] * count, [1.0] * count)

    def currents(self, images: Tensor, time_steps: int, stem: Callable[[Tensor], Tensor]) -> Tensor:
        """Currents ``[T·N, ...]``: the frames of ``images``, through ``stem``.

        Args:
            images: ``[N, C, H, W]``.
            time_steps: T.
            stem: frames to currents; called once.

        Raises:
            InputError: anything but frames, or frames of another number than T·N.
        """
        frames = self.encode(images, time_steps)
        if not isinstance(frames, Tensor) or frames.ndim != 4:
            raise InputError(f"coding {self.name}: encode must return [T·N, C, H, W], got {kind_of(frames)}")
        if frames.shape[1] != self.channels(images.shape[1]):
            raise InputError(
                f"coding {self.name}: encode returns {frames.shape[1]} channels, but channels() says "
                f"{self.channels(images.shape[1])}"
            )
        # not len(), which turns the number of images, a symbol in an exported graph, into a constant
        given, count = frames.shape[0], images.shape[0]
        expected = count * (1 if self.constant else time_steps)
        if given != expected:
            raise InputError(f"coding {self.name}: gives {given} frames for {count} images, not {expected}")
        return self.repeated(stem(frames), time_steps)

    def repeated(self, current: Tensor, time_steps: int) -> Tensor:
        """``current`` of the frames of an image for all steps, ``[T·N, ...]``."""
        # unlike repeat, cat keeps channels_last, without which every convolution would reorder its input
        return torch.cat([current] * time_steps) if self.constant else current

    def readout(self, outputs: Tensor, time_steps: int, last: Callable[[Tensor], Tensor]) -> Tensor:
        """What a purifier makes of its last layer: an image from features of each step.

        Args:
            outputs: features ``[T·N, F, H, W]``.
            time_steps: T.
            last: linear layer, features to values of a frame.

        Returns:
            ``[N, C, H, W]``: the mean over time, or where the coding ``folds`` the values of all frames.
        """
        # the layer is linear: the mean over time may come first
        return last(outputs.unflatten(0, (time_steps, -1)).mean(0))


@dataclass(frozen=True)
class Direct(Coding):
    """The image itself at every step."""

    constant: ClassVar[bool] = True

    def encode(self, images: Tensor, time_steps: int) -> Tensor:
        return images


@dataclass(frozen=True)
class Poisson(Coding):
    """Bernoulli frames: at each step a value is 1 with the probability of the pixel, else 0.

    A pixel outside [0, 1] is clipped. The derivative of a frame with respect to its pixel is taken to be 1,
    the derivative of its expectation, also outside [0, 1] (straight-through estimator): the gradient of an
    image is the sum over its frames. Frames differ from call to call, hence an attack should average
    gradients over several (EOT). Frames are not normalised, as in the sources: black stays silent.
    """

    normalised: ClassVar[bool] = False

    def encode(self, images: Tensor, time_steps: int) -> Tensor:
        return _Bernoulli.apply(torch.cat([images] * time_steps))


class _Bernoulli(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rates: Tensor) -> Tensor:
        # drawn in this order for every memory format, so that a seed gives the same frames
        drawn = torch.rand(rates.shape, device=rates.device)
        return torch.empty_like(rates).copy_(drawn < rates)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


@dataclass(frozen=True)
class SignedPoisson(Coding):
    r"""Frames of -1, 0 and 1: a value fires with the probability of its distance from grey, and has its sign.

    .. math:: z = g\,(x - c), \quad o = \mathrm{sign}(z) \cdot \mathrm{Bernoulli}(\min(1, |z|))

    With the defaults z is the image scaled to [-1, 1]: the coding of Sharmin et al. (ECCV 2020), and that of
    Rate-vs-Direct (Kim et al., ICASSP 2022), who scale to [-2, 2] and fire at half the rate. Frames are not
    normalised. The derivative of a frame is taken to be g, as for :class:`Poisson`; frames differ from call
    to call.

    Args:
        centre: c, the silent value of a pixel.
        gain: g, positive.
    """

    normalised: ClassVar[bool] = False

    centre: float = 0.5
    gain: float = 2.0

    def __post_init__(self) -> None:
        self.check("centre", most=1)
        self.check("gain", positive=True)

    def encode(self, images: Tensor, time_steps: int) -> Tensor:
        return _SignedBernoulli.apply(torch.cat([self.gain * (images - self.centre)] * time_steps))


class _SignedBernoulli(_Bernoulli):
    @staticmethod
    def forward(ctx: Any, rates: Tensor) -> Tensor:
        return _Bernoulli.forward(ctx, rates.abs()) * rates.sign()


def parse_coding(text: str | Coding) -> Coding:
    """Read a coding from its written form, e.g. ``"direct"`` or ``"poisson"``.

    Raises:
        InputError: not of that form, unknown name or setting, or a setting out of its range.
    """
    return Coding.parse(text)
