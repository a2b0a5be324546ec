"""Whether neurons let information and gradients pass, and whether all that spikes is known."""

from collections.abc import Iterator

from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.evaluation.plan import Job
from purespike.neurons import Census, membrane_census, own_gradients, surrogate_gradient
from purespike.results import Finding


@rule(needs="images", order=65, passes=len)
def check_unknown_neurons(e: Examination) -> Iterator[Finding]:
    """Do modules spike, or functions define a gradient, where the attacker has no choice?

    The attacker then has the gradient that such a part defines for itself, and no other; the sweep over
    surrogates and the census pass it by. Surrogates move accuracies by tens of points, hence the number may
    be too high, also beside an attack without gradients, which is weaker than a good gradient.
    """
    own = own_gradients(e.model, e.images)
    without = list(dict.fromkeys(job.attack.name for job in e.jobs if _without_gradients(job)))
    covered = f"; {', '.join(without)} attacks without gradients" if without else ""
    if own.spiking:
        yield Finding(
            name="unknown neurons",
            group="gradients",
            level="suspicious",
            message="the neurons are not ours, their surrogate was kept: "
            + ", ".join(name or type(e.model).__name__ for name in own.spiking)
            + covered,
            advice="rebuild the modules with purespike.neurons, SpikingJelly or snnTorch, whose surrogates "
            "the attacker chooses; an attack without gradients (square, spsa) is a further witness",
            source="Bu et al.: the attacker's surrogate decides the number",
        )
    faults = {
        "the backward of {} is not the derivative of what it computes": own.departing,
        "the backward of {} could not be compared with finite differences": own.unexamined,
    }
    objections = [fault.format(", ".join(names)) for fault, names in faults.items() if names]
    if objections:
        yield Finding(
            name="own gradients",
            group="gradients",
            level="suspicious",
            message="; ".join(objections) + covered,
            advice="an attacker may differentiate it otherwise: try the derivative, or the identity, and an "
            "attack without gradients (square, spsa)",
            source="Athalye et al. 2018, Obfuscated Gradients Give a False Sense of Security",
        )


def _without_gradients(job: Job) -> bool:
    """Whether an attack, or a part of it such as AutoAttack's Square, does without the model's gradients."""
    return job.norm != "noise" and job.attack.gradient_part() != job.attack


@rule(needs="images", order=60, passes=lambda e: (1 + len(e.surrogates)) * len(e))
def check_neurons(e: Examination) -> Iterator[Finding]:
    """Does each layer of neurons pass information forwards, and a gradient backwards?

    A layer is blocked where neither the model's own surrogate nor one of the attacker's lets a gradient pass.
    """
    census = membrane_census(e.model, e.images)
    if not census:
        return
    windows, thresholds = [census], e.thresholds
    for surrogate in e.surrogates if e.attackable else ():
        with surrogate_gradient(e.model, surrogate):
            windows.append(membrane_census(e.model, e.images))
    silent = [name for name, layer in census.items() if layer.dead >= thresholds.dead]
    saturated = [name for name, layer in census.items() if layer.saturated >= thresholds.dead]
    blocked = [name for name in census if all(each[name].in_window < thresholds.window for each in windows)]
    advice = "such a layer passes no information and hardly a gradient: train with a better initialisation"
    if blocked and not (silent or saturated):
        advice = "give the adaptive attacker wider surrogates, e.g. rectangle(width=4) or atan(alpha=1)"
    lists = {"silent layers": silent, "saturated": saturated, "out of every surrogate's window": blocked}
    objections = [f"{fault}: {', '.join(names)}" for fault, names in lists.items() if names]
    yield Finding(
        name="neurons",
        group="gradients",
        level="suspicious" if objections else "reliable",
        message="; ".join([*objections, _ranges(census)]),
        advice=advice,
        source="census of this project",
    )


def _ranges(census: dict[str, Census]) -> str:
    def span(name: str) -> str:
        values = [getattr(layer, name) for layer in census.values()]
        return f"{min(values):.1%} to {max(values):.1%}"

    return (
        f"{len(census)} layers fire at rates from {span('rate')}, with {span('in_window')} of the membranes "
        f"in the surrogate's window, {span('dead')} of the neurons dead and {span('saturated')} saturated"
    )
