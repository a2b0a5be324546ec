"""Attacks and their budgets: the rows of the table and the points of the curve."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from purespike.attacks import Attack, bounded, create_attack
from purespike.attacks.objective import objective
from purespike.attacks.protocol import has_setting, recorded
from purespike.attacks.registry import knows_norm
from purespike.ball import Ball
from purespike.budget import format_eps, same_eps
from purespike.errors import InputError, unknown
from purespike.neurons import parse_surrogate
from purespike.settings import EvaluationSettings

AttackSpec = str | Mapping[str, Any]

SURROGATES = ("rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)")
LOSSES = ("ce", "margin")
# wide and narrow, with and without memory, through time and through the rate
ENSEMBLE = (
    *SURROGATES,
    "rectangle(width=2)",
    "rectangle(width=4)",
    "triangle(width=0.5)",
    "triangle(width=2)",
    "exponential(alpha=1)",
    "exponential(alpha=2)",
    "gaussian(width=0.25)",
    "gaussian(width=0.5)",
    "gaussian(width=1)",
    "straightthrough",
    "ratebased",
    "bptr",
    "hart",
    "pdsg",
    "assg",
)


@dataclass(frozen=True)
class Suite:
    """Attacks, surrogates of the adaptive attacker, and whether BPDA learns an imitation of the purifier."""

    attacks: tuple[AttackSpec, ...]
    surrogates: tuple[str, ...] = SURROGATES
    learned_bpda: bool = True


# without a suite
DEFAULT = Suite(("fgsm", "pgd", "flips"), learned_bpda=False)


# cheapest first; each contains the attacks of the one before it; those that do not know the norm drop out
SUITES: dict[str, Suite] = {
    "quick": Suite(("gaussian_noise", "fgsm", {"name": "pgd", "steps": 20}, "flips"), learned_bpda=False),
    "standard": Suite(
        (
            "gaussian_noise",
            "fgsm",
            {"name": "pgd", "steps": 20},
            {"name": "pgd", "steps": 50, "restarts": 2},
            {"name": "apgd_ce", "steps": 50},
            {"name": "square", "queries": 1000},
            "flips",
            {"name": "flips", "steps": 50, "restarts": 2},
            "sparse_search",
        )
    ),
    "full": Suite(
        (
            "gaussian_noise",
            "fgsm",
            "ifgsm",
            "mifgsm",
            {"name": "pgd", "steps": 20},
            {"name": "sa_pgd", "steps": 20},
            {"name": "pgd", "steps": 100, "restarts": 5},
            "cw",
            "apgd_ce",
            "apgd_dlr",
            "autoattack",
            "spsa",
            "square",
            "flips",
            "flips_add",
            "flips_remove",
            {"name": "flips", "steps": 100, "restarts": 5},
            "sparse_search",
        ),
        ENSEMBLE,
    ),
    # the columns of the paper's Table 4; its BPDA20+EOT is the last one under the threat model bpda
    "table4": Suite(("apgd_ce", "autoattack", {"name": "pgd", "steps": 20, "eot": 10})),
}


def suite(name: str, norm: str = "linf") -> Suite:
    """The suite called ``name``, with the attacks that support this norm.

    Raises:
        InputError: unknown name.
    """
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return in_norm(SUITES[name], norm)


def in_norm(found: Suite, norm: str) -> Suite:
    """A suite with the attacks that support this norm."""
    names = [spec if isinstance(spec, str) else spec["name"] for spec in found.attacks]
    known = [spec for spec, name in zip(found.attacks, names, strict=True) if knows_norm(name, norm)]
    return replace(found, attacks=tuple(known))


def resolve(settings: EvaluationSettings) -> EvaluationSettings:
    """``settings`` with the fields that they leave to the suite filled in.

    Raises:
        InputError: unknown suite, surrogate or loss.
    """
    chosen = (
        in_norm(DEFAULT, settings.norm) if settings.suite is None else suite(settings.suite, settings.norm)
    )
    given = {
        name: getattr(chosen, name)
        for name in ("attacks", "surrogates", "learned_bpda")
        if getattr(settings, name) is None
    }
    settings = EvaluationSettings.of(settings, **given)
    check_ensemble(settings.surrogates or (), settings.losses)
    return settings


@dataclass(frozen=True)
class Job:
    """One attack at one budget; ``eps`` is ``None`` for an attack without one.

    ``raised_from`` is the job that an escalated attack continues.
    """

    attack: Attack
    eps: float | None
    raised_from: "Job | None" = None

    @property
    def norm(self) -> str:
        return self.attack.norm


def parse_budgets(eps: float | str | Sequence[float | str], norm: str = "linf") -> list[float]:
    """One or several budgets, as given in a recipe or on the command line (``"4/255,8/255"``).

    Args:
        eps: budgets.
        norm: ``"linf"``, in pixel units, or ``"l2"``, radii.

    Raises:
        InputError: no budget, an invalid one, or an unknown norm.
    """
    ball = Ball.named(norm)
    values: Sequence[float | str]
    if isinstance(eps, str):
        values = eps.split(",")
    else:
        values = [eps] if isinstance(eps, int | float) else list(eps)
    if not values:
        raise InputError("eps: give at least one budget, e.g. 8/255")
    found: list[float] = []
    for value in values:
        size = ball.parse_size(value)
        # the same budget twice would be measured and printed twice
        if not any(same_eps(size, other) for other in found):
            found.append(size)
    return found


def applicable(
    jobs: Sequence[Job], images: Tensor, classes: int, *, chosen: bool
) -> tuple[list[Job], tuple[str, ...]]:
    """The ``jobs`` that can attack such images of so many classes, and a sentence per attack left out.

    Args:
        jobs: attacks of a suite, or named by the user.
        images: ``[N, C, H, W]``.
        classes: number of classes of the model.
        chosen: whether the user named them: then one that cannot apply is an error.

    Raises:
        InputError: an attack that was named cannot apply, or none of a suite can.
    """
    if not jobs:
        raise InputError("attacks: name at least one, e.g. fgsm,pgd:steps=20")
    fit, left_out = [], []
    for job in jobs:
        # an attack need not inherit from the protocol
        reason = job.attack.unfit(images, classes) if hasattr(job.attack, "unfit") else ""
        if reason and chosen:
            raise InputError(f"{job.attack.name}: {reason}")
        if reason:
            left_out.append(f"{job.attack.name} is left out: {reason}")
        else:
            fit.append(job)
    if not fit:
        raise InputError(f"attacks: none can be run; {'; '.join(dict.fromkeys(left_out))}")
    return fit, tuple(dict.fromkeys(left_out))


def averaged(job: Job, eot: int) -> Job:
    """``job`` with gradients averaged over ``eot`` passes, if its attack averages none yet but can."""
    if getattr(job.attack, "eot", None) == 1 < eot:
        return replace(job, attack=replace(job.attack, eot=eot))
    return job


def stepped_name(attack: Attack) -> str:
    """Name of an attack with its steps, ``pgd-20``, where it takes several."""
    steps = getattr(attack, "steps", 1)
    return f"{attack.name}-{steps}" if steps > 1 else attack.name


def passes_of(attack: Attack) -> int:
    """Approximate passes of an image through the model; for a progress bar."""
    return attack.passes


def check_ensemble(surrogates: Sequence[str], losses: Sequence[str]) -> None:
    """Check an adaptive attacker's surrogates and losses before the first attack, not after hours.

    Raises:
        InputError: no surrogate, no loss, or an unknown name.
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
    norm: str = "linf",
) -> list[Job]:
    """Every attack at every budget of one norm, then the curve's points that are not among them.

    Raises:
        InputError: an unknown attack or setting, a budget out of range, or an attack spec that sets ``eps``.
    """
    jobs: list[Job] = []
    for spec in attacks:
        jobs += _jobs(spec, eps, norm)
    if curve is not None:
        jobs += _jobs(curve, curve_eps, norm)
    return list(dict.fromkeys(jobs))


