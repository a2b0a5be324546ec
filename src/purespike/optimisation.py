"""Optimisers and learning-rate schedules as settings of a recipe (made by ``training/optimiser.py``)."""

import re
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from purespike.errors import InputError, brief
from purespike.section import NotNegative, Positive, Rate, Section, Share, one_of, setting

Momentum = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Momentum, Momentum], setting("Decay of the averages of gradients and their squares.")]
Eps = Annotated[Rate, setting("Added to the root of the average square.")]
Decay = Annotated[NotNegative, setting("Weight decay; a group of parameters may have another.")]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise InputError(f"not a regular expression: {error}") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression."""


def _ascending(epochs: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in pairwise(epochs)):
        raise InputError(f"must ascend, each epoch once, got {brief(list(epochs))}")
    return epochs


class ParameterGroup(Section):
    """Parameters with settings of their own.

    A parameter belongs to the first group whose ``pattern``, a regular expression, is found in its name
    (``readout.weight``) or in the class of its layer and its own name (``BatchNorm2d.weight``). ``rate``
    multiplies the learning rate; ``weight_decay`` replaces that of the optimiser.
    """

    pattern: Annotated[Pattern, setting("Regular expression, found in the name of the parameter.")]
    rate: Annotated[Rate, setting("Factor of the learning rate.")] = 1.0
    weight_decay: Annotated[NotNegative | None, setting("In place of the optimiser's.")] = None


Groups = Annotated[
    tuple[ParameterGroup, ...],
    setting("Parameters with settings of their own: a list of mappings with pattern, rate and weight_decay."),
]


class Sgd(Section):
    """Settings of :class:`torch.optim.SGD`."""

    name: Literal["sgd"] = "sgd"
    momentum: Annotated[Momentum, setting("Share of the last step that is taken again.")] = 0.9
    weight_decay: Decay = 1e-4
    nesterov: Annotated[bool, setting("Nesterov's momentum.")] = False
    groups: Groups = ()


class Adam(Section):
    """Settings of :class:`torch.optim.Adam`."""

    name: Literal["adam"] = "adam"
    betas: Betas = (0.9, 0.999)
    eps: Eps = 1e-8
    weight_decay: Decay = 0.0
    groups: Groups = ()


class AdamW(Section):
    """Settings of :class:`torch.optim.AdamW`."""

    name: Literal["adamw"] = "adamw"
    betas: Betas = (0.9, 0.999)
    eps: Eps = 1e-8
    weight_decay: Decay = 1e-2
    groups: Groups = ()


class Constant(Section):
    """The same learning rate throughout."""

    name: Literal["constant"] = "constant"


class Milestones(Section):
    """``decay_factor`` times the learning rate after each of the epochs ``milestones``."""

    name: Literal["milestones"] = "milestones"
    milestones: Annotated[
        tuple[Positive, ...],
        AfterValidator(_ascending),
        setting(
            "Epochs after which the learning rate falls.",
            scaling="Half and four fifths of the epochs: [80, 120] of 150, [5, 7] of 8, [2] of 3. Those "
            "beyond "
            "the last epoch never come.",
        ),
    ] = (80, 120)
    decay_factor: Annotated[Rate, setting("Factor of the learning rate at each of them.")] = 0.1


class Cosine(Section):
    """Half a cosine over the epochs, down to ``final`` times the learning rate."""

    name: Literal["cosine"] = "cosine"
    final: Annotated[Share, setting("Share of the learning rate at the end.")] = 0.0


class OneCycle(Section):
    """One cycle over the batches (Smith & Topin 2018): up to the learning rate, then down by cosines.

    ``warm_up`` is the share of the steps on the way up; the first rate is the ``initial``, the last one the
    ``final`` share of the learning rate.
    """

    name: Literal["one_cycle"] = "one_cycle"
    warm_up: Annotated[float, setting("Share of the steps on the way up.", gt=0, lt=1)] = 0.3
    initial: Annotated[float, setting("Share of the learning rate at the start.", gt=0, le=1)] = 0.04
    final: Annotated[float, setting("Share of the learning rate at the end.", gt=0, le=1)] = 4e-6


Optimiser = Annotated[Sgd | Adam | AdamW, Field(discriminator="name")]
Schedule = Annotated[Constant | Milestones | Cosine | OneCycle, Field(discriminator="name")]

OPTIMISERS, SCHEDULES = (Sgd, Adam, AdamW), (Constant, Milestones, Cosine, OneCycle)
SgdUnlessNamed = Annotated[Optimiser, BeforeValidator(one_of("optimiser", "sgd", *OPTIMISERS))]
AdamUnlessNamed = Annotated[Optimiser, BeforeValidator(one_of("optimiser", "adam", *OPTIMISERS))]
MilestonesUnlessNamed = Annotated[Schedule, BeforeValidator(one_of("schedule", "milestones", *SCHEDULES))]
ConstantUnlessNamed = Annotated[Schedule, BeforeValidator(one_of("schedule", "constant", *SCHEDULES))]
