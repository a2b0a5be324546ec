"""Losses: those of the purifier (eqs. 7–10), and online label smoothing."""

from purespike.losses.noise_level import LEVELS, true_noise_level
from purespike.losses.purification import (
    PurificationLoss,
    asymmetric,
    beta_schedule,
    charbonnier,
    purification_loss,
    reconstruction,
    total_variation,
)
from purespike.losses.smoothing import OnlineLabelSmoothing, smoothed_cross_entropy

__all__ = [
    "LEVELS",
    "OnlineLabelSmoothing",
    "PurificationLoss",
    "asymmetric",
    "beta_schedule",
    "charbonnier",
    "purification_loss",
    "reconstruction",
    "smoothed_cross_entropy",
    "total_variation",
    "true_noise_level",
]
