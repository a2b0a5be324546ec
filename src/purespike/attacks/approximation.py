"""An attacker's imitation of a purifier: an ordinary small network, learned from its inputs and outputs."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from purespike.ball import Ball
from purespike.checks import check_images, check_steps
from purespike.errors import InputError
from purespike.modes import float32_by_default, mode
from purespike.scalars import check_number
from purespike.seeding import generator, seeded

_SMALLEST = 1e-12
# side of the linear filter, that of a 7×7 blur
_FILTER = 7
# ridge, as a share of a pixel's mean square: keeps the filter small where images do not determine it
_RIDGE = 1e-6


@dataclass(frozen=True)
class Fit:
    """How well an approximation imitates, on images it has not learned from, clean and perturbed.

    Args:
        relative_error: ‖a(x) - p(x)‖ / ‖p(x) - x‖ over all of them: 0 is perfect, 1 as bad as the identity.
        learned: images it has learned from.
        held_out: images it is judged on.
        steps: training steps.
        eps: budget of the perturbations.
        norm: norm of that budget.
        seed: seed of the network, the order and the perturbations.
    """

    relative_error: float
    learned: int
    held_out: int
    steps: int
    eps: float
    norm: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _Block(nn.Module):
    """A dilated 3×3 convolution, added to its input."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.convolution(functional.relu(features))


class Approximation(nn.Module):
    """Images ``[N, C, H, W]``, plus a linear filter of them, plus a small network; the identity at first.

    No normalisation and no dropout: the same function in either mode.

    Args:
        channels: channels of the images.
        width: feature maps of the network.
    """

    fit: Fit | None
    scales: Tensor

    def __init__(self, channels: int, *, width: int = 16) -> None:
        super().__init__()
        self.fit = None
        self.filter = nn.Conv2d(channels, channels, _FILTER, padding=_FILTER // 2)
        self.first = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(_Block(width, dilation) for dilation in (1, 2, 4)))
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        # residuals may be of the size of 1/255: weights near 1 learn faster than weights as small as that
        self.register_buffer("scales", torch.ones(2))
        for convolution in (self.filter, self.last):
            nn.init.zeros_(convolution.weight)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)

    def described(self) -> dict[str, Any] | None:
        """How well it imitates, as JSON values; ``None`` if it was not fitted."""
        return None if self.fit is None else self.fit.to_json()

    def residual(self, images: Tensor) -> Tensor:
        """The change of the images, same shape."""
        filtered = self.filter(images)
        features = self.first(torch.cat([images - 0.5, filtered / self.scales[0]], 1))
        added: Tensor = filtered + self.scales[1] * self.last(self.blocks(features))
        return added

    def forward(self, images: Tensor) -> Tensor:
        return images + self.residual(images)


def fit_approximation(
    purifier: nn.Module,
    images: Tensor,
    *,
    eps: float | str = 8 / 255,
    norm: str = "linf",
    steps: int = 200,
    batch_size: int = 16,
    learning_rate: float = 2e-3,
    draws: int = 4,
    width: int = 16,
    seed: int = 0,
) -> Approximation:
    """Train a differentiable network to imitate a purifier, from images alone; labels are not needed.

    The purifier is asked once about every image as it is and under ``draws - 1`` random perturbations, and is
    left as it was: neither gradients nor changes of mode, and no draw from the global generators. The result
    depends on the seed alone (on a CPU).

    Args:
        purifier: any module from images to ``Purified``, or to a tensor of images; asked in evaluation mode.
        images: ``[N, C, H, W]`` floats in [0, 1], at least two; every eighth is held out to judge the fit.
        eps: largest perturbation: L∞ in pixel units, or for ``norm="l2"`` a radius.
        norm: ``"linf"`` or ``"l2"``.
        steps: steps of Adam, whose learning rate falls to zero by a cosine.
        batch_size: images per step.
        learning_rate: first learning rate.
        draws: versions of each image.
        width: feature maps of the network.
        seed: seed of its initialisation, the perturbations and the order.

    Returns:
        The network, frozen; its ``fit`` says how well it imitates.

    Raises:
        InputError: images not of that form or fewer than two, a setting out of range, or a purifier that
            returns anything but finite images of the same shape.
    """
    check_images(images)
    if len(images) < 2:
        raise InputError("fit_approximation: needs at least two images, one of them to judge the fit on")
    whole = {"steps": steps, "batch_size": batch_size, "draws": draws, "width": width}
    steps, batch_size, draws, width = (check_steps(value, name=name) for name, value in whole.items())
    learning_rate = check_number(learning_rate, name="learning_rate", positive=True)
    ball = Ball.parse(eps, norm)

    device, count = images.device, len(images)
    with (
        torch.inference_mode(False),
        torch.autocast(device.type, enabled=False),
        seeded(seed, "approximation", device=device),
    ):
        # a copy: tensors made in inference mode cannot be learned from
        clean = images.detach().float().clone()
        versions = [clean] + [_perturbed(clean, ball, seed, draw) for draw in range(1, draws)]
        residuals = [_residual(purifier, version, batch_size) for version in versions]
        held_out = torch.arange(count) % 8 == (7 if count > 7 else count - 1)
        known = (~held_out).nonzero().squeeze(1).to(device)
        new = held_out.nonzero().squeeze(1).to(device)
        # made on the CPU: the same weights for every device
        with float32_by_default():
            network = Approximation(images.shape[1], width=width)
        network.to(device)
        seen = torch.cat([version[known] for version in versions])
        wanted = torch.cat([residual[known] for residual in residuals])
        _solve(network, seen, wanted, batch_size)
        _train(
            network,
            seen,
            wanted,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            order=generator(seed, "approximation", "order"),
        )
        network.requires_grad_(False)
        error = _relative_error(
            network,
            torch.cat([version[new] for version in versions]),
            torch.cat([residual[new] for residual in residuals]),
            batch_size,
        )
    network.fit = Fit(error, len(known), len(new), steps, ball.size, norm, seed)
    return network.eval()


