"""What the neurons of a model do on some images, layer by layer; ordinary forwards pay nothing for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.modes import mode
from purespike.neurons.adjoint import Firing
from purespike.neurons.dynamics import input_current, membrane_potentials
from purespike.neurons.firing import MultiLevelFiring
from purespike.neurons.normalised import fusible, rows_of, scale_and_shift

WINDOW = 0.1
"""A membrane is in the window of a surrogate where the derivative is at least this share of the largest."""


@dataclass(frozen=True, kw_only=True)
class Census:
    """One layer of neurons; every value is a share, from 0 to 1.

    Args:
        rate: of the spikes that would be possible, emitted.
        in_window: of the membranes of all thresholds, steps, images and neurons, those through which the
            surrogate of the layer lets a gradient pass: its derivative is at least :data:`WINDOW` of the
            largest that it could have there.
        dead: of the neurons (one per channel and position), those that fire at no step of any image.
        saturated: of the neurons, those that reach every threshold at each step of each image.
    """

    rate: float
    in_window: float
    dead: float
    saturated: float


def membrane_census(model: nn.Module, images: Tensor) -> dict[str, Census]:
    """Which share of the membranes of each layer passes a gradient, and which neurons never or always fire.

    The surrogate is the one that a layer has now, inside :func:`surrogate_gradient` the attacker's. Where it
    adapts to the membranes, the window of each is as wide as the surrogate makes it there, for one that
    remembers at a first gradient; a :class:`RateBased` or :class:`BPTR` window is the range of rates with a
    derivative, the same at all steps.

    Args:
        model: any module; called once, in evaluation mode.
        images: what it takes, e.g. ``[N, C, H, W]`` in [0, 1], at least one.

    Returns:
        Module name to census, in the order of execution; of a layer that runs several times, the last run.

    Raises:
        InputError: no image.
    """
    if not len(images):
        raise InputError("images: a census needs at least one")
    found: dict[str, Census] = {}

    def record(run: Run) -> None:
        time_steps = run.neurons.time_steps
        spikes = run.spikes if time_steps is None else run.spikes.unflatten(0, (time_steps, -1))
        # over steps and images; what is left are neurons
        over = tuple(range(min(2, spikes.ndim)))
        found[run.name] = Census(
            rate=run.rate(),
            in_window=_in_window(run),
            dead=(spikes.amax(over) == 0).float().mean().item(),
            saturated=(spikes.amin(over) == len(run.neurons.thresholds)).float().mean().item(),
        )

    _watch(model, images, record, training=False)
    return found


def firing_rates(model: nn.Module, images: Tensor, *, training: bool = False) -> dict[str, float]:
    """Share of its possible spikes that each layer of neurons emits on ``images``: 0 silent, 1 saturated.

    Args:
        model: any module; called once.
        images: what it takes, e.g. ``[N, C, H, W]`` in [0, 1].
        training: call it in training mode, which moves the statistics of batch norms, if it has any.

    Returns:
        Module name to rate, in the order of execution.
    """
    rates: dict[str, float] = {}

    def record(run: Run) -> None:
        rates[run.name] = run.rate()

    _watch(model, images, record, training=training)
    return rates


class Run(NamedTuple):
    """One run of a layer."""

    name: str
    neurons: MultiLevelFiring
    current: Tensor
    norm: nn.BatchNorm2d | None
    """What comes before the neurons in the same pass, if anything."""
    spikes: Tensor

    def rate(self) -> float:
        return self.spikes.float().mean().item() / len(self.neurons.thresholds)


@torch.inference_mode()
def _watch(model: nn.Module, images: Tensor, record: Callable[[Run], None], *, training: bool) -> None:
    def hook_of(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: tuple[Any, ...], named: dict[str, Any], spikes: Tensor) -> None:
            record(Run(name, module, *_bound(*inputs, **named), spikes))

        return hook

    hooks = [
        module.register_forward_hook(hook_of(name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, MultiLevelFiring)
    ]
    try:
        with mode(model, training=training):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()


def _bound(current: Tensor, norm: nn.BatchNorm2d | None = None) -> tuple[Tensor, nn.BatchNorm2d | None]:
    """What a layer was called with."""
    return current, norm


def _in_window(run: Run) -> float:
    rows, affine = _as_fired(run)
    inputs = [input_current(rows, affine, t) for t in range(len(rows))]
    shares: list[Tensor] = []
    for threshold in run.neurons.thresholds:
        membranes, silent = membrane_potentials(inputs, threshold, run.neurons.decay)
        firing = Firing(inputs, membranes, silent, rows.new_empty(0), threshold, run.neurons.decay)
        slopes = run.neurons.surrogate.relative_slopes(firing)
        shares += [(slope >= WINDOW).float().mean() for slope in slopes]
    return torch.stack(shares).mean().item()


def _as_fired(run: Run) -> tuple[Tensor, list[Tensor]]:
    """The current, channels last where it has any, and the scale and shift per channel that come first."""
    current, norm, time_steps = run.current, run.norm, run.neurons.time_steps
    images = current.ndim == 4
    affine: list[Tensor] = []
    if norm is not None and time_steps is not None and fusible(norm, current, time_steps):
        assert norm.running_mean is not None and norm.running_var is not None
        affine = [*scale_and_shift(norm, norm.running_mean, norm.running_var)[1:]]
    elif norm is not None:
        current = norm(current)
    if time_steps is None:
        time_steps, images = len(current), current.ndim == 5
        current = current.flatten(0, 1) if images else current
    return rows_of(current, time_steps) if images else current.reshape(time_steps, -1), affine
