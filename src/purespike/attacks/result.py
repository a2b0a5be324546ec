"""The result that every attack returns."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class AttackResult:
    """Adversarial images and how they were found.

    Args:
        images: ``[N, C, H, W]`` in [0, 1], within the budget of ``config``.
        success: bool ``[N]``: the attacked model misclassifies the image, or for a targeted attack takes it
            for the target; judged on exactly ``images``, where the attack averages over passes (``eot``) by
            more than half of them.
        best_step: int ``[N]``: the step whose iterate was kept; 0 is the start.
        loss_trace: ``[steps + 1, N]``: the attacked loss at each iterate, mean over its passes, NaN where a
            sample had left.
        forwards: images passed through the model, probes and repeated passes included.
        backwards: images differentiated, repeated passes included.
        config: name and settings of the attack.
        seed: seed of its random draws.
        targets: classes that the attack chose to aim at, ``[N]``; ``None`` if it chose none.
        misclassified: bool ``[N]``: the attacked model misclassifies the image, be it as the target or not;
            ``None`` where ``success`` says that.
        warnings: remarks of the attack on the model, e.g. that gradients were not finite.
    """

    images: Tensor
    success: Tensor
    best_step: Tensor
    loss_trace: Tensor
    forwards: int
    backwards: int
    config: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    targets: Tensor | None = None
    misclassified: Tensor | None = None
    warnings: tuple[str, ...] = ()

    @property
    def broken(self) -> Tensor:
        """Bool ``[N]``: the attacked model is wrong about the image."""
        return self.success if self.misclassified is None else self.misclassified


def merge(whole: AttackResult, part: AttackResult, rows: Tensor) -> AttackResult:
    """``whole`` with ``part``, a further attack on its ``rows``, in their place; the trace stays."""
    changed: dict[str, Any] = {}
    for name in ("images", "success", "best_step", "targets", "misclassified"):
        old, new = getattr(whole, name), getattr(part, name)
        if old is not None and new is not None:
            changed[name] = old.clone()
            changed[name][rows] = new
    return replace(
        whole,
        **changed,
        forwards=whole.forwards + part.forwards,
        backwards=whole.backwards + part.backwards,
        warnings=tuple(dict.fromkeys((*whole.warnings, *part.warnings))),
    )


NO_PATH = "autograd finds no path from the logits to the images: no gradient was followed"


def remarks(dropped: Tensor, *, losses: Tensor | None = None, reached: bool | None = True) -> tuple[str, ...]:
    """Warnings of an attack that met numbers that are not finite, or a model without a gradient.

    Args:
        dropped: count of entries of gradients, which were taken as zero.
        losses: count of images and steps whose loss was not finite.
        reached: whether autograd found a path from the logits to the images; ``None`` if nobody asked.
    """
    counts = {
        "entries of gradients were not finite, and taken as zero": int(dropped),
        "times the loss of an image was not finite": 0 if losses is None else int(losses),
    }
    lines = tuple(f"{count} {what}" for what, count in counts.items() if count)
    return (NO_PATH, *lines) if reached is False else lines
