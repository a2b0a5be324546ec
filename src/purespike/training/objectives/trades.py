"""TRADES: accuracy on clean images, and a prediction that hardly changes in the ball around them."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from purespike.attacks import SignAttack
from purespike.budget import parse_eps
from purespike.errors import InputError
from purespike.modes import mode
from purespike.seeding import generator
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
        attack: ``"pgd"``, whose steps climb the divergence from a random start; or ``"rfgsm"`` (Tramèr et
            al. 2018): ``start`` away by the sign of Gaussian noise, then one step of the rest of ``eps``.
        start: length of the random step of ``rfgsm`` in pixel units, 1/255 unless given.
        settings: settings of the attack; of ``rfgsm`` eps and precision alone.

    Raises:
        InputError: a setting out of range, or one of the other attack.
    """

    def __init__(
        self,
        *,
        beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 6.0,
        attack: Literal["pgd", "rfgsm"] = "pgd",
        start: float | str | None = None,
        **settings: Any,
    ) -> None:
        self.beta, self.start = beta, 0.0
        if attack == "pgd":
            if start is not None:
                raise InputError("start: is for attack: rfgsm; pgd starts anywhere in the ball")
            self.attack = sign_attack("pgd", **{"steps": 10, **settings})
        else:
            self.start, self.attack = random_step(1 / 255 if start is None else start, **settings)

    def __call__(self, batch: Batch) -> Step:
        attack = replace(self.attack, seed=batch.seed)
        crafted = diverging(batch.network, batch.images, attack=attack, start=self.start)
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


def random_step(
    start: float | str, *, eps: float | str = 8 / 255, **settings: Any
) -> tuple[float, SignAttack]:
    """The length of RFGSM's random step, and FGSM with what it leaves of the budget.

    Raises:
        InputError: a setting of other attacks, or a random step that leaves nothing.
    """
    if others := settings.keys() - {"precision"}:
        raise InputError(f"attack: rfgsm is one step in L-infinity; leave out {', '.join(sorted(others))}")
    length, budget = parse_eps(start, name="start"), parse_eps(eps)
    # at the image itself the divergence has no gradient
    if not 0 < length < budget:
        raise InputError(f"start: must be positive and less than eps, {budget:g}, got {length:g}")
    return length, sign_attack("fgsm", eps=budget - length, **settings)


def diverging(model: nn.Module, images: Tensor, *, attack: SignAttack, start: float = 0.0) -> Tensor:
    """Images in the ball whose prediction diverges most from that of ``images``, same shape.

    Args:
        model: images to logits, in evaluation mode.
        images: ``[N, C, H, W]`` in [0, 1].
        attack: the steps.
        start: length of a random step before them, by the sign of Gaussian noise.
    """
    with mode(model, training=False), torch.no_grad():
        clean = model(images).float()
    if start:
        noise = torch.randn(images.shape, generator=generator(attack.seed, "start"))
        images = (images + start * noise.sign().to(images)).clamp(0, 1)
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
