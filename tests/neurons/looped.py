"""Multi-level firing without its kernel: several membranes a neuron, by the loop of any dynamics."""

from dataclasses import dataclass

from purespike.neurons import MLF


@dataclass(frozen=True)
class Looped(MLF):
    """Written ``looped(thresholds=…, decay=…)``."""

    kernel = None
