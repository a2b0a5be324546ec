"""Whether the model answers at all: ties between classes, and logits that are not numbers."""

from collections.abc import Iterator

from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.results import Finding, Score


@rule(needs="nothing", order=6)
def check_answers(e: Examination) -> Iterator[Finding]:
    """Are clean images tied between classes, or logits, losses and gradients not finite?

    A spike count of few time steps ties often. A tie is no answer here, while ``argmax`` takes the first
    class, hence the accuracy is given both ways.
    """
    right = e.clean.get("defended", ())
    ties, broken = sum(e.clean.get("tied", ())), sum(e.clean.get("not_finite", ()))
    if ties:
        strict, lenient = Score.of(right), Score.share(sum(right) + ties, len(right))
        yield Finding(
            name="ties",
            group="defence",
            level="suspicious" if ties > e.thresholds.allowed(len(right)) else "reliable",
            message=f"{ties} of {len(right)} clean images tie between their class and another: clean "
            f"accuracy is {strict.text}% with ties counted as wrong, as everywhere here, and {lenient.text}% "
            "as right",
            advice="more time steps, or a readout of membrane potentials instead of spike counts",
            source="purespike",
        )
    if broken:
        yield Finding(
            name="finite logits",
            group="defence",
            level="unreliable",
            message=f"the logits of {broken} of {len(right)} clean images are NaN or infinite: they "
            "count as wrong",
            advice="look for weights, divisions or logarithms that are not finite",
            source="purespike",
        )
    pairs = [(cell.line().partition(":")[0], line) for cell in e.cells for line in cell.warnings]
    warned = [f"{name}: {line}" for name, line in pairs if "finite" in line]
    if warned:
        yield Finding(
            name="finite attacks",
            group="gradients",
            level="suspicious",
            message="; ".join(warned[:3]) + (" …" if len(warned) > 3 else ""),
            advice="logits that are not finite count as broken, but a gradient that is not finite "
            "hides its pixel from the attack: keep roots, logarithms and divisions away from zero",
            source="Carlini et al. 2019, On Evaluating Adversarial Robustness",
        )
