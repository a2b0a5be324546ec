"""Whether the reset that the attacker differentiates decides the number (group B)."""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.neurons import RESETS, Reset, other_resets, surrogate_gradient
from purespike.results import Finding

# images that are attacked with each reset
SWEPT = 16


def _passes(e: Examination) -> int:
    others = other_resets(e.model)
    return e.cost(e.side, min(len(e), SWEPT), routes=len(others) + 1) if others else 0


@rule(order=105, passes=_passes)
def check_resets(e: Examination) -> Iterator[Finding]:
    """Does the reset that the model was not trained with break more images than its own?

    Its own surrogate is kept. Without neurons whose reset can be chosen there is nothing to check; where the
    evaluation has an adaptive attacker, it has tried both.
    """
    model, images, labels = e.first(SWEPT)
    others = other_resets(model)
    if not others:
        return
    attack = replace(e.side, stop_early=True)

    def broken(reset: Reset | None) -> Tensor:
        if reset is None:
            return attack(model, images, labels).success
        with surrogate_gradient(model, reset=reset):
            return attack(model, images, labels).success

    own = " and ".join(reset for reset in RESETS if reset not in others) or "mixed"
    counts = {f"its own ({own})": broken(None)}
    counts |= {reset: broken(reset) for reset in others}
    first, *rest = counts.values()
    gained = max(int((other.sum() - first.sum()).item()) for other in rest)
    tried = "adaptive" in e.threats
    objects = gained > e.thresholds.allowed(len(images), e.thresholds.spread) and not tried
    each = ", ".join(f"{name} breaks {int(success.sum())}" for name, success in counts.items())
    yield Finding(
        name="reset",
        group="gradients",
        level="suspicious" if objects else "reliable",
        message=f"of {len(images)} images, by the reset that is differentiated: {each}"
        + ("; the adaptive attacker tried both" if tried else ""),
        advice="add the threat model adaptive, whose attacker tries the attached and the detached reset",
        source="SNN training code differs in whether gradients flow through the reset (SpikingJelly's "
        "detach_reset)",
    )
