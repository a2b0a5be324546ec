"""Another number of time steps for a while."""

import contextlib
from collections.abc import Iterator

from torch import nn

from purespike.models.frequency import Frequency
from purespike.models.layers import NeuronConfig
from purespike.neurons import DLIF, SpikingNeuron


def fixed_steps(model: nn.Module) -> str | None:
    """The part of ``model`` that has a value for each time step, and so takes no others; or ``None``."""
    for module in model.modules():
        dynamics = module.dynamics if isinstance(module, SpikingNeuron) else None
        if isinstance(dynamics, DLIF) or (dynamics is not None and dynamics.sized):
            return f"dynamics {dynamics.name}"
    coding = getattr(model, "coding", None)
    return "coding frequency(radii=...)" if isinstance(coding, Frequency) and coding.radii else None


@contextlib.contextmanager
def time_steps(model: nn.Module, steps: int) -> Iterator[None]:
    """Run ``model``, one of purespike's, for ``steps`` time steps inside; its own number returns on exit."""
    neurons: list[SpikingNeuron | NeuronConfig] = []
    for module in model.modules():
        config = getattr(module, "neurons", None)
        if isinstance(module, SpikingNeuron) and module.time_steps is not None:
            neurons.append(module)
        elif isinstance(config, NeuronConfig):
            neurons.append(config)
    former = [each.time_steps for each in neurons]
    try:
        for each in neurons:
            each.time_steps = steps
        yield
    finally:
        for each, own in zip(neurons, former, strict=True):
            each.time_steps = own
