"""Attacks by name: presets of the mechanisms, with the paper's settings as defaults."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

from torch import Tensor, nn

from purespike.attacks.autoattack import AutoAttack
from purespike.attacks.carlini_wagner import CarliniWagner
from purespike.attacks.gradient import SignAttack
from purespike.attacks.noise import GaussianNoise
from purespike.attacks.result import AttackResult
from purespike.errors import InputError, unknown

Attack = SignAttack | CarliniWagner | GaussianNoise | AutoAttack


def _one(attack: str, **unused: int) -> dict[str, Any]:
    return {"version": "custom", "attacks": (attack,), **unused}


_STEPS = {"steps": 7, "step_size": 2 / 255}
_AUTOGRAD = {"source": "autograd", "samples": None, "delta": None}
_STEEPEST = {**_AUTOGRAD, "rule": "steepest"}

# mechanism, fixed settings, defaults that may be overridden
_PRESETS: dict[str, tuple[type[Attack], dict[str, Any], dict[str, Any]]] = {
    "fgsm": (SignAttack, {**_STEEPEST, "steps": 1, "step_size": None, "momentum": 0.0}, {}),
    "ifgsm": (SignAttack, {**_STEEPEST, "momentum": 0.0, "random_start": False}, _STEPS),
    "mifgsm": (SignAttack, _STEEPEST, {**_STEPS, "momentum": 1.0}),
    "pgd": (SignAttack, _STEEPEST, {**_STEPS, "random_start": True}),
    "sa_pgd": (
        SignAttack,
        {**_AUTOGRAD, "rule": "adaptive"},
        {"steps": 100, "schedule": "halving", "momentum": 0.5, "random_start": True},
    ),
    "spsa": (
        SignAttack,
        {"source": "spsa", "rule": "steepest"},
        {"steps": 20, "step_size": 2 / 255, "samples": 64, "loss": "margin", "stop_early": True},
    ),
    "cw": (CarliniWagner, {}, {}),
    "gaussian_noise": (GaussianNoise, {}, {}),
    "autoattack": (AutoAttack, {"version": "standard", "attacks": ()}, {}),
    "autoattack_rand": (AutoAttack, {"version": "rand", "attacks": (), "queries": 5000}, {}),
    "apgd_ce": (AutoAttack, _one("apgd-ce", queries=5000), {}),
    "apgd_dlr": (AutoAttack, _one("apgd-dlr", queries=5000), {}),
    "fab": (AutoAttack, _one("fab", queries=5000, eot=1), {}),
    "square": (AutoAttack, _one("square", steps=1, eot=1), {}),
}


def list_attacks() -> list[str]:
    """The names that :func:`create_attack` takes."""
    return sorted(_PRESETS)


def create_attack(name: str, **settings: Any) -> Attack:
    """The attack called ``name``, ready to be called with a model, images and labels.

    ``fgsm`` (paper eq. 1), ``ifgsm`` (eq. 2), ``mifgsm`` (Dong et al. 2018, momentum 1), ``pgd`` (eq. 3;
    starts at random unless told otherwise, the paper's starts at the image), ``cw`` (eq. 4),
    ``gaussian_noise``. Steps and step size default to the paper's 7 and 2/255; in L2 (``norm="l2"``) the
    step size to ``2.5 * eps / steps``.

    ``sa_pgd`` (Wang et al. 2025, arXiv 2512.22522): moments of decay 0.5 and 0.8, 100 steps from a random
    start, of size ``eps`` at first and halved on a schedule, as in its authors' code (whose start touches
    the border, where ours is uniform); L∞ only. ``spsa`` (Uesato et al. 2018): signed steps along gradients
    estimated from outputs, 20 of 128 queries each; an image leaves at its first success.

    By pyautoattack (Croce & Hein 2020), of 100 steps or 5000 queries: ``apgd_ce``, ``apgd_dlr``, ``fab``,
    ``square``, their ensemble ``autoattack``, and ``autoattack_rand`` for models that draw.

    Raises:
        InputError: unknown attack or setting, or a setting out of range.
    """
    if name not in _PRESETS:
        raise unknown("attack", name, _PRESETS)
    mechanism, fixed, defaults = _PRESETS[name]
    allowed = {field.name for field in fields(mechanism) if field.default is not MISSING} - {"name", *fixed}
    for key in settings:
        if key not in allowed:
            raise unknown(f"setting of attack {name}", key, allowed)
    if settings.get("norm", "linf") != "linf":
        # a default of L∞; the mechanism has its own for L2
        defaults = {key: value for key, value in defaults.items() if key != "step_size"}
    try:
        return mechanism(name=name, **{**defaults, **settings, **fixed})
    except TypeError as error:
        raise InputError(f"attack {name}: {error}") from error


def bounded(name: str) -> bool:
    """Whether the attack called ``name`` takes a budget ``eps``.

    Raises:
        InputError: unknown attack.
    """
    if name not in _PRESETS:
        raise unknown("attack", name, _PRESETS)
    return _PRESETS[name][0] in (SignAttack, AutoAttack)


def _function(name: str) -> Callable[..., AttackResult]:
    def attack(model: nn.Module, images: Tensor, labels: Tensor, **settings: Any) -> AttackResult:
        return create_attack(name, **settings)(model, images, labels)

    attack.__name__ = attack.__qualname__ = name
    attack.__doc__ = (
        f"Attack ``model`` with {name}: images ``[N, C, H, W]`` floats in [0, 1], labels ``[N]``.\n\n"
        f"Settings are those of :class:`{_PRESETS[name][0].__name__}`; see :func:`create_attack`."
    )
    return attack


fgsm = _function("fgsm")
ifgsm = _function("ifgsm")
mifgsm = _function("mifgsm")
pgd = _function("pgd")
sa_pgd = _function("sa_pgd")
spsa = _function("spsa")
cw = _function("cw")
gaussian_noise = _function("gaussian_noise")
autoattack = _function("autoattack")
autoattack_rand = _function("autoattack_rand")
apgd_ce = _function("apgd_ce")
apgd_dlr = _function("apgd_dlr")
fab = _function("fab")
square = _function("square")
