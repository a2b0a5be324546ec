"""Names that the shell completes, and checks before the heavy imports; tests compare the registries."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from purespike.errors import unknown
from purespike.settings import EvaluationSettings

SUITES = ("quick", "standard", "full", "table4")
ATTACKS = (
    *("apgd_ce", "apgd_dlr", "autoattack", "autoattack_rand", "cw", "fab", "fgsm", "gaussian_noise"),
    *("ifgsm", "mifgsm", "pgd", "sa_pgd", "spsa", "square"),
)
THREATS = ("undefended", "oblivious", "bpda", "adaptive", "transfer", "query")
SOURCES = ("digits", "mnist", "cifar10", "cifar100", "svhn", "folder:", "npz:", "hub:")
VALUES: dict[str, Sequence[str]] = {
    "suite": SUITES,
    "attacks": ATTACKS,
    "curve": ATTACKS,
    "threats": (*THREATS, "all"),
    "norm": ("linf", "l2"),
    "data": SOURCES,
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("fp32", "bf16", "fp16"),
}


def completion(option: str) -> Callable[[str], list[str]] | None:
    """Completion of an option's values, the last of a list with commas; ``None`` without any."""
    if option not in VALUES:
        return None

    def complete(incomplete: str) -> list[str]:
        *before, last = incomplete.split(",")
        prefix = "".join(f"{part}," for part in before)
        return [f"{prefix}{name}" for name in VALUES[option] if name.startswith(last)]

    return complete


def check_names(model: str, settings: dict[str, Any]) -> None:
    """Check the settings of a command, and the names in them, before PyTorch is imported.

    Args:
        model: the models of the command; code of the user's own (``module:function``) may register further
            attacks and threat models.
        settings: settings as text.

    Raises:
        InputError: a value out of range, or an unknown suite, attack or threat model.
    """
    checked = EvaluationSettings.of(**settings)
    if checked.suite is not None and checked.suite not in SUITES:
        raise unknown("suite", checked.suite, SUITES)
    # a module of --import may have registered more; with PyTorch imported, the registries answer at once
    if ":" in model or "torch" in sys.modules:
        return
    for attack in checked.attacks or ():
        if isinstance(attack.get("name"), str) and attack["name"] not in ATTACKS:
            raise unknown("attack", attack["name"], ATTACKS)
    for threat in checked.threats:
        if threat not in (*THREATS, "all"):
            raise unknown("threat model", threat, (*THREATS, "all"))
