"""Training on clean images, and on adversarial images in their place."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from purespike.attacks import SignAttack, create_attack
from purespike.neurons import parse_surrogate, surrogate_gradient
from purespike.training.objectives.batch import Batch, Step, count_correct
from purespike.training.objectives.registry import Objective, objective

# settings of an attack that mean something to a training step, which takes the last iterate of one start
STEP = ("eps", "norm", "precision")
STEPS = (*STEP, "steps", "step_size", "schedule")


@objective("none")
def none(batch: Batch) -> Step:
    """The criterion on the images as they are."""
    (view,) = batch.forward(batch.images)
    right = {"accuracy": count_correct(view.logits, batch.labels)}
    return Step(batch.criterion(view.logits, batch.labels), right)


class Adversarial(Objective):
    r"""The criterion on the worst images that an attack finds in the ball (Madry et al. 2018).

    .. math:: L(f(x'), y), \quad x' \approx \arg\max_{\|x' - x\| \le \epsilon} CE(f(x'), y)

    The attack sees the network in evaluation mode; it changes neither parameters nor the statistics of
    batch norms.

    Args:
        name: ``"fgsm"`` or ``"pgd"``.
        surrogates: surrogates of the attack, which take turns; by default the network's own.
        settings: settings of that attack.
    """

    def __init__(self, name: str, *, surrogates: Sequence[str] = (), **settings: Any) -> None:
        self.attack = sign_attack(name, **settings)
        self.surrogates = tuple(str(parse_surrogate(surrogate)) for surrogate in surrogates)

    def __call__(self, batch: Batch) -> Step:
        attack = replace(self.attack, seed=batch.seed)
        with taking_turns(batch, self.surrogates):
            attacked = attack.perturb(batch.network, batch.images, batch.labels)
        (view,) = batch.forward(attacked)
        right = {"adversarial_accuracy": count_correct(view.logits, batch.labels)}
        return Step(batch.criterion(view.logits, batch.labels), right, passes=attack.steps + 1)


@objective("fgsm", settings=(*STEP, "random_start", "loss"))
class Fgsm(Adversarial):
    """Adversarial training with one step of the attack (Goodfellow et al. 2015)."""

    def __init__(self, *, surrogates: tuple[str, ...] = (), **settings: Any) -> None:
        super().__init__("fgsm", surrogates=surrogates, **settings)


@objective("pgd", settings=(*STEPS, "random_start", "loss"))
class Pgd(Adversarial):
    """Adversarial training with several steps of the attack (Madry et al. 2018)."""

    def __init__(self, *, surrogates: tuple[str, ...] = (), **settings: Any) -> None:
        super().__init__("pgd", surrogates=surrogates, **settings)


def taking_turns(batch: Batch, surrogates: Sequence[str]) -> contextlib.AbstractContextManager[object]:
    """The network of ``batch`` with the surrogate whose turn it is; with its own where none is given."""
    if not surrogates:
        return contextlib.nullcontext()
    return surrogate_gradient(batch.network, surrogates[batch.step % len(surrogates)])


def sign_attack(name: str, **settings: Any) -> SignAttack:
    """The attack called ``name`` with these settings.

    Raises:
        InputError: a setting out of range.
    """
    attack = create_attack(name, **settings)
    assert isinstance(attack, SignAttack)
    return attack
