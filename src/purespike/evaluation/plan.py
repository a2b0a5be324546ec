"""Which attacks at which budgets: the rows of the table and the points of the curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from purespike.attacks import Attack, bounded, create_attack
from purespike.checks import parse_eps
from purespike.errors import InputError

AttackSpec = str | Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One attack at one budget; ``eps`` is ``None`` for an attack without one."""

    attack: Attack
    eps: float | None

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
    return [Job(create_attack(name, eps=value, **settings), value) for value in budgets]
