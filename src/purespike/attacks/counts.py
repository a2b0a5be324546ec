"""PGD on frames of event counts, whose results are counts again: what a camera could have given."""

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from purespike.attacks.gradient import SignAttack
from purespike.attacks.protocol import settings_of
from purespike.attacks.registry import attack, attacking
from purespike.attacks.result import AttackResult
from purespike.attacks.run import verified
from purespike.budget import format_eps
from purespike.errors import InputError
from purespike.events.binning import check_cap
from purespike.modes import normal

_SLACK = 1e-4


@attack(title="PGD on counts", order=45, rank=1, norms=("linf",))
@dataclass(frozen=True, kw_only=True)
class CountPGD(SignAttack):
    """PGD through a rounding to whole counts; the images it returns are rounded, and judged once more.

    Frames of counts lie on the multiples of 1/``cap``. The model is asked about rounded iterates, and the
    derivative of the rounding is taken to be 1. The budget is rounded down to whole events. An image that is
    no whole number of events itself stays within the budget all the same.

    Args:
        cap: count of which images are shares, a divisor of 255.

    Raises:
        InputError: a setting out of range, or a budget of less than one event.
    """

    name: str = "pgd_counts"
    eps: float = 1 / 5
    steps: int = 20
    random_start: bool = True
    cap: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cap(self.cap, name="cap")
        if self.norm != "linf" or self.rule not in ("steepest", "adaptive"):
            raise InputError(f"pgd_counts: counts have a budget each, in L∞; got norm {self.norm}")
        if not self._events:
            raise InputError(
                f"pgd_counts: eps {format_eps(self.eps)} is less than one event; give 1/{self.cap} at least"
            )

    @property
    def _events(self) -> int:
        return math.floor(self.eps * self.cap + _SLACK)

    def unfit(self, images: Tensor, classes: int) -> str:
        counts = (images.float() / 255 if images.dtype == torch.uint8 else images) * self.cap
        if len(images) and (counts - counts.round()).abs().max() > _SLACK * self.cap:
            return f"images are no counts of at most {self.cap} events; set cap to that of the frames"
        return ""

    def _through(self, model: nn.Module) -> tuple[SignAttack, nn.Module]:
        """The attack without rounding, at a budget of whole events, and the model behind the rounding."""
        own = {field.name: getattr(self, field.name) for field in fields(SignAttack)}
        return SignAttack(**{**own, "eps": self._events / self.cap}), Rounded(model, self.cap)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        inner, rounded = self._through(model)
        found = inner(rounded, images, labels)
        images, labels = normal(images).detach(), normal(labels)
        result = replace(found, images=self._counted(found.images, images), config=settings_of(self))
        return verified(result, self, model, images, labels)

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        inner, rounded = self._through(model)
        return self._counted(inner.perturb(rounded, images, labels), normal(images).detach())

    def _counted(self, found: Tensor, clean: Tensor) -> Tensor:
        """``found`` rounded, and moved back into the ball where that led out of it."""
        counts, ball = to_counts(found, self.cap), self.ball
        return torch.where(
            ball.contains(counts, clean).view(-1, 1, 1, 1), counts, ball.project(counts, clean)
        )


class Rounded(nn.Module):
    """A model that sees whole counts; the derivative of the rounding is taken to be 1.

    Args:
        model: images to logits.
        cap: count of which images are shares.
    """

    def __init__(self, model: nn.Module, cap: int) -> None:
        super().__init__()
        self.model, self.cap = model, cap

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images + (to_counts(images, self.cap) - images).detach())
        return logits


def to_counts(images: Tensor, cap: int) -> Tensor:
    """Images rounded to the nearest multiples of 1/``cap``."""
    return (images * cap).round() / cap


pgd_counts = attacking("pgd_counts")