def _perturbed(images: Tensor, ball: Ball, seed: int, draw: int) -> Tensor:
    """Images moved at random inside the ball: by noise or, in every other draw, towards its corners.

    Signed steps end near the corners.
    """
    draws = generator(seed, "approximation", "noise", draw)
    if "steepest" not in ball.rules:
        # a set without directions to follow: of pixels, not of distances
        return ball.point(images, draws)
    noise = torch.rand(images.shape, generator=draws, dtype=torch.float32) * 2 - 1
    size = torch.rand((len(images), 1, 1, 1), generator=draws, dtype=torch.float32)
    if draw % 2:
        noise = noise.sign()
    return (images + (ball.size * size * ball.unit(noise)).to(images)).clamp(0, 1)


@torch.no_grad()
def _residual(purifier: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    """The purifier's change of the images, same shape."""
    found = []
    with mode(purifier, training=False):
        for batch in images.split(batch_size):
            # a purifier may work in place
            purified = purifier(batch.clone())
            purified = purified if isinstance(purified, Tensor) else getattr(purified, "images", None)
            if not isinstance(purified, Tensor) or purified.shape != batch.shape:
                raise InputError(
                    f"fit_approximation: the purifier must return images of shape {list(batch.shape)}, "
                    f"got {list(purified.shape) if isinstance(purified, Tensor) else 'something else'}"
                )
            found.append(purified.detach().float() - batch)
    residual = torch.cat(found)
    if not torch.isfinite(residual).all():
        raise InputError("fit_approximation: the purifier returns values that are not finite; fix it first")
    return residual


@torch.no_grad()
def _solve(network: Approximation, images: Tensor, residuals: Tensor, batch_size: int) -> None:
    """Set the linear filter to the least-squares solution, and the scales to the residuals.

    Perturbations are small and fine beside the images: gradient steps would be slow to find the filter that
    removes them.
    """
    channels = images.shape[1]
    size = channels * _FILTER**2 + 1
    gram = torch.zeros((size, size), dtype=torch.float64, device=images.device)
    moments = torch.zeros((size, channels), dtype=torch.float64, device=images.device)
    for batch, wanted in zip(images.split(batch_size), residuals.split(batch_size), strict=True):
        patches = functional.unfold(batch, _FILTER, padding=_FILTER // 2)
        rows = torch.cat([patches, torch.ones_like(patches[:, :1])], 1).transpose(0, 1).flatten(1)
        gram += (rows @ rows.T).double()
        moments += (rows @ wanted.transpose(0, 1).flatten(1).T).double()
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean())
    solution = torch.linalg.solve(gram, moments).to(images).T
    network.filter.weight.copy_(solution[:, :-1].reshape(network.filter.weight.shape))
    assert network.filter.bias is not None
    network.filter.bias.copy_(solution[:, -1])
    batches = zip(images.split(batch_size), residuals.split(batch_size), strict=True)
    left = sum(((network.filter(batch) - wanted).square().sum().item()) for batch, wanted in batches)
    whole = residuals.double().square().sum().item()
    network.scales.copy_(torch.tensor([whole, left]).div(residuals.numel()).sqrt().clamp(min=_SMALLEST))


def _train(
    network: Approximation,
    images: Tensor,
    residuals: Tensor,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    order: torch.Generator,
) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    with torch.enable_grad():
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            rows = torch.randint(len(images), (batch_size,), generator=order).to(images.device)
            error = (network.residual(images[rows]) - residuals[rows]) / network.scales[1]
            optimiser.zero_grad(set_to_none=True)
            error.square().mean().backward()
            optimiser.step()


@torch.no_grad()
def _relative_error(network: Approximation, images: Tensor, residuals: Tensor, batch_size: int) -> float:
    batches = zip(images.split(batch_size), residuals.split(batch_size), strict=True)
    wrong = sum(
        (network.residual(batch) - wanted).double().square().sum().item() for batch, wanted in batches
    )
    return math.sqrt(wrong / max(residuals.double().square().sum().item(), _SMALLEST**2))
