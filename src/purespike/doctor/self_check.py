"""The neuron kernels against a plain loop in float64, forwards and backwards."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.neurons import ATan, MultiLevelFiring
from purespike.neurons.compiled import enabled, expecting, failure

STEPS, IMAGES, CHANNELS, SIDE = 4, 8, 16, 16
THRESHOLDS, DECAY, ALPHA = (0.6, 1.6, 2.6), 0.25, 2.0
LIMITS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Largest relative error of the gradient that a type may have; spikes must be equal."""


@dataclass(frozen=True)
class KernelCheck:
    """One kernel beside the float64 loop.

    Args:
        name: kernel, type and tier, in words.
        forward: share of the spikes that differ.
        backward: largest error of the gradient, relative to its largest value.
        limit: largest ``backward`` that is rounding.
    """

    name: str
    forward: float
    backward: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the spikes are equal and the gradient is right up to rounding."""
        return self.forward == 0 and self.backward <= self.limit

    def __str__(self) -> str:
        mark = "ok" if self.passed else "WRONG"
        return (
            f"{mark:5} {self.name}: spikes differ in {self.forward:.1%}, gradient off by {self.backward:.1e} "
            f"(limit {self.limit:.0e})"
        )


def check_kernels(device: torch.device | str = "cpu") -> list[KernelCheck]:
    """Compare every way in which a layer of multi-level firing is computed here with the loop.

    Plain firing, and firing fused with a batch norm, in float32 and bfloat16; eager, and compiled where that
    is turned on and works. The currents are multiples of 1/64 whose membranes float32 holds exactly, and no
    membrane lies at a threshold, so that spikes are equal or a kernel is wrong.

    Args:
        device: device of the kernels.
    """
    draw = torch.Generator().manual_seed(0)
    shape = (STEPS * IMAGES, CHANNELS, SIDE, SIDE)
    current = torch.randint(-64, 256, shape, generator=draw).double() / 64
    weights = torch.randn(shape, generator=draw)
    norm = nn.BatchNorm2d(CHANNELS, eps=0).eval().requires_grad_(False).to(device)
    # a scale and a shift that are powers of two keep the membranes exact
    for parameter, value in ((norm.weight, 0.5), (norm.bias, 0.25)):
        nn.init.constant_(parameter, value)
    found = []
    for tier in ("eager", "compiled"):
        with _tier(tier) as usable:
            for kind, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
                for fused in (False, True) if usable else ():
                    name = f"{'batch norm and firing' if fused else 'multi-level firing'}, {kind}, {tier}"
                    given = weights.to(dtype).double()
                    expected = _expected(current, given, (0.5, 0.25) if fused else (1.0, 0.0))
                    with _quiet():
                        got = _computed(current, weights, norm if fused else None, dtype, device)
                    if tier == "compiled" and failure() is not None:
                        # it fell back to the eager tier, which the line above is about
                        break
                    found.append(_compare(name, got, expected, LIMITS[dtype]))
    return found


def _computed(
    current: Tensor,
    weights: Tensor,
    norm: nn.BatchNorm2d | None,
    dtype: torch.dtype,
    device: torch.device | str,
) -> tuple[Tensor, Tensor]:
    """Spikes, and the gradient of their weighted sum, by the layer itself."""
    neurons = MultiLevelFiring(THRESHOLDS, DECAY, ATan(ALPHA), time_steps=STEPS).to(device)
    x = current.to(device, dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    spikes = neurons(x, norm=norm)
    (gradient,) = torch.autograd.grad(spikes, x, weights.to(device, spikes.dtype))
    return spikes.detach(), gradient


def _expected(current: Tensor, weights: Tensor, affine: Sequence[float]) -> tuple[Tensor, Tensor]:
    r"""The same in float64, step by step, with the gradient written out by hand.

    .. math:: u[t] = d\,u[t-1](1 - o[t-1]) + x[t], \quad
        \delta[t] = g[t]\,h(u[t] - V) + d\,\delta[t+1]\,\big(1 - o[t] - u[t]\,h(u[t] - V)\big)
    """
    scale, shift = affine
    x, g = ((scale * current + shift).view(STEPS, -1), weights.view(STEPS, -1))
    spikes, gradient = torch.zeros_like(x), torch.zeros_like(x)
    for threshold in THRESHOLDS:
        u, fired, kept = [], [], torch.zeros_like(x[0])
        for t in range(STEPS):
            u.append(DECAY * kept + x[t])
            fired.append((u[t] >= threshold).double())
            kept = u[t] * (1 - fired[t])
        later = torch.zeros_like(x[0])
        for t in reversed(range(STEPS)):
            h = (ALPHA / 2) / (1 + (torch.pi / 2 * ALPHA * (u[t] - threshold)) ** 2)
            later = g[t] * h + DECAY * later * (1 - fired[t] - u[t] * h)
            gradient[t] += scale * later
        spikes += torch.stack(fired)
    return spikes.view_as(current), gradient.view_as(current)


def _compare(
    name: str, got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], limit: float
) -> KernelCheck:
    spikes, gradient = (each.double().cpu() for each in got)
    error = (gradient - expected[1]).abs().max() / expected[1].abs().max()
    backward = error.item() if bool(gradient.isfinite().all()) else float("inf")
    return KernelCheck(name, (spikes != expected[0]).double().mean().item(), backward, limit)


@contextlib.contextmanager
def _tier(name: str) -> Iterator[bool]:
    """Compute in one tier inside; whether it can be used."""
    if name == "eager":
        # for so few passes nothing is compiled
        with expecting(0):
            yield True
    else:
        yield enabled()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
