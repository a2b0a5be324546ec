"""Inputs of an evaluation: images with labels, and a model that fits them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from purespike.checks import as_float, as_tensor, check_images, check_labels
from purespike.data import ImageSet
from purespike.data.sampling import stratified_indices
from purespike.errors import InputError
from purespike.evaluation.plan import parse_budgets
from purespike.evaluation.threat import classifier_of
from purespike.models import Defended, fit
from purespike.models.answer import logits_of
from purespike.models.checkpoint import part_config
from purespike.models.draws import votes
from purespike.models.state import Held
from purespike.results import DataDescription, Evaluation, ModelDescription, PartDescription
from purespike.results.beside import check_alike
from purespike.seeding import seeded, states
from purespike.settings import EvaluationSettings

Pair = tuple[Tensor, Tensor]
# answers by which a state and a generator are told apart
REPEATED = 4
# further seeds of a model that draws, but gave the same answers under two
HIDDEN = 14


def read_images(
    data: ImageSet | Pair, *, limit: int | None, seed: int
) -> tuple[Tensor, Tensor, DataDescription]:
    """Images, labels and a description of them, at most ``limit``: a stratified subset.

    A class that the full data have and the subset lacks is in the description.

    Raises:
        InputError: images that are not ``[N, C, H, W]`` floats in [0, 1], or labels
            that are not class indices, one per image.
    """
    if isinstance(data, ImageSet):
        everything, data = data.labels, data.take(limit, seed=seed)
        source, _, split = data.name.rpartition("/")
        fingerprint = data.fingerprint()
        described = DataDescription(
            source=source,
            split=split,
            n=len(data),
            fingerprint=fingerprint,
            **_missing(everything, data.labels),
        )
        return data.images, data.labels, described
    # what the caller wants to differentiate is not what is measured here
    images, labels = map(as_tensor, data)
    images = images.detach() if isinstance(images, Tensor) and images.requires_grad else images
    check_images(images)
    labels = check_labels(labels, count=len(images))
    everything = labels
    if limit is not None and limit < len(labels):
        rows = stratified_indices(labels, limit, seed=seed)
        images, labels = images[rows.to(images.device)], labels[rows.to(labels.device)]
    # NumPy knows no bfloat16
    pixels = images.float() if images.dtype == torch.bfloat16 else images
    digest = hashlib.sha256(pixels.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes()).hexdigest()
    missing = _missing(everything, labels)
    described = DataDescription(source="tensors", split="given", n=len(labels), fingerprint=digest, **missing)
    return images, labels, described


def check_beside(
    beside: Mapping[str, Evaluation],
    data: ImageSet | Pair,
    settings: EvaluationSettings,
    *,
    seed: int,
) -> None:
    """Check before an evaluation that others are of the same images at its first budget.

    Args:
        beside: other evaluations by name.
        data: images that will be attacked, labelled for the model.
        settings: settings of the evaluation.
        seed: seed of the evaluation.

    Raises:
        InputError: other images, or another budget.
    """
    _, labels, description = read_images(data, limit=settings.images, seed=seed)
    eps = parse_budgets(settings.eps, settings.norm)[0]
    for name, other in beside.items():
        check_alike(name, other, data=description, labels=labels.tolist(), norm=settings.norm, eps=eps)


def _missing(everything: Tensor, labels: Tensor) -> dict[str, tuple[int, ...]]:
    """The field of a description that names the classes which a subset lacks, if there are any."""
    lacking = sorted(set(everything.tolist()) - set(labels.tolist()))
    return {"missing_classes": tuple(lacking)} if lacking else {}


def check_fit(
    model: nn.Module, images: Tensor, labels: Tensor, device: torch.device, *, name: str = "the model"
) -> int:
    """Number of classes of the model, called ``name`` in messages, tried on images before hours of attacks.

    Raises:
        InputError: no images, or as :func:`purespike.models.fit.check_fit` raises.
    """
    if not len(images):
        raise InputError("evaluate: no images")
    return fit.check_fit(model, as_float(images[:2].to(device)), labels, name=name)


@torch.no_grad()
def is_stochastic(model: nn.Module, images: Tensor, tolerance: float) -> bool:
    """Whether the logits depend on random numbers; see :func:`nature`."""
    return nature(model, images, tolerance).kind == "stochastic"


class Nature(NamedTuple):
    """How the answers of a model to the same images differ.

    Args:
        kind: ``"deterministic"``; ``"stochastic"``, drawn anew; or ``"stateful"``, decided by earlier calls.
        apart: largest difference of two logits.
        seeded: whether the global generators decide the draws; ``False`` for a generator of the model's own.
    """

    kind: Literal["deterministic", "stochastic", "stateful"]
    apart: float
    seeded: bool = True


@torch.no_grad()
def nature(model: nn.Module, images: Tensor, tolerance: float) -> Nature:
    """Whether ``model`` gives the same images the same logits, up to ``tolerance``, and if not, why.

    A vote over several passes gives most images the same logits under most seeds. So more seeds are tried of
    a model that draws random numbers, and one with a purifier of ours that votes is stochastic anyway.

    Answers that differ under the same seed come from an earlier call, or from a generator that the seed does
    not reach. Which one shows when everything that the model holds is put back before the call: a state then
    gives the same answer again, a generator does not.

    Args:
        model: images to logits.
        images: ``[N, C, H, W]``, at least one.
        tolerance: difference of logits that counts as none.
    """
    held, draws = Held(model), False

    def logits(seed: int) -> Tensor:
        nonlocal draws
        with seeded("draws", seed, device=images.device):
            before = states(images.device)
            found = logits_of(model, images)
            draws = draws or states(images.device) != before
            return found

    first = logits(0)
    # on the same images over and over, a state may come to rest and hide
    with seeded("draws", 0, device=images.device):
        logits_of(model, 1 - images)
    distance = apart(first, logits(0))
    if distance > tolerance:
        again = []
        for _ in range(REPEATED):
            held.put_back()
            again.append(logits(0))
        drawn = max(apart(again[0], each) for each in again[1:])
        if drawn > tolerance:
            return Nature("stochastic", drawn, seeded=False)
        return Nature("stateful", distance)
    distance = apart(first, logits(1))
    for seed in range(2, 2 + HIDDEN if draws else 0):
        if distance > tolerance:
            break
        distance = max(distance, apart(first, logits(seed)))
    decided = distance > tolerance or (draws and votes(model))
    return Nature("stochastic" if decided else "deterministic", distance)


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference of two logits."""
    return (a - b).abs().max().item()


def describe_model(model: nn.Module) -> ModelDescription:
    """Architecture, settings and parameter count of classifier and purifier."""
    purifier = _describe(model.purifier) if isinstance(model, Defended) else None
    if purifier is not None and (gate := getattr(model, "gate", None)):
        # the same parts without their gate are another model
        gated = {"architecture": f"gated {purifier.architecture}", "gate": gate}
        purifier = PartDescription(**{**purifier.to_json(), **gated})
    return ModelDescription(classifier=_describe(classifier_of(model)), purifier=purifier)


def _describe(part: nn.Module) -> PartDescription:
    parameters = sum(parameter.numel() for parameter in part.parameters())
    settings = json.loads(json.dumps(part_config(part), default=str))
    return PartDescription(**settings, parameters=parameters)
