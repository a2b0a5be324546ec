"""The section ``purifier`` of a recipe."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from purespike.optimisation import Adam, AdamUnlessNamed, Constant, ConstantUnlessNamed, Pattern
from purespike.recipe.training import (
    DECAY,
    THRESHOLDS,
    BatchSize,
    Decay,
    Dynamics,
    Named,
    Objective,
    Reset,
    Steps,
    Thresholds,
    TrainedSurrogate,
    Training,
)
from purespike.section import Epochs, Positive, Rate, Width, setting

_TRAINING_ATTACK = {"name": "fgsm", "eps": "16/255"}


def _changed_attack(value: Any) -> Any:
    # --set purifier.attack.eps=4/255 on a recipe that leaves the attack out changes the default
    return {**_TRAINING_ATTACK, **value} if isinstance(value, dict) and "name" not in value else value


class PurifierRecipe(Training):
    """Architecture and training (Algorithm 1, Adam) of the purifier; the paper's but for ``thresholds``.

    Three thresholds instead of the LIF neuron's one undo more of an oblivious attack in our ablation.
    ``attack`` makes the training examples: the settings of one attack, by name. ``objective`` lists an
    objective (``paper``, the loss of eq. 10), penalties and projections. λ and γ are CBDNet's. The paper
    leaves open ``beta``, ``switch_epoch`` and σ(n), here ``noise_level``
    (:func:`purespike.losses.true_noise_level`); it trains on adversarial images only, where here
    ``clean_share`` of each batch may be clean.

    ``coding: events`` purifies frame t of an event camera at step t. ``architecture: background_activity``
    takes :class:`purespike.events.BackgroundActivityFilter` instead of a trained purifier.

    ``output`` is the output stage (:data:`purespike.models.output.OUTPUTS`), ``start`` a purifier whose
    weights training begins with. ``noise`` is the standard deviation of noise that a purifier adds to its
    images first, and ``vote`` puts the answers of ``passes`` draws together. ``release`` names parameters of
    the classifier that are trained along (:mod:`purespike.models.released`), an ablation of its being frozen.
    """

    architecture: Annotated[
        Literal["purifier", "background_activity"],
        setting(
            "purifier, or background_activity: the filter of event cameras, which has no weights and is not "
            "trained."
        ),
    ] = "purifier"
    network: Annotated[
        Literal["cbdnet", "encoder_decoder"],
        setting(
            "cbdnet, the paper's noise estimator and U-Net; or encoder_decoder, which sees the whole image "
            "before it paints, and is made for objective: end_to_end.",
            scaling="encoder_decoder trains with sgd at a learning rate of 0.1 or so, as classifiers do.",
        ),
    ] = "cbdnet"
    width: Annotated[
        Width,
        setting(
            "Factor of the channels of every layer; 1 has 4,365,382 parameters for three channels (cbdnet).",
            scaling="Time and parameters go with its square; 0.25 suits two CPU cores, 1 is the paper's.",
        ),
    ] = 1.0
    time_steps: Steps = 4
    thresholds: Thresholds = THRESHOLDS
    decay: Decay = DECAY
    surrogate: TrainedSurrogate = "rectangle(width=1)"
    reset: Reset = "attached"
    dynamics: Dynamics = None
    coding: Annotated[
        Literal["direct", "events"],
        setting("direct shows the image at every step; events shows frame t of an event camera at step t."),
    ] = "direct"
    output: Annotated[
        Literal["residual", "bounded", "gated", "reconstruction"],
        setting(
            "What becomes of the image: residual (the paper's) adds a correction, bounded also clamps it, "
            "gated "
            "mixes image and painting, reconstruction paints the image anew from spikes.",
            scaling="reconstruction with objective: end_to_end, at any size.",
        ),
    ] = "residual"
    start: Annotated[
        str | None, setting("Purifier whose weights training begins with, of the same settings.")
    ] = None
    release: Annotated[
        Pattern | None,
        setting(
            "Regular expression, found in the names of parameters of the classifier (as for "
            "optimiser.groups): these are trained along. objective: end_to_end only.",
            scaling="Leave it out: the classifier then stays as it was given, to the bit.",
        ),
    ] = None
    noise: Annotated[
        float,
        setting(
            "Standard deviation of noise that the purifier adds to its images first, in pixel units.",
            ge=0,
            le=10,
        ),
    ] = 0.0
    passes: Annotated[int, setting("Draws of that noise whose answers are put together.", ge=1, le=1000)] = 1
    vote: Annotated[
        Literal["mean", "majority"],
        setting("How: the mean of the logits, or the class that most draws give."),
    ] = "mean"
    epochs: Annotated[
        Epochs,
        setting(
            "Passes over the training images.",
            scaling="200 is the paper's for CIFAR-10; 4 to 14 for the built-in digits. Change switch_epoch "
            "with it.",
        ),
    ] = 200
    batch_size: Annotated[
        BatchSize,
        setting(
            "Images of a step, over all processes.",
            scaling="32 for a thousand images; memory is proportional to batch size, time steps and pixels.",
        ),
    ] = 128
    learning_rate: Annotated[
        Rate,
        setting(
            "Largest learning rate of the schedule.",
            scaling="1e-4 is the paper's for 200 epochs; 1e-3 for a few, 4e-3 with one_cycle and clip: 1.",
        ),
    ] = 1e-4
    optimiser: Annotated[AdamUnlessNamed, setting("Optimiser: adam, adamw or sgd, with its settings.")] = (
        Adam()
    )
    schedule: Annotated[
        ConstantUnlessNamed,
        setting(
            "How the learning rate changes: constant, one_cycle, cosine or milestones, with its settings.",
            scaling="one_cycle for few epochs, and with minutes.",
        ),
    ] = Constant()
    objective: Annotated[
        Objective,
        setting(
            "What is trained: a list of one objective (paper, end_to_end or denoise) and penalties, as for "
            "the "
            "classifier.",
            scaling="The eps of end_to_end is the budget that the defended model shall withstand.",
        ),
    ] = ({"name": "paper"},)
    attack: Annotated[
        Named,
        BeforeValidator(_changed_attack),
        setting(
            "objective: paper only: the attack on the classifier that makes the training examples, by name.",
            scaling="Its eps is at least the evaluated one: the paper trains at 16/255 and evaluates at "
            "8/255; "
            "digits train and evaluate at 16/255, MNIST at 0.2.",
        ),
    ] = _TRAINING_ATTACK
    beta: Annotated[
        float,
        setting(
            "objective: paper only: weight of the absolute error from switch_epoch on; the rest is the "
            "squared one.",
            ge=0,
            le=1,
        ),
    ] = 0.5
    switch_epoch: Annotated[
        Positive,
        setting(
            "objective: paper only: first epoch, from 1, whose error is mixed by beta; before it is "
            "absolute.",
            scaling="Half to three quarters of the epochs: 100 of 200, 4 of 5. Beyond the epochs it never "
            "comes.",
        ),
    ] = 100
    asymmetric_weight: Annotated[
        float, setting("objective: paper only: λ of the noise level's asymmetric loss.", ge=0)
    ] = 0.5
    variation_weight: Annotated[
        float, setting("objective: paper only: λ of the noise level's total variation.", ge=0)
    ] = 0.05
    gamma: Annotated[
        float,
        setting(
            "objective: paper only: weight of overestimates of the noise level; underestimates weigh 1 - γ.",
            gt=0,
            lt=0.5,
        ),
    ] = 0.3
    noise_level: Annotated[
        Literal["absolute", "signed", "local_std"],
        setting(
            "objective: paper only: σ(n), which the estimator learns: |n|, n itself, or its local deviation."
        ),
    ] = "absolute"
    clean_share: Annotated[
        float,
        setting(
            "objective: paper only: share of every batch that stays clean; the paper has none.", ge=0, lt=1
        ),
    ] = 0.0
