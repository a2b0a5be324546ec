"""Spiking neurons: multi-level firing, LIF, any other dynamics, and the surrogates of their derivative."""

from purespike.neurons.adaptive_dynamics import AdaptiveLIF, ParametricLIF
from purespike.neurons.adaptive_surrogates import ASSG, PDSG
from purespike.neurons.carry import Carried, carrying
from purespike.neurons.census import (
    Census,
    LayerFiring,
    answer_and_firing,
    firing_rates,
    membrane_census,
)
from purespike.neurons.driven_dynamics import DLIF, NoisyLIF
from purespike.neurons.dynamics import LIF_THRESHOLDS, MLF, MLF_THRESHOLDS, Dynamics, parse_dynamics
from purespike.neurons.elementwise_surrogates import (
    ATan,
    Exponential,
    Gaussian,
    Rectangle,
    Sigmoid,
    StraightThrough,
    Triangle,
)
from purespike.neurons.exchange import (
    accepted,
    accepts,
    exchangeable_neurons,
    other_resets,
    surrogate_gradient,
)
from purespike.neurons.firing import LIF, MultiLevelFiring
from purespike.neurons.foreign import foreign_neurons
from purespike.neurons.gates import GATES, Gates
from purespike.neurons.learnable_dynamics import LearnableLIF, ReLU
from purespike.neurons.loop import fire_dynamics
from purespike.neurons.memory import Memory
from purespike.neurons.multi_level import multi_level_firing
from purespike.neurons.neuron import SpikingNeuron, size_neurons, spiking_neurons
from purespike.neurons.neuron_dynamics import TALIF, StepLIF
from purespike.neurons.rate_surrogates import BPTR, HART, RateBased
from purespike.neurons.recalibration import Recalibration
from purespike.neurons.reset import RESETS, Reset, parse_reset
from purespike.neurons.surrogate import RememberingSurrogate, Surrogate, parse_surrogate
from purespike.neurons.unknown import own_gradients, unknown_spiking_modules

__all__ = [
    "ASSG",
    "BPTR",
    "DLIF",
    "GATES",
    "HART",
    "LIF",
    "LIF_THRESHOLDS",
    "MLF",
    "MLF_THRESHOLDS",
    "PDSG",
    "RESETS",
    "TALIF",
    "ATan",
    "AdaptiveLIF",
    "Carried",
    "Census",
    "Dynamics",
    "Exponential",
    "Gates",
    "Gaussian",
    "LayerFiring",
    "LearnableLIF",
    "Memory",
    "MultiLevelFiring",
    "NoisyLIF",
    "ParametricLIF",
    "RateBased",
    "ReLU",
    "Recalibration",
    "Rectangle",
    "RememberingSurrogate",
    "Reset",
    "Sigmoid",
    "SpikingNeuron",
    "StepLIF",
    "StraightThrough",
    "Surrogate",
    "Triangle",
    "accepted",
    "accepts",
    "answer_and_firing",
    "carrying",
    "exchangeable_neurons",
    "fire_dynamics",
    "firing_rates",
    "foreign_neurons",
    "membrane_census",
    "multi_level_firing",
    "other_resets",
    "own_gradients",
    "parse_dynamics",
    "parse_reset",
    "parse_surrogate",
    "size_neurons",
    "spiking_neurons",
    "surrogate_gradient",
    "unknown_spiking_modules",
]
