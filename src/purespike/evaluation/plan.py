"""Which attacks at which budgets: the rows of the table and the points of the curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from purespike.attacks import Attack, bounded, create_attack
from purespike.attacks.objective import objective
from purespike.checks import parse_eps
from purespike.errors import InputError, unknown
from purespike.neurons import parse_surrogate

AttackSpec = str | Mapping[str, Any]

# cheap to dear; each holds what the one before it can do
SUITES: dict[str, tuple[AttackSpec, ...]] = {
    "quick": ("gaussian_noise", "fgsm", {"name": "pgd", "steps": 20}),
    "standard": (
        "gaussian_noise",
        "fgsm",
        {"name": "pgd", "steps": 20},
        {"name": "pgd", "steps": 50, "restarts": 2},
        {"name": "apgd_ce", "steps": 50},
        {"name": "square", "queries": 1000},
    ),
    "full": (
        "gaussian_noise",
        "fgsm",
        "ifgsm",
        "mifgsm",
        {"name": "pgd", "steps": 20},
        {"name": "pgd", "steps": 100, "restarts": 5},
        "cw",
        "apgd_ce",
        "autoattack",
        "square",
    ),
}


def suite(name: str) -> list[AttackSpec]:
    """The attacks of the suite called ``name``.

    Raises:
        InputError: unknown name.
    """
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return list(SUITES[name])


@dataclass(frozen=True)
class Job:
    """One attack at one budget; ``eps`` is ``None`` for an attack without one."""

    attack: Attack
    eps: float | None

    @property
    def differentiates(self) -> bool:
        """Whether the attack follows gradients; noise and Square do not."""
        return self.norm != "noise" and self.attack.name != "square"

    @property
    def norm(self) -> str:
        return "linf" if self.eps is not None else {"cw": "l2"}.get(self.attack.name, "noise")


def parse_budgets(eps: float | str | Sequence[float | str]) -> list[float]:
    """One or several budgets, as given in a recipe or on the command line (``"4/255,8/255"``).

    Raises:
        InputError: none at all, or one that is no budget.
    """
    values: Sequence[float | str]
    if isinstance(eps, str):
        values = eps.split(",")
    else:
        values = [eps] if isinstance(eps, int | float) else list(eps)
    if not values:
        raise InputError("eps: give at least one budget, e.g. 8/255")
    return [parse_eps(value) for value in values]


def check_ensemble(surrogates: Sequence[str], losses: Sequence[str]) -> None:
    """Refuse an adaptive attacker's choices before the first attack, not after hours.

    Raises:
        InputError: none at all, or an unknown name.
    """
    if not surrogates or not losses:
        raise InputError("adaptive: needs at least one surrogate and one loss")
    for surrogate in surrogates:
        parse_surrogate(surrogate)
    for loss in losses:
        objective(loss)


def plan_jobs(
    attacks: Sequence[AttackSpec],
    eps: Sequence[float],
    curve: AttackSpec | None = None,
    curve_eps: Sequence[float] = (),
) -> list[Job]:
    """Every attack at every budget, then the curve's points that are not among them.

    Raises:
        InputError: an unknown attack or setting, a budget out of range, or an attack spec that sets ``eps``.
    """
    jobs: list[Job] = []
    for spec in attacks:
        jobs += _jobs(spec, eps)
    if curve is not None:
        jobs += _jobs(curve, curve_eps)
    return list(dict.fromkeys(jobs))


def _jobs(spec: AttackSpec, budgets: Sequence[float]) -> list[Job]:
    settings = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"attacks: each needs a name, got {spec!r}")
    if not bounded(name):
        return [Job(create_attack(name, **settings), None)]
    if "eps" in settings:
        raise InputError(f"attack {name}: its eps comes from the evaluation's own list; remove it here")
    if settings.get("norm", "linf") != "linf":
        raise InputError(f"attack {name}: an evaluation's budgets are L∞; call the attack itself for L2")
    return [Job(create_attack(name, eps=value, **settings), value) for value in budgets]