def _jobs(spec: AttackSpec, budgets: Sequence[float], norm: str) -> list[Job]:
    settings = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"attacks: each needs a name, got {spec!r}")
    if not bounded(name):
        return [_kept(Job(create_attack(name, **settings), None))]
    if "eps" in settings:
        raise InputError(f"attack {name}: its eps comes from the evaluation's own list; remove it here")
    if "norm" in settings:
        raise InputError(f"attack {name}: its norm is the evaluation's own; remove it here")
    if not knows_norm(name, norm):
        raise InputError(
            f"attack {name}: does not know the norm {norm}; leave it out, or choose another norm"
        )
    if norm != "linf" and has_setting(create_attack(name), "norm"):
        settings["norm"] = norm
    if settings.get("targeted") and settings.get("target", "") is None:
        raise InputError(f"attack {name}: an evaluation knows no targets but those of target=next, random, …")
    jobs = []
    for value in budgets:
        attack = create_attack(name, eps=value, **settings)
        if (getattr(attack, "eps", value), attack.norm) != (value, norm):
            raise InputError(
                f"attack {name}: is asked for eps {format_eps(value)} in {norm}, and has eps "
                f"{format_eps(getattr(attack, 'eps', value))} in {attack.norm}; pass its settings on"
            )
        jobs.append(_kept(Job(_with_sufficient_steps(attack, settings), value)))
    return jobs


def _kept(job: Job) -> Job:
    """``job``, if files can hold its settings: found out before the attacks, not after them."""
    try:
        json.dumps(recorded(job.attack))
        hash(job)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"attack {job.attack.name}: its settings cannot be kept ({error}); write numbers, texts, "
            "truth values and tuples of them, in a frozen dataclass"
        ) from error
    return job


def _with_sufficient_steps(attack: Attack, settings: Mapping[str, Any]) -> Attack:
    """``attack``, with larger steps if all its steps together do not reach the boundary of its ball.

    2/255 is the default step size at 8/255; at 51/255 twenty such steps end inside the ball. A given step
    size is kept.
    """
    if "step_size" in settings or not all(map(partial(has_setting, attack), ("eps", "step_size", "steps"))):
        return attack
    eps, step, steps = (getattr(attack, name) for name in ("eps", "step_size", "steps"))
    return replace(attack, step_size=2.5 * eps / steps) if steps * step < eps * 0.999 else attack
