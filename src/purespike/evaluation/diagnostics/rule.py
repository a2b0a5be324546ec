"""Rules: functions of an examination that yield findings; registered where they are defined."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch

from purespike.errors import InputError
from purespike.evaluation.diagnostics.examination import Examination
from purespike.results import Finding
from purespike.seeding import seeded

Needs = Literal["nothing", "images", "attack"]
Check = Callable[[Examination], Iterator[Finding]]


class Rule(NamedTuple):
    """A registered rule.

    Args:
        check: function that yields the findings.
        needs: ``"nothing"`` but the table; ``"images"`` that are classified correctly; or an ``"attack"`` by
            gradient steps, and a model that it can differentiate.
        order: place among the findings.
    """

    check: Check
    needs: Needs
    order: int


RULES: dict[str, Rule] = {}


def rule(*, needs: Needs = "attack", order: int = 1000) -> Callable[[Check], Check]:
    """Register a diagnostics rule: every evaluation that examines itself asks it.

    Args:
        needs: see :class:`Rule`.
        order: place among the findings; after purespike's own by default.

    Raises:
        InputError: a rule of that name exists.

    In a file of one's own::

        @rule(needs="images")
        def check_confidence(e: Examination) -> Iterator[Finding]:
            yield Finding(name="confidence", group="defence", level="reliable", message="…", …)
    """

    def register(check: Check) -> Check:
        name = check.__name__
        if name in RULES:
            raise InputError(f"diagnostics rule {name!r} is registered twice")
        RULES[name] = Rule(check, needs, order)
        return check

    return register


def examine(e: Examination) -> list[Finding]:
    """The findings of all rules whose needs are met, in their order.

    Each rule draws from a stream of its own, so that a further one changes nothing for the others.
    """
    found: list[Finding] = []
    for name, (check, needs, _) in sorted(RULES.items(), key=lambda pair: pair[1].order):
        if needs != "nothing" and not len(e.images):
            continue
        if needs == "attack" and not e.attackable:
            continue
        with seeded("diagnose", name, device=e.images.device):
            found += _ask(name, check, e)
    return found


def _ask(name: str, check: Check, e: Examination) -> list[Finding]:
    """The findings of one rule; one that fails must not cost the numbers that were measured."""
    try:
        return list(check(e))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return [
            Finding(
                name=name.removeprefix("check_").replace("_", " "),
                group="defence",
                level="suspicious",
                message=f"could not be examined: {detail}",
                advice="a rule failed; the numbers stand unexamined in this point",
                source="purespike",
            )
        ]
