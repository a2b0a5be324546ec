"""The section ``classifier`` of a recipe."""

from typing import Annotated, Any, Literal, Self

from pydantic import model_validator

from purespike.errors import InputError
from purespike.optimisation import Milestones, MilestonesUnlessNamed, Sgd, SgdUnlessNamed
from purespike.recipe.names import present_names
from purespike.recipe.training import (
    DECAY,
    THRESHOLDS,
    BatchSize,
    Decay,
    Dynamics,
    Objective,
    Reset,
    Steps,
    Thresholds,
    TrainedSurrogate,
    Training,
)
from purespike.section import Epochs, Rate, Width, setting


class ClassifierRecipe(Training):
    """Architecture and training of the classifier; the defaults (SGD, step decay) are the paper's for CIFAR.

    ``smoothing: ols`` smooths the labels online. ``objective`` lists an objective (``none``, training on
    clean images, ``fgsm``, ``pgd`` or ``trades``, with the settings of its attack), penalties and projections
    (:func:`purespike.training.objectives.create_objective`); one needs no list, and a name alone means
    its defaults. The former keys ``adversarial`` (now ``objective``), ``momentum``, ``weight_decay`` (now in
    ``optimiser``), ``milestones`` and ``decay_factor`` (now in ``schedule``) remain valid.
    ``coding`` makes frames of an image, e.g. ``poisson``. ``gates`` puts stochastic gates after the neurons,
    with one probability for each ``channel`` or ``neuron``; ``care`` is the share of a recalibration of
    channels by class means, which the objective's part ``care`` records.

    Given a ``source``, a checkpoint, a run folder or ``module:function``, that model is defended as it is and
    nothing here is trained.
    """

    source: Annotated[
        str | None,
        setting(
            "Defend this model as it is and train nothing here: a checkpoint, a run folder, or "
            "module:function. "
            "The other keys of the section are then unused. On the command line: --classifier."
        ),
    ] = None
    architecture: Annotated[
        str,
        setting(
            "Network to train.",
            scaling="For 28 to 32 pixels any; for small machines resnet14_snn with a small width.",
        ),
    ] = "senet18_snn"
    width: Annotated[
        Width,
        setting(
            "Factor of the channels of every layer.",
            scaling="Time and parameters go with its square; 0.125 suits two CPU cores, 1 is the paper's.",
        ),
    ] = 1.0
    time_steps: Steps = 4
    thresholds: Thresholds = THRESHOLDS
    decay: Decay = DECAY
    surrogate: TrainedSurrogate = "rectangle(width=1)"
    reset: Reset = "attached"
    dynamics: Dynamics = None
    gates: Annotated[
        Literal["none", "channel", "neuron"],
        setting("Stochastic gates after the neurons (StoG), one probability for each channel or neuron."),
    ] = "none"
    care: Annotated[
        float,
        setting(
            "Share of a recalibration of channels by class means (CARENet); objective: care records the "
            "means.",
            ge=0,
            le=1,
        ),
    ] = 0.0
    coding: Annotated[str, setting("How an image becomes the frames of the time steps, e.g. poisson.")] = (
        "direct"
    )
    epochs: Annotated[
        Epochs,
        setting(
            "Passes over the training images.",
            scaling="150 for CIFAR-10 at full size, 7 or 8 for the built-in digits. "
            "Change schedule.milestones with it.",
        ),
    ] = 150
    batch_size: Annotated[
        BatchSize,
        setting(
            "Images of a step, over all processes.",
            scaling="24 to 64 for a thousand images, so that an epoch has enough steps; memory is "
            "proportional to "
            "batch size, time steps and pixels.",
        ),
    ] = 256
    learning_rate: Annotated[
        Rate,
        setting("Largest learning rate of the schedule.", scaling="0.1 with SGD, at any of these sizes."),
    ] = 0.1
    optimiser: Annotated[SgdUnlessNamed, setting("Optimiser: sgd, adam or adamw, with its settings.")] = Sgd()
    schedule: Annotated[
        MilestonesUnlessNamed,
        setting(
            "How the learning rate changes: milestones, cosine, one_cycle or constant, with its settings.",
            scaling="Milestones at about half and at four fifths of the epochs: [80, 120] of 150, [5, 7] of "
            "8.",
        ),
    ] = Milestones()
    smoothing: Annotated[
        Literal["none", "ols"], setting("ols: labels smoothed online by the classifier's own predictions.")
    ] = "none"
    objective: Annotated[
        Objective,
        setting(
            "What is trained: a list of one objective (none is training on clean images), penalties and "
            "projections, each a name or a mapping with a name and settings.",
            scaling="The eps of an adversarial objective is the budget that the classifier shall withstand.",
        ),
    ] = ({"name": "none"},)

    @model_validator(mode="before")
    @classmethod
    def _present(cls, values: Any) -> Any:
        return present_names(values)

    @model_validator(mode="after")
    def _recalibrates(self) -> Self:
        if self.care and all(part["name"] != "care" for part in self.objective):
            raise InputError("care: recalibrates nothing before its means are known; add care to objective")
        return self

    @model_validator(mode="after")
    def _adapts(self) -> Self:
        # by its name: a recipe is read without PyTorch
        adapts = (self.dynamics or "").partition("(")[0].strip() == "talif"
        if adapts and all(part["name"] != "homeostasis" for part in self.objective):
            raise InputError(
                "dynamics: talif adapts to membranes that homeostasis records; add homeostasis to objective"
            )
        return self
