"""Spiking neurons: multi-level firing, LIF, and the surrogates of their derivative."""

from purespike.neurons.firing import (
    LIF,
    LIF_THRESHOLDS,
    MLF_THRESHOLDS,
    MultiLevelFiring,
    firing_rates,
    multi_level_firing,
    surrogate_gradient,
)
from purespike.neurons.surrogate import ATan, Rectangle, Surrogate, Triangle, parse_surrogate

__all__ = [
    "LIF",
    "LIF_THRESHOLDS",
    "MLF_THRESHOLDS",
    "ATan",
    "MultiLevelFiring",
    "Rectangle",
    "Surrogate",
    "Triangle",
    "firing_rates",
    "multi_level_firing",
    "parse_surrogate",
    "surrogate_gradient",
]
