"""Malformed input of every kind, made from a seed: refused in a line or harmless, never a traceback."""

import itertools
import random
from collections.abc import Iterator
from functools import partial

from torture.inputs import arguments, arrays, checkpoints, images, models, recipes, results
from torture.inputs.made import Input, judge
from torture.process import call
from torture.scenes import Desk, folder
from torture.work import Case, Outcome, Settings

TITLE = "Malformed input"
FAMILIES = {
    "recipes": recipes,
    "checkpoints": checkpoints,
    "images": images,
    "arrays": arrays,
    "results and cards": results,
    "arguments": arguments,
    "models of the user": models,
}
SAMPLE = 2
"""Inputs of each family in the small scale."""


def cases(settings: Settings) -> Iterator[Case]:
    """Every input of every family; a sample of each, drawn by the seed, in the small scale."""
    for family, module in FAMILIES.items():
        made = list(module.generate())
        if not settings.full:
            made = random.Random(f"{settings.seed}/{family}").sample(made, SAMPLE)
        count: dict[str, Iterator[int]] = {}
        for each in made:
            number = next(count.setdefault(each.name, itertools.count()))
            yield Case(f"{family}/{each.name}/{number}", family, partial(_attempt, each))


def _attempt(given: Input, desk: Desk, draw: random.Random) -> Outcome:
    with folder() as place:
        arguments = given.make(place, desk, draw)
        ended = call(arguments, place, *given.hooks)
    figures = {
        "refused": float(ended.code == 2),
        "accepted": float(ended.code == 0),
        "most MiB beyond an idle process": ended.growth,
        "most seconds of processor time": ended.seconds,
    }
    return Outcome(list(judge(ended, given.oracle, arguments)), figures=figures)
