"""What every attack returns."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class AttackResult:
    """Adversarial images and how they came about.

    Args:
        images: ``[N, C, H, W]`` in [0, 1], within the budget of ``config``.
        success: bool ``[N]``: the attacked model misclassifies the image; judged on exactly ``images``, where
            the attack averages over passes (``eot``) by more than half of them.
        best_step: int ``[N]``: the step whose iterate was kept; 0 is the start.
        loss_trace: ``[steps + 1, N]``: the attacked loss at each iterate, mean over its passes, NaN where a
            sample had left.
        forwards: images passed through the model, probes and repeated passes included.
        backwards: images differentiated, repeated passes included.
        config: the attack's name and settings.
        seed: of its random draws.
    """

    images: Tensor
    success: Tensor
    best_step: Tensor
    loss_trace: Tensor
    forwards: int
    backwards: int
    config: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


def merge(whole: AttackResult, part: AttackResult, rows: Tensor) -> AttackResult:
    """``whole`` with ``part``, a further attack on its ``rows``, in their place; the trace stays."""
    images, success, best_step = whole.images.clone(), whole.success.clone(), whole.best_step.clone()
    images[rows], success[rows], best_step[rows] = part.images, part.success, part.best_step
    return replace(
        whole,
        images=images,
        success=success,
        best_step=best_step,
        forwards=whole.forwards + part.forwards,
        backwards=whole.backwards + part.backwards,
    )


def settings_of(attack: Any) -> dict[str, Any]:
    """Name and settings of an attack, a frozen dataclass, without its seed, which a result names apart."""
    return {key: value for key, value in asdict(attack).items() if key != "seed"}
