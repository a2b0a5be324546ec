"""Backward pass differentiable approximation (BPDA): the purifier forwards, another gradient backwards."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from purespike.attacks.approximation import Approximation, Fit, fit_approximation
from purespike.models.defended import Defended
from purespike.models.draws import KnownDraws
from purespike.models.purifier import Purifier

__all__ = [
    "Approximation",
    "Fit",
    "GuessBackward",
    "Guessing",
    "IdentityBackward",
    "LearnedBackward",
    "fit_approximation",
]


class _Replaced(torch.autograd.Function):
    """The value of one tensor, the gradient of another."""

    @staticmethod
    def forward(ctx: FunctionCtx, differentiated: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class LearnedBackward(nn.Module):
    r"""A defended model whose gradient goes through an approximation of the purifier.

    Logits are exactly those of ``model``; only backward differs: of :math:`f(p(x))` with classifier f,
    purifier p and approximation a it is :math:`J_a(x)^\top \nabla f(p(x))` (Athalye et al. 2018, section 4).

    Args:
        model: attacked model; used as it is, in whatever mode it is in.
        approximation: images ``[N, C, H, W]`` to purified images of that shape, differentiable, e.g. the
            result of :func:`fit_approximation`.
    """

    def __init__(self, model: Defended, approximation: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.approximation = approximation

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            purified = self.model.purify(images)
        if torch.is_grad_enabled():
            purified = _Replaced.apply(self.approximation(images), purified)
        logits = self.model.classify(purified)
        if self.model.by_parts:
            return logits
        # the answer of a vote, or of a forward of its own, with the gradient of the parts
        with torch.no_grad():
            own = self.model(images)
        return logits + (own - logits).detach()


class IdentityBackward(LearnedBackward):
    """A defended model whose gradient takes the purifier for the identity.

    Logits are exactly those of ``model``; only backward differs.
    """

    def __init__(self, model: Defended) -> None:
        super().__init__(model, nn.Identity())


class Guessing(nn.Module):
    """A purifier as a classifier: images to what its encoder guesses, logits ``[N, K]``."""

    def __init__(self, purifier: Purifier) -> None:
        super().__init__()
        self.purifier = purifier

    def forward(self, images: Tensor) -> Tensor:
        return self.purifier.guesses(images)


class GuessBackward(nn.Module):
    """A defended model whose gradient is that of what its purifier's encoder guesses.

    Logits are exactly those of ``model``; backward takes them for the guess
    (:meth:`~purespike.models.Purifier.guesses`), a way round the decoder and the classifier, in whose spikes
    the gradient of the whole may be lost.

    Args:
        model: attacked model; used as it is, in whatever mode it is in.
        guess: images to the guess of its purifier, logits ``[N, K]``.
        own: whether ``model`` has columns beyond the K logits, which keep their own gradient: the margin of a
            gate.
    """

    def __init__(self, model: nn.Module, guess: nn.Module, *, own: bool = False) -> None:
        super().__init__()
        self.model, self.guess, self.own = model, guess, own

    def forward(self, images: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.own and torch.is_grad_enabled()):
            output: Tensor = self.model(images)
        if not torch.is_grad_enabled():
            return output
        guess: Tensor = self.guess(images)
        classes = guess.shape[1]
        if output.shape[1] != classes + self.own:
            # other outputs than logits of these classes, of which the guess knows nothing
            return self.model(images)
        logits = _Replaced.apply(guess, output[:, :classes].detach())
        return torch.cat((logits, output[:, classes:]), 1)


def guess_of(model: nn.Module) -> nn.Module | None:
    """Images to what the purifier of ``model`` guesses, where it has an encoder, else ``None``.

    Also inside modules that wrap a ``model``; that of one whose draws are known is made from the same draws.
    """
    purifier, wrapped = guessing_purifier(model), getattr(model, "model", None)
    if purifier is not None:
        return Guessing(purifier)
    found = guess_of(wrapped) if isinstance(wrapped, nn.Module) else None
    return KnownDraws(found, model.seed) if found is not None and isinstance(model, KnownDraws) else found


def own_purifier(model: nn.Module) -> Purifier | None:
    """The purifier of ``model``, where it is one of ours; ``None`` where there is none, or another."""
    purifier = model.purifier if isinstance(model, Defended) else None
    return purifier if isinstance(purifier, Purifier) else None


def guessing_purifier(model: nn.Module) -> Purifier | None:
    """The purifier of ``model``, where it has an encoder, which guesses a class; else ``None``."""
    purifier = own_purifier(model)
    return None if purifier is None or purifier.encoder is None else purifier
