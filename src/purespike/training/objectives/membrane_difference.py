"""MPPD: clean and adversarial images that drive the last neurons alike."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from purespike.errors import InputError
from purespike.training.objectives.adversarial import STEPS, sign_attack
from purespike.training.objectives.batch import Batch, Step, count_correct
from purespike.training.objectives.layers import Layer, channels_last, spiking
from purespike.training.objectives.registry import Objective, objective

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@objective("membrane_difference", settings=STEPS)
class MembraneDifference(Objective):
    r"""The criterion on clean and adversarial images, and the gap between their membranes (MPPD).

    .. math:: \kappa L(f(x), y) + (1 - \kappa) L(f(x'), y) + \alpha\,\overline{|Y[T]|^p}, \quad
        Y[t] = d\,Y[t-1] + I_x[t] - I_{x'}[t]

    I is the input current of the last layer of neurons and d the share of the membrane that they keep: Y is
    the gap of the membranes if nothing fired. It is squared in Ding et al. ("Robust Stable Spiking Neural
    Networks", ICML 2024), absolute in their later MPPD-TV. No gradient flows through :math:`I_x`. It is at
    most :math:`(1 - d)^{-1}` times as large as the gap of the currents; with d = 1 it grows with T.

    The adversary begins at the image plus a little Gaussian noise and makes one step. It sees the network in
    evaluation mode. Both sets pass through the network together, with the same batch statistics. Sets whose
    weight is 0 are left out.

    Args:
        kappa: κ, the share of the clean images in the criterion.
        alpha: α.
        difference: ``"l2"`` for p = 2, or ``"l1"`` for p = 1.
        noise: standard deviation of the noise, in pixel units.
        faithful: leave the images where the step ends, which is some thousandths outside of the ball around
            the image, as the authors do; by default they are taken back into it.
        settings: settings of PGD, here of one step and eps 4/255 unless given.
    """

    def __init__(
        self,
        *,
        kappa: Annotated[float, Field(ge=0, le=1)] = 0.5,
        alpha: NotNegative = 1.0,
        difference: Literal["l1", "l2"] = "l2",
        noise: NotNegative = 0.001,
        faithful: bool = False,
        **settings: Any,
    ) -> None:
        self.kappa, self.alpha, self.difference = kappa, alpha, difference
        self.noise, self.faithful = noise, faithful
        own = {"eps": "4/255", "steps": 1, "step_size": None, **settings}
        self.attack = sign_attack("pgd", random_start=False, **own)

    def __call__(self, batch: Batch) -> Step:
        both, passes = self.alpha > 0, 0
        shown: list[tuple[str, Tensor, float]] = []
        if both or self.kappa > 0:
            shown.append(("accuracy", batch.images, self.kappa))
        if both or self.kappa < 1:
            shown.append(("adversarial_accuracy", self.attacked(batch), 1 - self.kappa))
            passes = self.attack.steps
        views = batch.forward(*(images for _, images, _ in shown), layers=both)
        right, losses = {}, []
        for (name, _, share), view in zip(shown, views, strict=True):
            right[name] = count_correct(view.logits, batch.labels)
            if share > 0:
                losses.append(share * batch.criterion(view.logits, batch.labels))
        loss, passes = sum(losses[1:], start=losses[0]), passes + len(shown)
        if not both:
            return Step(loss, right, passes=passes)
        clean, moved = (spiking(view.layers, part="membrane_difference")[-1] for view in views)
        gap = gap_of_membranes(clean, moved)
        found = (gap.abs() if self.difference == "l1" else gap.square()).mean()
        return Step(loss + self.alpha * found, right, {"membrane_difference": found.detach()}, passes)

    def attacked(self, batch: Batch) -> Tensor:
        """Adversarial images of a batch."""
        start = batch.images
        if self.noise > 0:
            start = (start + self.noise * torch.randn_like(start)).clamp(0, 1)
        attack = replace(self.attack, seed=batch.seed)
        found = attack.perturb(batch.network, start, batch.labels)
        return found if self.faithful else attack.ball.project(found, batch.images)


def gap_of_membranes(clean: Layer, moved: Layer) -> Tensor:
    """Y[T] of two runs of one layer, ``[N, ..., C]``; constant in ``clean``.

    Raises:
        InputError: the neurons keep no constant share of their membranes.
    """
    neurons = clean.neurons
    share = neurons.dynamics.share_kept(neurons.tensors())
    if share is None:
        raise InputError(
            f"membrane_difference: needs a constant decay, but dynamics {neurons.dynamics.name} has none"
        )
    kept = share.detach() if isinstance(share, Tensor) else share
    steps = channels_last(clean.current.detach() - moved.current)
    first, *others = steps.to(torch.promote_types(steps.dtype, torch.float32))
    gap = first
    for step in others:
        gap = kept * gap + step
    return gap
