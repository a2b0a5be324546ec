"""purespike: adversarial purification for spiking neural networks, measured honestly."""

from purespike import attacks, data, models, neurons
from purespike.errors import InputError
from purespike.evaluation import Evaluation, evaluate
from purespike.models import Defended, load, save

__version__ = "0.1.0"

__all__ = [
    "Defended",
    "Evaluation",
    "InputError",
    "attacks",
    "data",
    "evaluate",
    "load",
    "models",
    "neurons",
    "save",
]
