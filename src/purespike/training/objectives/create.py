"""The objective that a recipe asks for."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch.nn import functional

from purespike.attacks import SignAttack, create_attack
from purespike.errors import InputError, unknown
from purespike.training.objectives.adversarial import adversarial
from purespike.training.objectives.plain import plain
from purespike.training.objectives.step import Criterion, Objective
from purespike.training.objectives.trades import trades

_STEP = ("eps", "norm", "precision")
_STEPS = (*_STEP, "steps", "step_size", "schedule")

# settings of the attack that mean something to a training step, which takes the last iterate of one start
SETTINGS: dict[str, tuple[str, ...]] = {
    "none": (),
    "fgsm": (*_STEP, "random_start", "loss"),
    "pgd": (*_STEPS, "random_start", "loss"),
    "trades": (*_STEPS, "beta"),
}


def create_objective(
    settings: Mapping[str, Any], *, criterion: Criterion = functional.cross_entropy
) -> Objective:
    """A way to train, by name; the other settings are those of the attack of that name.

    ``none`` trains on clean images. ``fgsm`` and ``pgd`` train on adversarial ones in their place
    (:mod:`~purespike.training.objectives.adversarial`), with the defaults of
    :func:`purespike.attacks.create_attack`: eps 8/255, PGD of 7 steps of 2/255 from a random start.
    ``trades`` takes the settings of PGD and ``beta``, 6 unless given
    (:mod:`~purespike.training.objectives.trades`); its 10 steps of 2/255 start at random, since at the image
    itself the divergence has no gradient.

    Args:
        settings: as ``classifier.adversarial`` of a recipe, e.g. ``{"name": "pgd", "eps": "8/255"}``.
        criterion: what is minimised of a prediction.

    Raises:
        InputError: unknown name or setting, or a setting out of range.
    """
    rest = dict(settings)
    name = rest.pop("name", None)
    if not isinstance(name, str) or name not in SETTINGS:
        raise unknown("adversarial training", str(name), SETTINGS)
    for key in rest:
        if key not in SETTINGS[name]:
            raise unknown(f"setting of classifier.adversarial {name}", key, SETTINGS[name])
    if name == "none":
        return partial(plain, criterion=criterion)
    if name != "trades":
        return partial(adversarial, attack=_attack(name, rest), criterion=criterion)
    beta = rest.pop("beta", 6.0)
    if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 <= beta < float("inf"):
        raise InputError(f"classifier.adversarial: beta: must be a number of at least 0, got {beta!r}")
    attack = _attack("pgd", {"steps": 10, **rest})
    return partial(trades, attack=attack, beta=beta, criterion=criterion)


def _attack(name: str, settings: dict[str, Any]) -> SignAttack:
    try:
        attack = create_attack(name, **settings)
    except InputError as error:
        raise InputError(f"classifier.adversarial: {error}") from error
    assert isinstance(attack, SignAttack)
    return attack
