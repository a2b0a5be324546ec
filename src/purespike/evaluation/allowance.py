"""The passes that an examination may take: no more than the attacks that it examines.

The unit is one image passed forwards through the model; differentiating it costs two more. Seconds would make
the findings depend on the machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from purespike.evaluation.cell import SHARED
from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import in_order, passes_of_rule
from purespike.results import Cell, Finding

# most and fewest images of an examination, unless the settings name a number
MOST, FEWEST = 32, 4
# passes that an examination may take in any case
LEAST = 4000
# rules that are asked before the others: they most often show that a number is too high
FIRST = ("check_budget", "check_gradient_free")


@dataclass(frozen=True)
class Plan:
    """The rules of an examination.

    Args:
        examination: the evaluation with the images to examine.
        asked: rules that are asked, in the order of their findings, with the passes that each takes at most.
        left_out: rules for which the passes do not suffice.
        allowance: passes that all rules may take together; ``None`` for as many as they need.
    """

    examination: Examination
    asked: dict[str, int]
    left_out: dict[str, int]
    allowance: int | None = None

    def finding(self) -> Finding | None:
        """What was not examined; ``None`` if everything was."""
        if not self.left_out:
            return None
        names = ", ".join(name.removeprefix("check_").replace("_", " ") for name in self.left_out)
        return Finding(
            name="not examined",
            group="optimisation",
            level="suspicious",
            message=f"{names}: would take up to {sum(self.left_out.values()):,} passes of "
            f"{len(self.examination)} images, beyond the {self.allowance:,} that all diagnostics may take",
            advice=f"--diagnose {FEWEST} asks all of them whatever it costs; attacks on more images, or a "
            "larger --max-cost where you set one, allow more as well",
            source="purespike",
        )


def passes_taken(cells: Sequence[Cell], *, defended: bool) -> int:
    """Passes that the attacks took through the whole model.

    Args:
        cells: numbers of the evaluation.
        defended: whether there is a purifier: then the classifier alone is cheaper, and does not count.
    """
    counted = [cell for cell in cells if not (defended and cell.threat in SHARED)]
    return sum((cell.forwards or 0) + 2 * (cell.backwards or 0) for cell in counted)


def planned(examination: Callable[[int], Examination], allowance: int) -> Plan:
    """All rules about as many images as ``allowance`` admits, or else those that it admits of the fewest.

    Args:
        examination: function from a number of images to their examination.
        allowance: passes that all rules may take together.
    """
    for count in range(MOST, FEWEST - 1, -1):
        e = examination(count)
        costs = {name: passes_of_rule(name, e) for name in in_order()}
        if sum(costs.values()) <= allowance:
            return Plan(e, costs, {}, allowance)
    left, admitted = allowance, set()
    for name in sorted(costs, key=lambda name: (name not in FIRST, costs[name])):
        if costs[name] <= left:
            left -= costs[name]
            admitted.add(name)
    asked = {name: each for name, each in costs.items() if name in admitted}
    return Plan(e, asked, {name: each for name, each in costs.items() if name not in admitted}, allowance)


def everything(e: Examination) -> Plan:
    """All rules, whatever they cost."""
    return Plan(e, {name: passes_of_rule(name, e) for name in in_order()}, {})
