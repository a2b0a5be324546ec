"""Spiking neurons: multi-level firing, LIF, and the surrogates of their derivative."""

from purespike.neurons.adaptive_surrogates import ASSG, PDSG
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
    firing_rates,
    multi_level_firing,
    surrogate_gradient,
)
from purespike.neurons.rate_surrogates import HART, RateBased
from purespike.neurons.surrogate import Surrogate, parse_surrogate

__all__ = [
    "ASSG",
    "HART",
    "LIF",
    "LIF_THRESHOLDS",
    "MLF_THRESHOLDS",
    "PDSG",
    "ATan",
    "Exponential",
    "Gaussian",
    "MultiLevelFiring",
    "RateBased",
    "Rectangle",
    "StraightThrough",
    "Surrogate",
    "Triangle",
    "firing_rates",
    "multi_level_firing",
    "parse_surrogate",
    "surrogate_gradient",
]
