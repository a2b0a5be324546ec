"""Rules: functions of an examination that yield findings; registered where they are defined."""

import json
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, get_args

import torch

from purespike.errors import InputError, unknown
from purespike.evaluation.diagnostics.examination import Examination
from purespike.models.guard import brief
from purespike.neurons.compiled import expecting
from purespike.registration import own_name, registering
from purespike.results import Finding
from purespike.seeding import seeded

Needs = Literal["nothing", "images", "attack"]
Check = Callable[[Examination], Iterator[Finding]]
Passes = Callable[[Examination], int]


class Rule(NamedTuple):
    """A registered rule.

    Args:
        check: function that yields the findings.
        needs: condition under which the rule is asked: ``"nothing"``, the table suffices; ``"images"`` that
            are classified correctly; or an ``"attack"`` by gradient steps on a model with a gradient.
        order: place among the findings.
        passes: function to the most passes that the rule takes; see :meth:`Examination.cost` for the unit.
    """

    check: Check
    needs: Needs
    order: int
    passes: Passes


RULES: dict[str, Rule] = {}


@registering('@rule(needs="images")')
def rule(
    *, needs: Needs = "attack", order: int = 1000, passes: Passes = lambda e: 0
) -> Callable[[Check], Check]:
    """Register a diagnostics rule, to be asked in every evaluation that is examined.

    Args:
        needs: see :class:`Rule`.
        order: place among the findings; after purespike's own by default.
        passes: function to the most passes that the rule takes, by which an examination that has few left
            leaves it out; by default 0, which is never left out.

    In a file of one's own::

        @rule(needs="images")
        def check_confidence(e: Examination) -> Iterator[Finding]:
            yield Finding(name="confidence", group="defence", level="reliable", message="…", …)

    Raises:
        InputError: unknown needs, or a rule of that name exists.
    """
    if needs not in get_args(Needs):
        raise unknown("needs of a diagnostics rule", needs, get_args(Needs))

    def register(check: Check) -> Check:
        name = own_name("diagnostics rule", check)
        if name in RULES:
            raise InputError(
                f"diagnostics rule {name!r} is registered twice; rename one of the two functions"
            )
        RULES[name] = Rule(check, needs, order, passes)
        return check

    return register


FEW = 20
"""Passes on the same images, at most about, that a rule makes with one surrogate where it runs no attack."""


def examine(e: Examination) -> list[Finding]:
    """The findings of all rules, in their order."""
    return [finding for name in in_order() for finding in ask(name, e)]


def in_order() -> list[str]:
    """Names of all rules, in the order of their findings."""
    return sorted(RULES, key=lambda name: RULES[name].order)


def passes_of_rule(name: str, e: Examination) -> int:
    """Most passes that a rule takes, 0 where its needs are not met; nothing is computed for it."""
    rule = RULES[name]
    met = rule.needs == "nothing" or (len(e) > 0 and (rule.needs == "images" or e.has_attack))
    return rule.passes(e) if met else 0


def _whole(found: Finding) -> Finding:
    """A finding as files hold it: with its remedy, also where there is none."""
    if not isinstance(found, Finding):
        raise TypeError(f"it yields {type(found).__name__}, not Finding")
    return found.model_copy(update={"remedy": found.remedy})


def ask(name: str, e: Examination) -> list[Finding]:
    """The findings of one rule; none where its needs are not met.

    Each rule draws from a random stream of its own, so that a further one changes nothing for the others. A
    rule that fails is a finding itself: it must not cost the numbers that were measured.
    """
    check, needs = RULES[name].check, RULES[name].needs
    if (needs != "nothing" and not len(e)) or (needs == "attack" and not e.attackable):
        return []
    try:
        with seeded("diagnose", name, device=e.images.device), expecting(FEW):
            before = e.images.clone()
            findings = [_whole(found) for found in check(e)]
            if not torch.equal(e.images, before):
                # the rules after it would examine others
                e.images.copy_(before)
                raise ValueError("it changed the images")
            # what no file can hold must not fail when the evaluation is saved
            json.dumps([found.to_json() for found in findings])
            return findings
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        return [
            Finding(
                name=name.removeprefix("check_").replace("_", " "),
                group="defence",
                level="suspicious",
                message=f"could not be examined: {brief(error)}",
                advice="the rule failed; the numbers are unexamined in this respect",
                source="purespike",
            )
        ]
