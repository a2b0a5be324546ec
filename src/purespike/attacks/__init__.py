"""Attacks: functions of a model, images and labels. They know a callable and a loss, not our models."""

# ruff: noqa: F403, F405
from purespike.attacks.adaptive import worst_case
from purespike.attacks.autoattack import AutoAttack
from purespike.attacks.bpda import IdentityBackward, LearnedBackward, fit_approximation
from purespike.attacks.carlini_wagner import CarliniWagner, cw
from purespike.attacks.counts import CountPGD, pgd_counts
from purespike.attacks.event_list import EventAttackResult, EventListAttack
from purespike.attacks.gradient import SignAttack
from purespike.attacks.noise import GaussianNoise, gaussian_noise
from purespike.attacks.presets import *
from purespike.attacks.protocol import Attack
from purespike.attacks.registry import Preset, attack, bounded, create_attack, list_attacks
from purespike.attacks.result import AttackResult
from purespike.attacks.routes import Component
from purespike.attacks.sparse_search import SparseSearch, sparse_search
from purespike.attacks.spsa import spsa_gradient
from purespike.attacks.transfer import transfer

__all__ = [
    "Attack",
    "AttackResult",
    "AutoAttack",
    "CarliniWagner",
    "Component",
    "CountPGD",
    "EventAttackResult",
    "EventListAttack",
    "GaussianNoise",
    "IdentityBackward",
    "LearnedBackward",
    "Preset",
    "SignAttack",
    "SparseSearch",
    "apgd_ce",
    "apgd_dlr",
    "attack",
    "autoattack",
    "autoattack_rand",
    "bounded",
    "create_attack",
    "cw",
    "fab",
    "fgsm",
    "fit_approximation",
    "flips",
    "flips_add",
    "flips_remove",
    "gaussian_noise",
    "ifgsm",
    "list_attacks",
    "mifgsm",
    "pgd",
    "pgd_counts",
    "sa_pgd",
    "sparse_search",
    "spsa",
    "spsa_gradient",
    "square",
    "transfer",
    "worst_case",
]
