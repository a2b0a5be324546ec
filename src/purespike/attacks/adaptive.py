"""Attackers who know the purifier: BPDA, and the worst case over surrogates and losses."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from purespike.attacks.registry import Attack
from purespike.attacks.result import AttackResult, merge
from purespike.errors import InputError
from purespike.models.defended import Defended
from purespike.neurons import MultiLevelFiring, surrogate_gradient


class _Identity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, images: Tensor, purified: Tensor) -> Tensor:
        return purified.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class IdentityBackward(nn.Module):
    """A defended model whose gradient takes the purifier for the identity (BPDA, Athalye et al. 2018).

    Logits are exactly those of ``model``; only backward differs.
    """

    def __init__(self, model: Defended) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            purified = self.model.purify(images)
        return self.model.classifier(_Identity.apply(images, purified))


@dataclass(frozen=True)
class Component:
    """One attempt of the adaptive attacker, and how many still standing images it broke."""

    surrogate: str
    loss: str
    attacked: int
    broken: int


def variants(
    model: nn.Module, attack: Attack, surrogates: Sequence[str], losses: Sequence[str]
) -> list[tuple[str | None, str | None]]:
    """The (surrogate, loss) pairs to try; ``None`` leaves the model's or the attack's own.

    A model without our neurons has one gradient only, and an attack without a loss setting one loss.
    """
    spiking = any(isinstance(module, MultiLevelFiring) for module in model.modules())
    has_loss = "loss" in {field.name for field in fields(attack)}
    return [
        (surrogate, loss)
        for surrogate in (surrogates if spiking else [None])
        for loss in (losses if has_loss else [None])
    ]


def worst_case(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: Attack,
    surrogates: Sequence[str],
    losses: Sequence[str] = ("ce", "margin"),
) -> tuple[AttackResult, list[Component]]:
    """Attack with every surrogate and loss; each pair meets only what the former ones left standing.

    Args:
        model: images to logits, differentiable end to end.
        images: ``[N, C, H, W]`` floats in [0, 1].
        labels: true classes, ``[N]``.
        attack: run once per pair, stopping at a sample's first success where it can.
        surrogates: what the attacker differentiates in place of the spike, e.g. ``"atan(alpha=2)"``.
        losses: names of attack losses.

    Returns:
        The combined result, whose ``success`` is the worst case per sample and whose trace is that of the
        first pair, and one :class:`Component` per pair.

    Raises:
        InputError: no surrogate or no loss, or what ``attack`` raises.
    """
    if not surrogates or not losses:
        raise InputError("adaptive: needs at least one surrogate and one loss")
    names = {field.name for field in fields(attack)}
    components: list[Component] = []
    total: AttackResult | None = None
    rows = torch.arange(len(images), device=images.device)
    for surrogate, loss in variants(model, attack, surrogates, losses):
        settings: dict[str, Any] = {"loss": loss} if loss else {}
        if "stop_early" in names:
            settings["stop_early"] = True
        with surrogate_gradient(model, surrogate) if surrogate else contextlib.nullcontext():
            result = replace(attack, **settings)(model, images[rows], labels[rows])
        broken = int(result.success.sum())
        components.append(Component(surrogate or "own", loss or "own", len(rows), broken))
        total = result if total is None else merge(total, result, rows)
        rows = rows[~result.success]
        if not len(rows):
            break
    assert total is not None
    return total, components
