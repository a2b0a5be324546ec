"""Attacks: functions of a model, images and labels. They know a callable and a loss, not our models."""

from purespike.attacks.adaptive import Component, IdentityBackward, worst_case
from purespike.attacks.autoattack import AutoAttack
from purespike.attacks.carlini_wagner import CarliniWagner
from purespike.attacks.gradient import SignAttack
from purespike.attacks.noise import GaussianNoise
from purespike.attacks.registry import (
    Attack,
    apgd_ce,
    apgd_dlr,
    autoattack,
    autoattack_rand,
    bounded,
    create_attack,
    cw,
    fab,
    fgsm,
    gaussian_noise,
    ifgsm,
    list_attacks,
    mifgsm,
    pgd,
    square,
)
from purespike.attacks.result import AttackResult

__all__ = [
    "Attack",
    "AttackResult",
    "AutoAttack",
    "CarliniWagner",
    "Component",
    "GaussianNoise",
    "IdentityBackward",
    "SignAttack",
    "apgd_ce",
    "apgd_dlr",
    "autoattack",
    "autoattack_rand",
    "bounded",
    "create_attack",
    "cw",
    "fab",
    "fgsm",
    "gaussian_noise",
    "ifgsm",
    "list_attacks",
    "mifgsm",
    "pgd",
    "square",
    "worst_case",
]
