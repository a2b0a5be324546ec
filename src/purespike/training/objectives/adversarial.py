"""Adversarial training: adversarial images in the place of clean ones."""

from dataclasses import replace

from torch import Tensor, nn

from purespike.attacks import SignAttack
from purespike.training.objectives.step import Criterion, Step, bare, hits


def adversarial(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    attack: SignAttack,
    criterion: Criterion,
) -> Step:
    r"""The criterion on the worst images that an attack finds in the ball (Madry et al. 2018).

    .. math:: L(f(x'), y), \quad x' \approx \arg\max_{\|x' - x\| \le \epsilon} CE(f(x'), y)

    The attack sees the network in evaluation mode; it changes neither parameters nor the statistics of
    batch norms.
    """
    crafted = replace(attack, seed=seed).perturb(bare(model), images, labels)
    logits = model(crafted)
    right = {"adversarial_accuracy": hits(logits, labels)}
    return Step(criterion(logits, labels), right, passes=attack.steps + 1)
