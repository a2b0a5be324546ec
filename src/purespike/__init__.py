"""purespike: adversarial purification for spiking neural networks, measured honestly."""

__version__ = "0.1.0"
