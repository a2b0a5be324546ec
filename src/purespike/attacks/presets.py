"""The attacks by name, with the paper's settings as defaults; each is a function that attacks."""

from collections.abc import Callable, Mapping
from typing import Any

from purespike.attacks.autoattack import AutoAttack
from purespike.attacks.ensemble import NORMS
from purespike.attacks.gradient import SignAttack
from purespike.attacks.registry import Preset, attack
from purespike.attacks.result import AttackResult

_AUTOGRAD: dict[str, Any] = {"source": "autograd", "samples": None, "delta": None}
_STEEPEST = {**_AUTOGRAD, "rule": "steepest"}
_STEPS: dict[str, Any] = {"steps": 7, "step_size": 2 / 255}


def _sign(
    name: str,
    title: str,
    about: str,
    *,
    order: int,
    fixed: Mapping[str, Any],
    rank: int | None,
    stepwise: bool = True,
    **defaults: Any,
) -> Callable[..., AttackResult]:
    norms = {"adaptive": ("linf",), "steepest": None}.get(fixed["rule"], ("l0",))
    # a gate belongs to a model that has one, which no recipe knows
    made = Preset(name, SignAttack, {**fixed, "gate": None}, defaults, about)
    return attack(title=title, order=order, rank=rank, norms=norms, stepwise=stepwise)(made)


def _auto(
    name: str, title: str, about: str, *parts: str, order: int, fixed: Mapping[str, Any], **words: Any
) -> Callable[..., AttackResult]:
    fixed = {"version": "custom", "attacks": parts, **fixed}
    made = Preset(name, AutoAttack, fixed, {}, about)
    return attack(title=title, order=order, norms=tuple(NORMS), **words)(made)


# name, title, source; fixed settings; then defaults that may be overridden
fgsm = _sign(
    "fgsm",
    "FGSM",
    "Fast gradient sign method (paper eq. 1).",
    order=10,
    rank=0,
    stepwise=False,
    fixed={**_STEEPEST, "steps": 1, "step_size": None, "momentum": 0.0},
)
ifgsm = _sign(
    "ifgsm",
    "I-FGSM",
    "Iterated FGSM (paper eq. 2).",
    order=20,
    rank=1,
    fixed={**_STEEPEST, "momentum": 0.0, "random_start": False},
    **_STEPS,
)
mifgsm = _sign(
    "mifgsm",
    "MI-FGSM",
    "Iterated FGSM with momentum (Dong et al. 2018).",
    order=30,
    rank=1,
    fixed=_STEEPEST,
    **_STEPS,
    momentum=1.0,
)
pgd = _sign(
    "pgd",
    "PGD",
    "Projected gradient descent (paper eq. 3) from a random start; the paper's starts at the image.",
    order=40,
    rank=1,
    fixed=_STEEPEST,
    **_STEPS,
    random_start=True,
)
sa_pgd = _sign(
    "sa_pgd",
    "SA-PGD",
    "Adaptive steps (Wang et al. 2025, arXiv 2512.22522), L∞ only: moments of decay 0.5 and 0.8, 100 steps "
    "of size eps at first and halved on a schedule, as in its authors' code, whose start touches the border "
    "where ours is uniform.",
    order=50,
    rank=1,
    fixed={**_AUTOGRAD, "rule": "adaptive"},
    steps=100,
    schedule="halving",
    momentum=0.5,
    random_start=True,
)
apgd_ce = _auto(
    "apgd_ce",
    "APGD-CE",
    "Auto-PGD on the cross-entropy (Croce & Hein 2020), by pyautoattack.",
    "apgd-ce",
    order=70,
    rank=2,
    fixed={"queries": 5000},
)
apgd_dlr = _auto(
    "apgd_dlr",
    "APGD-DLR",
    "Auto-PGD on the DLR loss (Croce & Hein 2020), by pyautoattack.",
    "apgd-dlr",
    order=80,
    rank=2,
    fixed={"queries": 5000},
)
fab = _auto(
    "fab",
    "FAB",
    "Fast adaptive boundary attack (Croce & Hein 2020), by pyautoattack.",
    "fab",
    order=90,
    fixed={"queries": 5000, "eot": 1},
)
spsa = _sign(
    "spsa",
    "SPSA",
    "Signed steps along gradients estimated from outputs (Uesato et al. 2018): 20 steps of 128 queries each; "
    "an image leaves at its first success.",
    order=100,
    rank=None,
    fixed={"source": "spsa", "rule": "steepest"},
    steps=20,
    step_size=2 / 255,
    samples=64,
    loss="margin",
    stop_early=True,
)
square = _auto(
    "square",
    "Square",
    "Random search by outputs alone (Andriushchenko et al. 2020), by pyautoattack.",
    "square",
    order=110,
    stepwise=False,
    fixed={"steps": 1, "eot": 1},
)
autoattack = _auto(
    "autoattack",
    "AutoAttack",
    "APGD-CE, targeted APGD, targeted FAB and Square (Croce & Hein 2020), by pyautoattack.",
    order=120,
    rank=3,
    contains=("apgd_ce", "square"),
    stepwise=False,
    suite=True,
    fixed={"version": "standard"},
)
autoattack_rand = _auto(
    "autoattack_rand",
    "AutoAttack (rand)",
    "AutoAttack for stochastic models: APGD-CE and APGD-DLR over 20 passes, by pyautoattack.",
    order=130,
    rank=3,
    stepwise=False,
    suite=True,
    fixed={"version": "rand", "queries": 5000},
)

flips, flips_add, flips_remove = (
    _sign(
        rule,
        title,
        f"Turn at most eps pixels of the image to 0 or 1, {how}: flips of binary event frames, along "
        "gradients summed with momentum; every iterate is again such frames.",
        order=order,
        rank=rank,
        fixed={**_AUTOGRAD, "rule": rule},
        eps=20,
        norm="l0",
        steps=20,
        momentum=0.75,
        random_start=True,
    )
    for rule, title, how, order, rank in (
        ("flips", "Flips", "whichever promises more", 52, 1),
        ("flips_add", "Flips (add only)", "only upwards", 53, 0),
        ("flips_remove", "Flips (remove only)", "only downwards", 54, 0),
    )
)
