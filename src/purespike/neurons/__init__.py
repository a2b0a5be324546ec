"""Spiking neurons: multi-level firing, LIF, and the surrogates of their derivative."""

from purespike.neurons.adaptive_surrogates import ASSG, PDSG
from purespike.neurons.census import Census, firing_rates, membrane_census
from purespike.neurons.elementwise_surrogates import (
    ATan,
    Exponential,
    Gaussian,
    Rectangle,
    StraightThrough,
    Triangle,
)
from purespike.neurons.firing import (
    LIF,
    LIF_THRESHOLDS,
    MLF_THRESHOLDS,
    MultiLevelFiring,
    multi_level_firing,
    surrogate_gradient,
)
from purespike.neurons.memory import Memory
from purespike.neurons.rate_surrogates import BPTR, HART, RateBased
from purespike.neurons.surrogate import RememberingSurrogate, Surrogate, parse_surrogate

__all__ = [
    "ASSG",
    "BPTR",
    "HART",
    "LIF",
    "LIF_THRESHOLDS",
    "MLF_THRESHOLDS",
    "PDSG",
    "ATan",
    "Census",
    "Exponential",
    "Gaussian",
    "Memory",
    "MultiLevelFiring",
    "RateBased",
    "Rectangle",
    "RememberingSurrogate",
    "StraightThrough",
    "Surrogate",
    "Triangle",
    "firing_rates",
    "membrane_census",
    "multi_level_firing",
    "parse_surrogate",
    "surrogate_gradient",
]
