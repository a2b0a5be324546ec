"""TRADES: accuracy on clean images, and a prediction that hardly changes in the ball around them."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.attacks import SignAttack
from purespike.losses import divergence
from purespike.modes import mode
from purespike.training.objectives.step import Criterion, Step, bare, hits


def trades(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    attack: SignAttack,
    beta: float,
    criterion: Criterion,
) -> Step:
    r"""The loss of TRADES (Zhang et al. 2019, arXiv 1901.08573, eq. 5).

    .. math:: L(f(x), y) + \beta\, KL(f(x) \| f(x')), \quad
        x' \approx \arg\max_{\|x' - x\| \le \epsilon} KL(f(x) \| f(x'))

    The adversary sees the network in evaluation mode. Clean and adversarial images then pass through it
    together, so that both predictions come from the same batch statistics. The gradient flows through both.

    Args:
        model: as for any objective.
        images: as for any objective.
        labels: as for any objective.
        seed: of the adversary's random start.
        attack: its steps; it maximises the divergence, whatever its own loss.
        beta: weight of the divergence, 6 in the paper's main results.
        criterion: L.
    """
    crafted = diverging(bare(model), images, attack=replace(attack, seed=seed))
    clean, moved = model(torch.cat((images, crafted))).chunk(2)
    loss = criterion(clean, labels) + beta * divergence(clean, moved).mean()
    right = {"accuracy": hits(clean, labels), "adversarial_accuracy": hits(moved, labels)}
    # besides the steps: the clean prediction that the adversary leaves, and the two that are trained
    return Step(loss, right, passes=attack.steps + 3)


def diverging(model: nn.Module, images: Tensor, *, attack: SignAttack) -> Tensor:
    """Images in the ball whose prediction diverges most from that of ``images``, same shape."""
    with mode(model, training=False), torch.no_grad():
        clean = model(images).float()
    first_class = torch.zeros(len(images), dtype=torch.long, device=images.device)
    return replace(attack, loss="margin").perturb(_Divergence(model, clean), images, first_class)


class _Divergence(nn.Module):
    """Two logits whose margin, with the first class true, is the divergence: so attacks can maximise it."""

    def __init__(self, model: nn.Module, clean: Tensor) -> None:
        super().__init__()
        self.model, self.clean = model, clean

    def forward(self, images: Tensor) -> Tensor:
        found = divergence(self.clean, self.model(images).float())
        return torch.stack((-found, torch.zeros_like(found)), 1)
