"""Whether the model is a function of one image: stochastic, stateful, dependent on its batch (group D)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from purespike.evaluation.diagnostics.examination import Examination
from purespike.evaluation.diagnostics.rule import rule
from purespike.evaluation.inputs import REPEATED, apart
from purespike.models.answer import logits_of
from purespike.results import Finding, Level
from purespike.seeding import seeded

TRAMER = "Tramèr et al. 2020, On Adaptive Attacks to Adversarial Example Defenses"


@rule(needs="nothing", order=10)
def check_mode(e: Examination) -> Iterator[Finding]:
    """Was the model handed over in training mode?"""
    if not e.arrived_training:
        return
    names = ", ".join(e.arrived_training[:3]) + (" …" if len(e.arrived_training) > 3 else "")
    yield Finding(
        name="evaluation mode",
        group="defence",
        level="suspicious",
        message=f"the model arrived in training mode ({names}); it was evaluated in evaluation mode",
        advice="call model.eval() before you hand it over, and check that its clean accuracy is as expected",
        source=TRAMER,
    )


@rule(needs="images", order=40, passes=lambda e: (max(REPEATED + 3, 5) + 1) * len(e))
@torch.no_grad()
def check_function(e: Examination) -> Iterator[Finding]:
    """Does the model give one answer to one image: again, from the same random numbers, and alone?"""
    model, images, tolerance = e.model, e.images, e.thresholds.nondeterminism
    found = e.nature
    if found.kind == "stateful":
        yield _defence(
            "unreliable",
            f"the same images and random numbers give logits {found.apart:.2g} apart the second time: "
            "the model keeps state between calls",
            "reset its neurons before every forward: purespike.Resetting(model)",
        )
        return
    if found.kind == "stochastic":
        own = "" if found.seeded else ", by random numbers of its own that no seed repeats"
        yield _defence(
            "suspicious",
            f"other random numbers give logits {found.apart:.2g} apart: the model is stochastic{own}",
            "attack the expectation over its randomness, and judge over at least ten passes",
        )
        return
    first = _logits(model, images, 0)
    distance = apart(first[:4], torch.cat([_logits(model, image[None], 0) for image in images[:4]]))
    # batches of other sizes round differently; a spiking network may flip a spike for it
    if distance > max(0.02 * first.abs().max().item(), tolerance):
        yield _defence(
            "suspicious",
            f"an image alone and in a batch gives logits {distance:.2g} apart",
            "batch norm in training mode? the model must be a function of one image",
        )
        return
    yield _defence("reliable", "the model gives one answer to one image", "")


def in_training(model: nn.Module) -> list[str]:
    """Names of the modules whose result depends on the mode, and which are in training mode."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if isinstance(module, kinds) and module.training
    ]


def _logits(model: nn.Module, images: Tensor, seed: int) -> Tensor:
    with seeded(seed, device=images.device):
        return logits_of(model, images)


def _defence(level: Level, message: str, advice: str) -> Finding:
    return Finding(
        name="one image, one answer",
        group="defence",
        level=level,
        message=message,
        advice=advice,
        source=TRAMER,
    )
