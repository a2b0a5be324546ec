"""An ANN's weights in a spiking network: thresholds that its currents reach, layer by layer."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from purespike.errors import InputError
from purespike.models.layers import Normalise
from purespike.models.steps import time_steps
from purespike.modes import mode
from purespike.neurons import SpikingNeuron
from purespike.neurons.learnable_dynamics import LEAST
from purespike.seeding import seeded

SCALING = (nn.BatchNorm2d, nn.Linear, nn.Conv2d)
"""Layers whose weight and bias are factors of their output."""


class Site(NamedTuple):
    """A layer of neurons, and the layer whose output is their current."""

    name: str
    neurons: SpikingNeuron
    source: nn.Module | None

    @property
    def highest(self) -> float | Tensor:
        """The highest threshold."""
        return self.neurons.tensors()["threshold"] if self.learned else self.neurons.thresholds[-1]

    @property
    def learned(self) -> bool:
        """Whether training changes the threshold."""
        return "threshold" in self.neurons.tensors()

    @torch.no_grad()
    def enlarge(self, factor: float | Tensor) -> None:
        """Make the current so many times as large, measured by the thresholds.

        A learned threshold shrinks. Where thresholds are fixed, all K of them together, the layer before them
        takes the factor, which is the same for the spikes.

        Raises:
            InputError: fixed thresholds after a layer that takes no factor.
        """
        if self.learned:
            self.neurons.tensors()["threshold"].div_(factor)
            return
        if self.source is None:
            raise self.unscaled()
        for parameter in (self.source.weight, self.source.bias):
            if isinstance(parameter, Tensor):
                parameter.mul_(factor)

    def unscaled(self) -> InputError:
        return InputError(
            f"conversion: no layer before {self.name} takes the factor of its thresholds; give the network "
            "learned ones, dynamics: learnablelif"
        )


class _Reached(Exception):
    """The current that a forward was made for."""


def take_weights(model: nn.Module, twin: nn.Module) -> None:
    """Give ``model`` the weights and batch norms of its ``twin``; neurons and normalisation stay.

    The frames of a coding are not normalised as images are.

    Raises:
        InputError: not a twin.
    """
    own = tuple(
        f"{name}." for name, module in model.named_modules() if isinstance(module, SpikingNeuron | Normalise)
    )
    given = {name: value for name, value in twin.state_dict().items() if not name.startswith(own)}
    found = model.load_state_dict(given, strict=False)
    odd = [name for name in (*found.missing_keys, *found.unexpected_keys) if not name.startswith(own)]
    if odd:
        raise InputError(f"conversion: the ANN is no twin of the network: {', '.join(sorted(odd)[:3])}")


def find_thresholds(
    model: nn.Module, batches: Sequence[Tensor], *, percentile: float, scale: float, steps: int
) -> dict[str, float]:
    r"""Set the thresholds of ``model`` by the currents on some images (Özdenizci & Legenstein 2024).

    .. math:: V_l = s \max_b\, \mathrm{percentile}_p(x_l), \quad l = 1, 2, \dots

    over the steps, images and neurons of each batch b. A threshold is at work when the next layer is looked
    at; the factor s comes after the last. The highest of several thresholds becomes V, and the others move
    along. Batch norms take the statistics of the batch meanwhile, which undoes the scale of spikes; their own
    are measured in the end, with the neurons as they have become.

    Args:
        model: a classifier of purespike's, changed in place.
        batches: images ``[N, C, H, W]`` in [0, 1].
        percentile: p, in (0, 100].
        scale: s.
        steps: time steps of the search.

    Returns:
        V of each layer of neurons by module name, in the order of execution.

    Raises:
        InputError: a threshold that can be set nowhere.
    """
    found: dict[str, float] = {}
    with torch.no_grad(), _batch_statistics(model):
        sites = _sites(model, batches[0])
        with time_steps(model, steps):
            for site in sites:
                levels = [_percentile(_current(model, site, images), percentile) for images in batches]
                level = max(LEAST, *levels)
                factor = float(site.highest / level)
                site.enlarge(factor)
                if not site.learned:
                    # a sum of several layers is no multiple of one of them
                    again = _percentile(_current(model, site, batches[0]), percentile)
                    if not math.isclose(again, factor * levels[0], rel_tol=1e-3, abs_tol=1e-6):
                        raise site.unscaled()
                found[site.name] = scale * level
        for site in sites:
            site.enlarge(1 / scale)
    update_bn(batches, model)
    return found


@contextlib.contextmanager
def _batch_statistics(model: nn.Module) -> Iterator[None]:
    with mode(model, training=False):
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
        yield


def _sites(model: nn.Module, images: Tensor) -> list[Site]:
    """Layers of neurons in the order of execution, each with the last layer before it that scales."""
    sites: list[Site] = []
    last: list[nn.Module | None] = [None]

    def scaled(module: nn.Module, *_: Any) -> None:
        last[0] = module

    def reached(name: str) -> Any:
        def hook(module: SpikingNeuron, _: Any, named: dict[str, Any]) -> None:
            norm = named.get("norm")
            sites.append(Site(name, module, last[0] if norm is None else norm))
            last[0] = None

        return hook

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, SpikingNeuron):
            hooks.append(module.register_forward_pre_hook(reached(name), with_kwargs=True))
        elif isinstance(module, SCALING):
            hooks.append(module.register_forward_hook(scaled))
    try:
        model(images[:2])
    finally:
        for hook in hooks:
            hook.remove()
    return sites


def _current(model: nn.Module, site: Site, images: Tensor) -> Tensor:
    """The current of a layer of neurons, whose layers behind it are not computed."""
    seen: list[Tensor] = []

    def hook(module: SpikingNeuron, inputs: tuple[Tensor], named: dict[str, Any]) -> None:
        norm = named.get("norm")
        seen.append(inputs[0] if norm is None else norm(inputs[0]))
        raise _Reached

    handle = site.neurons.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        # of frames that are drawn, or noise, every call sees the same
        with seeded("current", device=images.device):
            model(images)
    except _Reached:
        pass
    finally:
        handle.remove()
    return seen[0]


def _percentile(values: Tensor, percentile: float) -> float:
    """The smallest value that is at least as large as this share of all."""
    # torch.quantile takes 16 million values at most, and neither knows half precision
    values = values.flatten().to(torch.promote_types(values.dtype, torch.float32))
    rank = max(1, math.ceil(percentile / 100 * len(values)))
    return values.kthvalue(rank).values.item()
