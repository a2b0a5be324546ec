"""Optimisers and learning-rate schedules as settings of a recipe (made by ``training/optimiser.py``)."""

import re
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from purespike.errors import InputError, brief
from purespike.section import NotNegative, Number, Positive, Rate, Section, Share, one_of

Momentum = Annotated[Number, Field(ge=0, lt=1)]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise InputError(f"not a regular expression: {error}") from error
    return text


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

    pattern: Annotated[str, AfterValidator(_pattern)]
    rate: Rate = 1.0
    weight_decay: NotNegative | None = None


class Sgd(Section):
    """Settings of :class:`torch.optim.SGD`."""

    name: Literal["sgd"] = "sgd"
    momentum: Momentum = 0.9
    weight_decay: NotNegative = 1e-4
    nesterov: bool = False
    groups: tuple[ParameterGroup, ...] = ()


class Adam(Section):
    """Settings of :class:`torch.optim.Adam`."""

    name: Literal["adam"] = "adam"
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    eps: Rate = 1e-8
    weight_decay: NotNegative = 0.0
    groups: tuple[ParameterGroup, ...] = ()


class AdamW(Section):
    """Settings of :class:`torch.optim.AdamW`."""

    name: Literal["adamw"] = "adamw"
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    eps: Rate = 1e-8
    weight_decay: NotNegative = 1e-2
    groups: tuple[ParameterGroup, ...] = ()


class Constant(Section):
    """The same learning rate throughout."""

    name: Literal["constant"] = "constant"


class Milestones(Section):
    """``decay_factor`` times the learning rate after each of the epochs ``milestones``."""

    name: Literal["milestones"] = "milestones"
    milestones: Annotated[tuple[Positive, ...], AfterValidator(_ascending)] = (80, 120)
    decay_factor: Rate = 0.1


class Cosine(Section):
    """Half a cosine over the epochs, down to ``final`` times the learning rate."""

    name: Literal["cosine"] = "cosine"
    final: Share = 0.0


class OneCycle(Section):
    """One cycle over the batches (Smith & Topin 2018): up to the learning rate, then down by cosines.

    ``warm_up`` is the share of the steps on the way up; the first rate is the ``initial``, the last one the
    ``final`` share of the learning rate.
    """

    name: Literal["one_cycle"] = "one_cycle"
    warm_up: Annotated[Number, Field(gt=0, lt=1)] = 0.3
    initial: Annotated[Number, Field(gt=0, le=1)] = 0.04
    final: Annotated[Number, Field(gt=0, le=1)] = 4e-6


Optimiser = Annotated[Sgd | Adam | AdamW, Field(discriminator="name")]
Schedule = Annotated[Constant | Milestones | Cosine | OneCycle, Field(discriminator="name")]

_OPTIMISERS, _SCHEDULES = (Sgd, Adam, AdamW), (Constant, Milestones, Cosine, OneCycle)
SgdUnlessNamed = Annotated[Optimiser, BeforeValidator(one_of("optimiser", "sgd", *_OPTIMISERS))]
AdamUnlessNamed = Annotated[Optimiser, BeforeValidator(one_of("optimiser", "adam", *_OPTIMISERS))]
MilestonesUnlessNamed = Annotated[Schedule, BeforeValidator(one_of("schedule", "milestones", *_SCHEDULES))]
ConstantUnlessNamed = Annotated[Schedule, BeforeValidator(one_of("schedule", "constant", *_SCHEDULES))]
