"""What is fast on this machine and what is not: ratios of times of one run."""

import statistics
import time
import warnings
from collections.abc import Callable

import torch

from purespike.doctor.surroundings import Fact
from purespike.neurons import MultiLevelFiring
from purespike.neurons.compiled import enabled, expecting, failure

ROUNDS = 5
SHAPE = (4 * 16, 64, 16, 16)
"""Currents of a layer: 16 images and 4 time steps of 64 channels."""


def measure_speed(device: torch.device | str = "cpu") -> list[Fact]:
    """Compiled neurons against eager ones, and bfloat16 convolutions against float32 ones.

    Each is the median of some rounds that alternate, so that whatever else runs here slows both.

    Args:
        device: device to measure.
    """
    device = torch.device(device)
    return [_neurons(device), _bfloat16(device)]


def _neurons(device: torch.device) -> Fact:
    if not enabled():
        why = "PURESPIKE_COMPILE=0" if failure() is None else f"it failed: {failure()}"
        return Fact("neurons", f"eager: compilation is off ({why})")
    layer = MultiLevelFiring(time_steps=4).to(device)
    current = torch.randn(SHAPE, device=device).contiguous(memory_format=torch.channels_last).requires_grad_()

    def step() -> None:
        torch.autograd.grad(layer(current).sum(), current)

    def eager() -> None:
        with expecting(0):
            step()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slow, fast = _times(device, eager, step)
    if (reason := failure()) is not None:
        return Fact("neurons", f"eager: they could not be compiled ({reason.strip().splitlines()[0][:120]})")
    return Fact(
        "neurons", f"compiled, {slow / fast:.1f} times as fast as eager ({1000 * fast:.1f} ms a layer)"
    )


def _bfloat16(device: torch.device) -> Fact:
    """A convolution with its backward; convolutions take most of a training step."""
    images = torch.randn(SHAPE, device=device).contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False, device=device)

    def step() -> None:
        torch.autograd.grad(layer(images).sum(), layer.weight)

    def half() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            step()

    try:
        whole, short = _times(device, step, half)
    except RuntimeError as error:
        return Fact("bfloat16", f"not available here ({str(error).splitlines()[0][:100]})")
    ratio = whole / short
    advice = "worth --precision bf16" if ratio > 1.2 else "no gain: train with --precision fp32"
    return Fact("bfloat16", f"convolutions {ratio:.1f} times as fast as in float32; {advice}")


def _times(device: torch.device, *functions: Callable[[], None]) -> list[float]:
    """Median seconds of each function, in alternating rounds after one that is not counted."""
    taken: list[list[float]] = [[] for _ in functions]
    for number in range(ROUNDS + 1):
        for function, times in zip(functions, taken, strict=True):
            begun = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:
                times.append(time.perf_counter() - begun)
    return [statistics.median(times) for times in taken]
