"""The same neuron as others build it: SpikingJelly, snnTorch, and a plain loop for autograd."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from purespike.neurons import MLF_THRESHOLDS

DECAY = 0.25
Firing = Callable[[Tensor, Sequence[float]], Tensor]


class _Spike(torch.autograd.Function):
    """A step whose derivative is the rectangle of width one."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        return gradient * (distance.abs() < 0.5).to(gradient.dtype)


def plain_loop(current: Tensor, thresholds: Sequence[float] = MLF_THRESHOLDS) -> Tensor:
    """The equations as they are written, one autograd node per operation, ``[T, ...]``."""
    membranes = [torch.zeros_like(current[0]) for _ in thresholds]
    fired = [torch.zeros_like(current[0]) for _ in thresholds]
    counts: list[Any] = []
    for x in current:
        for k, threshold in enumerate(thresholds):
            membranes[k] = DECAY * membranes[k] * (1 - fired[k]) + x
            fired[k] = _Spike.apply(membranes[k] - threshold)
        counts.append(sum(fired))
    return torch.stack(counts)


def adaptive_loop(current: Tensor) -> Tensor:
    """An adaptive threshold, the equations as they are written, with the defaults of ours."""
    membrane, fired, adaptation = (torch.zeros_like(current[0]) for _ in range(3))
    spikes = []
    for x in current:
        membrane = DECAY * membrane * (1 - fired) + x
        fired = _Spike.apply(membrane - 0.6 - 1.08 * adaptation)
        adaptation = 0.9 * adaptation + 0.1 * fired
        spikes.append(fired)
    return torch.stack(spikes)


def spikingjelly(current: Tensor, thresholds: Sequence[float] = MLF_THRESHOLDS) -> Tensor:
    """The sum of one multi-step ``LIFNode`` per threshold."""
    from spikingjelly.activation_based import neuron, surrogate

    total: Any = 0
    for threshold in thresholds:
        node = neuron.LIFNode(
            tau=1 / (1 - DECAY),
            decay_input=False,
            v_threshold=threshold,
            v_reset=0.0,
            surrogate_function=surrogate.Rect(1.0),
            detach_reset=False,
            step_mode="m",
        )
        total = total + node(current)
    return total


def snntorch(current: Tensor, thresholds: Sequence[float] = MLF_THRESHOLDS) -> Tensor:
    """The sum of one ``Leaky`` cell per threshold, called step by step."""
    import snntorch as snn

    total: Any = 0
    for threshold in thresholds:
        cell = snn.Leaky(
            beta=DECAY,
            threshold=threshold,
            reset_mechanism="zero",
            reset_delay=False,
            spike_grad=_Spike.apply,
        ).to(current.device)
        membrane = cell.reset_mem()
        steps = []
        for x in current:
            spikes, membrane = cell(x, membrane)
            steps.append(spikes)
        total = total + torch.stack(steps)
    return total


PEERS: dict[str, Firing] = {"SpikingJelly": spikingjelly, "snnTorch": snntorch}


def available(name: str) -> str | None:
    """``None`` if the peer called ``name`` can be imported, else a line that says how to get it."""
    module = name.lower()
    if importlib.util.find_spec(module) is None:
        # SpikingJelly asks for torchvision and torchaudio, which its neurons do not use
        advice = "--no-deps spikingjelly" if module == "spikingjelly" else '-e ".[bench]"'
        return f"{name} is not installed; pip install {advice}"
    try:
        importlib.import_module(
            "spikingjelly.activation_based.neuron" if module == "spikingjelly" else module
        )
    except Exception as error:
        return f"{name} cannot be imported: {' '.join(str(error).split())[:150]}"
    return None


class Folded(nn.Module):
    """A peer's neurons in place of ours: time folded into the batch, ``[T·N, ...]``."""

    def __init__(self, firing: Firing, thresholds: Sequence[float], time_steps: int) -> None:
        super().__init__()
        self.firing, self.thresholds, self.time_steps = firing, tuple(thresholds), time_steps

    def forward(self, current: Tensor) -> Tensor:
        return self.firing(current.unflatten(0, (self.time_steps, -1)), self.thresholds).flatten(0, 1)
