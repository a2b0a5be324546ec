"""TRADES: accuracy on clean images, and a prediction that hardly changes in the ball around them."""

from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from purespike.attacks import SignAttack
from purespike.modes import mode
from purespike.training.objectives.adversarial import STEPS, sign_attack
from purespike.training.objectives.batch import Batch, Step, count_correct
from purespike.training.objectives.registry import Objective, objective


@objective("trades", settings=STEPS)
class Trades(Objective):
    r"""The loss of TRADES (Zhang et al. 2019, arXiv 1901.08573, eq. 5).

    .. math:: L(f(x), y) + \beta\, KL(f(x) \| f(x')), \quad
        x' \approx \arg\max_{\|x' - x\| \le \epsilon} KL(f(x) \| f(x'))

    The adversary sees the network in evaluation mode. Clean and adversarial images then pass through it
    together, so that both predictions come from the same batch statistics. The gradient flows through both.

    Args:
        beta: weight of the divergence, 6 in the paper's main results.
        settings: settings of PGD, whose steps climb the divergence from a random start.
    """

    def __init__(
        self, *, beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 6.0, **settings: Any
    ) -> None:
        self.beta, self.attack = beta, sign_attack("pgd", **{"steps": 10, **settings})

    def __call__(self, batch: Batch) -> Step:
        attack = replace(self.attack, seed=batch.seed)
        crafted = diverging(batch.network, batch.images, attack=attack)
        clean, moved = (view.logits for view in batch.forward(batch.images, crafted))
        loss = batch.criterion(clean, batch.labels) + self.beta * divergence(clean, moved).mean()
        right = {
            "accuracy": count_correct(clean, batch.labels),
            "adversarial_accuracy": count_correct(moved, batch.labels),
        }
        # besides the steps: the clean prediction that the adversary leaves, and the two that are trained
        return Step(loss, right, passes=attack.steps + 3)


def divergence(clean: Tensor, moved: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the softmax of two sets of logits ``[N, K]``, ``[N]``."""
    log_p, log_q = clean.log_softmax(1), moved.log_softmax(1)
    return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


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
