"""Attacks: functions of a model, images and labels. They know a callable and a loss, not our models."""

from purespike.attacks.adaptive import Component, IdentityBackward, worst_case
from purespike.attacks.carlini_wagner import CarliniWagner
from purespike.attacks.gradient import SignAttack
from purespike.attacks.noise import GaussianNoise
from purespike.attacks.registry import (
    Attack,
    bounded,
    create_attack,
    cw,
    fgsm,
    gaussian_noise,
    ifgsm,
    list_attacks,
    mifgsm,
    pgd,
)
from purespike.attacks.result import AttackResult

__all__ = [
    "Attack",
    "AttackResult",
    "CarliniWagner",
    "Component",
    "GaussianNoise",
    "IdentityBackward",
    "SignAttack",
    "bounded",
    "create_attack",
    "cw",
    "fgsm",
    "gaussian_noise",
    "ifgsm",
    "list_attacks",
    "mifgsm",
    "pgd",
    "worst_case",
]
