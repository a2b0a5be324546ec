"""Spiking classifiers, the purifier, and the defended model made of both."""

from purespike.models import dct, frames, frequency, resnet, senet, vgg, wideresnet
from purespike.models.adapters import Logits, Resetting
from purespike.models.checkpoint import load, save
from purespike.models.classifier import ClassifierSettings, SpikingClassifier
from purespike.models.defended import Defended
from purespike.models.purifier import Denoiser, NoiseEstimator, Purified, Purifier
from purespike.models.registry import create, list_models, register

list = list_models

__all__ = [
    "ClassifierSettings",
    "Defended",
    "Denoiser",
    "Logits",
    "NoiseEstimator",
    "Purified",
    "Purifier",
    "Resetting",
    "SpikingClassifier",
    "create",
    "dct",
    "frames",
    "frequency",
    "list",
    "list_models",
    "load",
    "register",
    "resnet",
    "save",
    "senet",
    "vgg",
    "wideresnet",
]
