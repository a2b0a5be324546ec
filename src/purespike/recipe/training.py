"""Settings that both sections of a recipe that train have in common."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from purespike.errors import InputError
from purespike.section import Epochs, Rate, Section, TimeSteps, setting


def _listed(value: Any) -> Any:
    parts = [value] if isinstance(value, str | dict) else value
    if not isinstance(parts, list | tuple):
        return parts
    return [{"name": part} if isinstance(part, str) else part for part in parts]


def _named(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("name"), str):
        raise InputError("needs a name, e.g. {name: fgsm, eps: 8/255}")
    return value


def _alone(value: str | None, info: ValidationInfo) -> str | None:
    for key, default in (("thresholds", THRESHOLDS), ("decay", DECAY)) if value else ():
        if info.data.get(key) != default:
            raise InputError(f"leaves {key} unused; give it as a setting of the dynamics")
    return value


Thresholds = Annotated[
    tuple[float, ...],
    setting(
        "Thresholds V_k of a multi-level firing neuron, ascending and positive: its output is the number "
        "that "
        "the membrane reaches. One threshold makes a LIF neuron; [0.6] is the paper's purifier.",
        max_length=64,
    ),
]
Decay = Annotated[
    float, setting("Share of the membrane potential kept from one step to the next.", ge=0, le=1)
]
Steps = Annotated[
    TimeSteps,
    setting(
        "Time steps T that the network sees an image for. Cost and memory are proportional to it.",
        scaling="2 halves the time of a small experiment; 4 is the paper's.",
    ),
]
TrainedSurrogate = Annotated[
    str,
    setting(
        "Surrogate derivative of the spike in training, e.g. atan(alpha=2). The attacker chooses another."
    ),
]
Reset = Annotated[
    Literal["attached", "detached"],
    setting("Whether gradients flow through the reset of the membrane in training."),
]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
THRESHOLDS, DECAY = (0.6, 1.6, 2.6), 0.25
Dynamics = Annotated[
    str | None,
    AfterValidator(_alone),
    setting(
        "Other neurons than multi-level firing, e.g. adaptivelif(rise=0.5); thresholds and decay then stay "
        "at "
        "their defaults, and the dynamics have settings of their own."
    ),
]
Named = Annotated[dict[str, Any], AfterValidator(_named)]
Objective = Annotated[tuple[Named, ...], BeforeValidator(_listed)]


class Training(Section):
    """Settings that classifier and purifier have in common.

    Neurons are multi-level firing with ``thresholds`` and ``decay``, or have other ``dynamics``, by their
    written form, e.g. ``adaptivelif(rise=0.5)``. Gradients flow through the reset unless it is ``detached``.
    Given ``minutes``, training ends when they are over, whatever ``epochs`` says, and schedules follow the
    clock. ``clip`` limits the norm of a step's gradient; ``average`` is the decay of a moving average of the
    weights, which is what is kept in the end.
    """

    epochs: Annotated[Epochs, setting("Passes over the training images.")]
    minutes: Annotated[
        Rate | None,
        setting(
            "Train by the clock instead: stop after so many minutes, whatever epochs says.",
            scaling="Needs schedule: one_cycle, cosine or constant; milestones are epochs.",
        ),
    ] = None
    batch_size: Annotated[BatchSize, setting("Images of a step, over all processes.")] = 128
    learning_rate: Annotated[Rate, setting("Largest learning rate of the schedule.")]
    crop_padding: Annotated[
        int,
        setting(
            "Augmentation: pad with black by so many pixels, then crop the size of the image anywhere; 0 for "
            "none.",
            scaling="An eighth of the image's side at most: 4 at 32 pixels, 3 at 28, 1 at 16.",
            ge=0,
            le=1024,
        ),
    ] = 4
    flip: Annotated[
        bool,
        setting(
            "Augmentation: mirror each image with probability one half.",
            scaling="false for digits, letters, road signs, and wherever left and right differ.",
        ),
    ] = True
    clip: Annotated[
        Rate | None, setting("Largest norm of the gradient of a step; longer ones are scaled down.")
    ] = None
    average: Annotated[
        float,
        setting(
            "Decay of a moving average of the weights, which is what is kept in the end; 0 for none.",
            scaling="0.99 for hundreds of steps in all, 0.999 for many thousands.",
            ge=0,
            lt=1,
        ),
    ] = 0.0

    def neurons(self) -> dict[str, Any]:
        """Settings of the neurons as models take them; default dynamics as thresholds and decay."""
        own = ("thresholds", "decay") if getattr(self, "dynamics", None) is None else ("dynamics",)
        # models record the settings that they are built with: the defaults stay unwritten there
        usual = {"reset": "attached", "gates": "none", "care": 0.0}
        changed = [key for key, value in usual.items() if getattr(self, key, value) != value]
        values = {key: getattr(self, key) for key in ("time_steps", *own, "surrogate", *changed)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
