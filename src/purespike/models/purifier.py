"""The spiking image purifier: noise estimator and denoiser as in CBDNet (paper, section 4.2), or another."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from purespike.checks import check_steps
from purespike.errors import InputError, unknown
from purespike.models.calibration import calibrate, natural_noise
from purespike.models.coding import Coding, Direct, parse_coding
from purespike.models.encoder_decoder import EncoderDecoder
from purespike.models.frames import Events
from purespike.models.layers import NeuronConfig, check_channels
from purespike.models.output import OUTPUTS
from purespike.models.vote import check_vote
from purespike.neurons import LIF_THRESHOLDS, Dynamics, Reset, Surrogate
from purespike.scalars import check_number

_DIRECT = Direct()
NETWORKS = ("cbdnet", "encoder_decoder")


class Purified(NamedTuple):
    """Result of a :class:`Purifier`.

    ``images``, ``[N, C, H, W]``: near [0, 1] but, with the paper's output stage, not clipped, since clipping
    would hide gradients from an honest attack. ``noise_level``, same shape: estimate of
    |x' - x| per pixel, or of the recipe's σ(n).
    """

    images: Tensor
    noise_level: Tensor


class FiringConvolution(nn.Sequential):
    """A 3×3 convolution with bias, then neurons."""

    def __init__(self, inputs: int, outputs: int, neurons: NeuronConfig) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), neurons.make(outputs))


def _stack(inputs: int, outputs: int, depth: int, neurons: NeuronConfig) -> nn.Sequential:
    widths = [inputs] + [outputs] * depth
    return nn.Sequential(*(FiringConvolution(a, b, neurons) for a, b in itertools.pairwise(widths)))


def silence(last: nn.Conv2d, start: Sequence[float] = (0.0,)) -> None:
    """Make the output constant: a random one is so large that unlearning it would silence what precedes.

    Args:
        last: a convolution with bias.
        start: its output, in equal parts of its channels.
    """
    assert last.bias is not None
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor(start).repeat_interleave(len(last.bias) // len(start)))


class NoiseEstimator(nn.Module):
    """Five 3×3 convolutions with neurons between: images ``[N, C, H, W]`` to a noise level, same shape.

    The last convolution is analog and takes the mean over time, or of event frames every step by itself: a
    rate of T spikes would quantise the noise level to 1/T, far coarser than 8/255. Its output starts at zero.
    """

    def __init__(self, channels: int, filters: int, neurons: NeuronConfig, coding: Coding = _DIRECT) -> None:
        super().__init__()
        self.neurons, self.coding = neurons, coding
        channels = coding.channels(channels)
        self.first = nn.Conv2d(channels, filters, 3, padding=1)
        self.fire = neurons.make(filters)
        self.hidden = _stack(filters, filters, 3, neurons)
        self.last = nn.Conv2d(filters, channels, 3, padding=1)
        silence(self.last)

    def forward(self, images: Tensor) -> Tensor:
        steps = self.neurons.time_steps
        current = self.coding.currents(images, steps, self.first)
        return self.coding.readout(self.hidden(self.fire(current)), steps, self.last)


class Denoiser(nn.Module):
    """U-Net of convolutions, deconvolutions and average pooling, without batch normalisation.

    Takes the image and its noise level, ``[N, C, H, W]`` each, and returns what the output stage needs
    (:data:`~purespike.models.output.OUTPUTS`), ``[N, maps·C, H, W]``. H and W must be multiples of 4.
    """

    def __init__(
        self,
        channels: int,
        filters: tuple[int, int, int],
        neurons: NeuronConfig,
        maps: int,
        coding: Coding = _DIRECT,
    ) -> None:
        super().__init__()
        low, middle, high = filters
        self.neurons, self.coding = neurons, coding
        channels = coding.channels(channels)
        self.first = nn.Conv2d(2 * channels, low, 3, padding=1)
        self.fire = neurons.make(low)
        self.down1 = _stack(low, low, 1, neurons)
        self.down2 = _stack(low, middle, 3, neurons)
        self.bottom = _stack(middle, high, 6, neurons)
        self.widen2 = nn.ConvTranspose2d(high, middle, 2, stride=2)
        self.up2 = _stack(middle, middle, 3, neurons)
        self.widen1 = nn.ConvTranspose2d(middle, low, 2, stride=2)
        self.up1 = _stack(low, low, 2, neurons)
        self.last = nn.Conv2d(low, maps * channels, 1)

    def forward(self, images: Tensor, noise_level: Tensor) -> Tensor:
        steps = self.neurons.time_steps
        known = torch.cat([self.coding.encode(each, steps) for each in (images, noise_level)], 1)
        current = self.coding.repeated(self.first(known), steps)
        fine = self.down1(self.fire(current))
        middle = self.down2(functional.avg_pool2d(fine, 2))
        coarse = self.bottom(functional.avg_pool2d(middle, 2))
        middle = self.up2(self.widen2(coarse) + middle)
        fine = self.up1(self.widen1(middle) + fine)
        return self.coding.readout(fine, steps, self.last)


class Purifier(nn.Module):
    """Removes adversarial noise from images, in front of any classifier (see ``Defended``).

    A new purifier with the paper's output stage returns its images unchanged; all layers of any new one with
    the paper's network fire (:func:`calibrate`).

    Args:
        in_channels: C of the images, usually 1 or 3.
        width: multiplier of all filters; 1 gives 4,365,382 parameters for three channels.
        time_steps: T.
        thresholds: one threshold for LIF, as in the paper; several for multi-level firing.
        decay: share of the membrane potential kept from step to step.
        surrogate: derivative of the spike in training.
        dynamics: other dynamics than multi-level firing; ``thresholds`` and ``decay`` are then unused.
        reset: whether gradients flow through the reset in training: ``"attached"`` or ``"detached"``.
        output: what becomes of the image: ``"residual"`` (the paper's), ``"bounded"``, ``"gated"`` or
            ``"reconstruction"`` (:data:`~purespike.models.output.OUTPUTS`).
        noise: standard deviation of Gaussian noise that is added to the images first, drawn anew in every
            forward from torch's global generator, in pixel units; 0 for none.
        passes: draws of the noise whose answers a :class:`~purespike.models.Defended` puts together.
        vote: ``"mean"`` of the predicted probabilities, or ``"majority"`` of the predicted classes.
        network: ``"cbdnet"``, the paper's: a noise estimator and a U-Net without batch normalisation; or
            ``"encoder_decoder"`` (:class:`~purespike.models.encoder_decoder.EncoderDecoder`), which holds
            better where it is trained through the whole, and whose noise level is what it took away.
        classes: K, for the guess of an encoder.
        coding: ``"direct"``, every step sees the image; or ``"events"``, step t sees frame t of an event
            camera, ``[N, 2T, H, W]``, and every step gives the purified frame.
        calibrated: whether to rescale the initialisation on synthetic images until all layers fire;
            ``False`` keeps PyTorch's own.

    Raises:
        InputError: a setting out of range; in forward, another channel count.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: float = 1.0,
        time_steps: int = 4,
        thresholds: Sequence[float] = LIF_THRESHOLDS,
        decay: float = 0.25,
        surrogate: Surrogate | str = "rectangle",
        dynamics: Dynamics | str | None = None,
        reset: Reset = "attached",
        output: str = "residual",
        noise: float = 0.0,
        passes: int = 1,
        vote: str = "mean",
        network: str = "cbdnet",
        classes: int = 10,
        coding: Coding | str = "direct",
        calibrated: bool = True,
    ) -> None:
        super().__init__()
        if in_channels < 1 or not width > 0:
            raise InputError(f"purifier: in_channels and width must be positive, got {in_channels}, {width}")
        coding = parse_coding(coding)
        if not isinstance(coding, Direct | Events):
            raise InputError(f"purifier: coding must be direct or events, got {coding}")
        if isinstance(coding, Events):
            coding.check_steps(in_channels, time_steps)
        if output not in OUTPUTS:
            raise unknown("output stage of a purifier", str(output), OUTPUTS)
        if network not in NETWORKS:
            raise unknown("network of a purifier", str(network), NETWORKS)
        painter, classes = network == "encoder_decoder", check_steps(classes, name="purifier: classes")
        self.config: dict[str, Any] = {
            "architecture": "purifier",
            "in_channels": in_channels,
            "width": width,
            "time_steps": time_steps,
            **({"thresholds": list(thresholds), "decay": decay} if dynamics is None else {}),
            "surrogate": str(surrogate),
            **({} if dynamics is None else {"dynamics": str(dynamics)}),
            **({} if reset == "attached" else {"reset": reset}),
            **({} if output == "residual" else {"output": output}),
            **({} if coding == _DIRECT else {"coding": coding.name}),
            **({"network": network, "classes": classes} if painter else {}),
            **({"noise": check_number(noise, name="purifier: noise")} if noise else {}),
            **({} if passes == 1 else {"passes": check_steps(passes, name="purifier: passes"), "vote": vote}),
        }
        self.noise, self.passes, self.vote = float(noise), passes, vote
        check_vote(vote)
        self.in_channels = in_channels
        neurons = NeuronConfig(thresholds, decay, surrogate, time_steps, dynamics, reset)
        if neurons.sized:
            raise InputError(
                f"dynamics {neurons.dynamics.name}: a purifier takes images of any size, so its neurons can "
                "have no values of their own; choose other dynamics"
            )
        filters, low, middle, high = (max(1, round(count * width)) for count in (32, 64, 128, 256))
        self.output = OUTPUTS[output]
        maps = self.output.maps
        stages = (low, middle, high)
        self.estimator = None if painter else NoiseEstimator(in_channels, filters, neurons, coding)
        self.denoiser: Denoiser | EncoderDecoder = (
            EncoderDecoder(in_channels, stages, neurons, maps, classes, coding)
            if painter
            else Denoiser(in_channels, stages, neurons, maps, coding)
        )
        silence(self.denoiser.last, self.output.start)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if calibrated:
            self.calibrate(natural_noise(8, in_channels, 32, seed=0))

    def forward(self, images: Tensor) -> Purified:
        check_channels(images, self.in_channels)
        if self.noise:
            images = images + self.noise * torch.randn_like(images)
        height, width = images.shape[-2:]
        padded = _padded(images)
        if self.estimator is None:
            purified = self.output.apply(padded, self.denoiser(padded))
            noise_level = (padded - purified).abs()
        else:
            noise_level = self.estimator(padded)
            purified = self.output.apply(padded, self.denoiser(padded, noise_level))
        return Purified(purified[..., :height, :width], noise_level[..., :height, :width])

    @property
    def encoder(self) -> EncoderDecoder | None:
        """The network, where it has an encoder that guesses a class."""
        return self.denoiser if isinstance(self.denoiser, EncoderDecoder) else None

    def guesses(self, images: Tensor) -> Tensor:
        """What an encoder says of ``images``, ``[N, C, H, W]``, before it paints: logits ``[N, K]``.

        Raises:
            InputError: a network without an encoder, or another channel count.
        """
        if self.encoder is None:
            raise InputError("purifier: only network encoder_decoder guesses a class")
        check_channels(images, self.in_channels)
        return self.encoder.guesses(_padded(images))

    def calibrate(self, images: Tensor) -> None:
        """Rescale every layer so that it fires on ``images``; see :mod:`purespike.models.calibration`.

        Batch normalisation does so by itself, hence nothing is done where a network has it.
        """
        if self.estimator is None:
            return
        analog = (self.estimator.last, self.denoiser.last)
        firing = [m for m in self.modules() if isinstance(m, nn.Conv2d) and m not in analog]
        calibrate(self, images, firing)


def _padded(images: Tensor) -> Tensor:
    """``images`` with replicated borders, which keep edges quiet, up to a size that can be halved twice."""
    height, width = images.shape[-2:]
    padding = (0, -width % 4, 0, -height % 4)
    return functional.pad(images, padding, mode="replicate") if any(padding) else images
