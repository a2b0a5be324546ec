"""Activity of the neurons of a model on some images, layer by layer, at no cost to ordinary forwards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from purespike.checks import copy_for
from purespike.errors import InputError
from purespike.modes import mode
from purespike.neurons.neuron import SpikingNeuron

WINDOW = 0.1
"""A membrane is in the window of a surrogate where the derivative is at least this share of the largest."""


@dataclass(frozen=True, kw_only=True)
class Census:
    """One layer of neurons; every value is a share, from 0 to 1.

    Args:
        rate: emitted share of the possible spikes.
        in_window: share of the membranes (of all thresholds, steps, images and neurons) through which the
            surrogate of the layer lets a gradient pass: its derivative is at least :data:`WINDOW` of the
            largest that it could have there.
        dead: share of the neurons (one per channel and position) that fire at no step of any image.
        saturated: share of the neurons that reach every threshold at each step of each image.
    """

    rate: float
    in_window: float
    dead: float
    saturated: float


def membrane_census(model: nn.Module, images: Tensor) -> dict[str, Census]:
    """Share of the membranes of each layer that pass a gradient, and of neurons that never or always fire.

    The surrogate is the one that a layer has now, inside :func:`surrogate_gradient` the attacker's. Where it
    adapts to the membranes, the window of each is as wide as the surrogate makes it there, for one that
    remembers at a first gradient; a :class:`RateBased` or :class:`BPTR` window is the range of rates with a
    derivative, the same at all steps.

    Args:
        model: any module; called once, in evaluation mode.
        images: input of the model, e.g. ``[N, C, H, W]`` in [0, 1], at least one.

    Returns:
        Module name to census, in the order of execution; the last run of a layer that runs several times.

    Raises:
        InputError: no image.
    """
    if not len(images):
        raise InputError("images: a census needs at least one")
    found: dict[str, Census] = {}

    def record(run: Run) -> None:
        time_steps = run.neurons.time_steps
        spikes = run.spikes if time_steps is None else run.spikes.unflatten(0, (time_steps, -1))
        # over steps and images: the other dimensions are neurons
        over = tuple(range(min(2, spikes.ndim)))
        found[run.name] = Census(
            rate=run.rate(),
            in_window=_in_window(run),
            dead=(spikes.amax(over) == 0).float().mean().item(),
            saturated=(spikes.amin(over) == run.neurons.levels).float().mean().item(),
        )

    _watch(model, images, record, training=False)
    return found


def firing_rates(model: nn.Module, images: Tensor, *, training: bool = False) -> dict[str, float]:
    """Share of its possible spikes that each layer of neurons emits on ``images``: 0 silent, 1 saturated.

    Args:
        model: any module; called once.
        images: input of the model, e.g. ``[N, C, H, W]`` in [0, 1].
        training: call it in training mode, which moves the statistics of batch norms, if it has any.

    Returns:
        Module name to rate, in the order of execution.
    """
    rates: dict[str, float] = {}

    def record(run: Run) -> None:
        rates[run.name] = run.rate()

    _watch(model, images, record, training=training)
    return rates


@dataclass(frozen=True, kw_only=True)
class LayerFiring:
    """The spikes of one layer at each time step.

    Args:
        spikes: mean number of spikes of an image at each step, ``T`` values.
        rates: share of the possible spikes that is emitted at each step, from 0 to 1.
    """

    spikes: tuple[float, ...]
    rates: tuple[float, ...]


def answer_and_firing(model: nn.Module, images: Tensor) -> tuple[Any, dict[str, LayerFiring]]:
    """What ``model`` answers to ``images``, and what each layer of neurons fires at each time step meanwhile.

    Args:
        model: any module; called once, in evaluation mode, without gradients.
        images: input of the model, e.g. ``[N, C, H, W]`` in [0, 1].

    Returns:
        The output of the model, and module name to firing in the order of execution; of a layer that runs
        several times that of its last run.
    """
    found: dict[str, LayerFiring] = {}

    def record(run: Run) -> None:
        steps = run.neurons.time_steps
        spikes = run.spikes if steps is None else run.spikes.unflatten(0, (steps, -1))
        at_step = spikes.double().flatten(1)
        rates = at_step.mean(1) / run.neurons.levels
        # a batch that a purifier repeats has more rows than images
        count = at_step.sum(1) / spikes.shape[1]
        found[run.name] = LayerFiring(spikes=tuple(count.tolist()), rates=tuple(rates.tolist()))

    answer = _watch(model, images, record, training=False)
    return answer, found


class Run(NamedTuple):
    """One run of a layer."""

    name: str
    neurons: SpikingNeuron
    current: Tensor
    norm: nn.BatchNorm2d | None
    """Normalisation before the neurons in the same pass, if any."""
    spikes: Tensor

    def rate(self) -> float:
        return self.spikes.float().mean().item() / self.neurons.levels


@torch.inference_mode()
def _watch(model: nn.Module, images: Tensor, record: Callable[[Run], None], *, training: bool) -> Any:
    def hook_of(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: tuple[Any, ...], named: dict[str, Any], spikes: Tensor) -> None:
            record(Run(name, module, *_bound(*inputs, **named), spikes))

        return hook

    hooks = [
        module.register_forward_hook(hook_of(name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, SpikingNeuron)
    ]
    try:
        with mode(model, training=training):
            return model(copy_for(model, images))
    finally:
        for hook in hooks:
            hook.remove()


def _bound(current: Tensor, norm: nn.BatchNorm2d | None = None) -> tuple[Tensor, nn.BatchNorm2d | None]:
    """Arguments of a layer's call."""
    return current, norm


def _in_window(run: Run) -> float:
    shares: list[Tensor] = []
    for activity in run.neurons.activities(run.current, run.norm):
        slopes = run.neurons.surrogate.relative_slopes(activity)
        shares += [(slope >= WINDOW).float().mean() for slope in slopes]
    return torch.stack(shares).mean().item()
