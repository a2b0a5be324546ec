"""Whether the surrogate decides the number, and whether neurons let a gradient pass (group B)."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.neurons import Census, MultiLevelFiring, membrane_census, parse_surrogate, surrogate_gradient
from purespike.results import Cell, Finding
from purespike.results.vocabulary import attack_words

# until the neurons' dynamics are merged: then import it with the names above, and drop this block
try:
    from purespike.neurons import unknown_spiking_modules  # type: ignore[attr-defined]
except ImportError:

    def unknown_spiking_modules(model: nn.Module, images: Tensor) -> list[str]:
        return []


# narrow and wide, of all shapes; through time, through rates, and adapting to the membranes
SWEEP = (
    "rectangle(width=0.5)",
    "rectangle(width=1)",
    "rectangle(width=2)",
    "rectangle(width=4)",
    "triangle(width=0.5)",
    "triangle(width=1)",
    "triangle(width=2)",
    "atan(alpha=1)",
    "atan(alpha=2)",
    "atan(alpha=5)",
    "ratebased",
    "bptr",
    "pdsg",
    "assg",
    "hart",
)
# images of the sweep
SWEPT = 16


def spiking(model: nn.Module) -> list[MultiLevelFiring]:
    """The layers of neurons of ``model`` whose surrogate an attacker can choose."""
    return [module for module in model.modules() if isinstance(module, MultiLevelFiring)]


@rule(needs="images", order=60)
def check_neurons(e: Examination) -> Iterator[Finding]:
    """Does each layer of neurons pass information forwards, and a gradient backwards?

    A layer is blocked where neither the model's own surrogate nor any of the attacker's lets a gradient pass.
    """
    census = membrane_census(e.model, e.images)
    if not census:
        return
    windows = [census]
    for surrogate in e.surrogates if e.attackable else ():
        with surrogate_gradient(e.model, surrogate):
            windows.append(membrane_census(e.model, e.images))
    silent = [name for name, layer in census.items() if layer.dead >= e.thresholds.dead]
    saturated = [name for name, layer in census.items() if layer.saturated >= e.thresholds.dead]
    blocked = [name for name in census if all(each[name].in_window < e.thresholds.window for each in windows)]
    advice = "such a layer passes no information and hardly a gradient: train with a better initialisation"
    if blocked and not (silent or saturated):
        advice = "give the adaptive attacker wider surrogates, e.g. rectangle(width=4) or atan(alpha=1)"
    lists = {"silent layers": silent, "saturated": saturated, "out of every surrogate's window": blocked}
    objections = "; ".join(f"{name}: {', '.join(layers)}" for name, layers in lists.items() if layers)
    yield Finding(
        name="neurons",
        group="gradients",
        level="suspicious" if objections else "reliable",
        message=f"{objections}; {_ranges(census)}" if objections else _ranges(census),
        advice=advice,
        source="census of this project",
    )


@rule(needs="images", order=65)
def check_unknown_neurons(e: Examination) -> Iterator[Finding]:
    """Do modules spike that are not purespike's?

    An attacker cannot sweep their surrogates, and the census does not see them: an attack that needs no
    gradients, such as square or spsa under any threat model, has to confirm the number. Nothing is found
    where every module that spikes is known.
    """
    names = unknown_spiking_modules(e.model, e.images)
    if not names:
        return
    confirmed = list(dict.fromkeys(cell.attack for cell in e.cells if _by_queries(cell)))
    shown = ", ".join(name or "the model itself" for name in names[:3]) + (" …" if len(names) > 3 else "")
    judged = (
        f"but {', '.join(confirmed)} needs no gradients" if confirmed else "and every attack follows them"
    )
    yield Finding(
        name="unknown neurons",
        group="gradients",
        level="reliable" if confirmed else "suspicious",
        message=f"modules spike that are not purespike's ({shown}): their surrogates are not swept, {judged}",
        advice="a foreign surrogate cannot be swept: attack without gradients as well (square, spsa), or "
        "build the model of purespike's neurons",
        source="Bu et al.: the attacker's surrogate decides the number",
    )


def _by_queries(cell: Cell) -> bool:
    """Whether the attack, or a part of it, needs outputs alone."""
    names = (cell.attack, *attack_words(cell.attack).contains)
    return any(attack_words(name).by_queries for name in names)


@rule(order=100)
def check_surrogates(e: Examination) -> Iterator[Finding]:
    """Does the surrogate that the attacker differentiates decide the number?

    Only models with purespike's neurons are checked.
    """
    model, images, labels = e.first(SWEPT)
    neurons = spiking(model)
    if not neurons:
        return
    own, count = str(neurons[0].surrogate), len(images)
    broken: dict[str, Tensor] = {}
    for surrogate in dict.fromkeys((own, *e.surrogates, *SWEEP)):
        # a surrogate's memory of each image is lost when others leave the batch
        early = not parse_surrogate(surrogate).remembers
        with surrogate_gradient(model, surrogate):
            broken[surrogate] = replace(e.side, stop_early=early)(model, images, labels).success
    shares = {name: success.float().mean().item() for name, success in broken.items()}
    best, worst = (choose(shares, key=lambda name: shares[name]) for choose in (max, min))
    source = "Bu et al., and the sweep this project measured: the attacker's surrogate decides the number"
    behind = int((broken[best].sum() - broken[own].sum()).item())
    yield Finding(
        name="surrogate",
        group="gradients",
        level="suspicious" if behind > e.thresholds.allowed(count, e.thresholds.spread) else "reliable",
        message=f"own surrogate {own} breaks {shares[own]:.0%} of {count} images; of {len(shares)} tried "
        f"{worst} the fewest ({shares[worst]:.0%}) and {best} the most ({shares[best]:.0%}), a spread of "
        f"{100 * (shares[best] - shares[worst]):.0f} points",
        advice="report the worst case over surrogates (threat model adaptive), never the model's own alone",
        source=source,
    )
    union = torch.stack([broken[name] for name in dict.fromkeys((own, *e.surrogates))]).any(0)
    others = {name: int((success & ~union).sum()) for name, success in broken.items()}
    missed = int((torch.stack(list(broken.values())).any(0) & ~union).sum())
    yield Finding(
        name="surrogate ensemble",
        group="gradients",
        level="suspicious" if missed > e.thresholds.allowed(count) else "reliable",
        message=f"surrogates outside the ensemble break {missed} of {count} images beyond it",
        advice=f"add them: {', '.join(name for name in others if others[name])}",
        source=source,
    )


def _ranges(census: dict[str, Census]) -> str:
    def span(name: str) -> str:
        values = [getattr(layer, name) for layer in census.values()]
        return f"{min(values):.1%} to {max(values):.1%}"

    return (
        f"{len(census)} layers fire at rates from {span('rate')}, with {span('in_window')} of the membranes "
        f"in the surrogate's window, {span('dead')} of the neurons dead and {span('saturated')} saturated"
    )
