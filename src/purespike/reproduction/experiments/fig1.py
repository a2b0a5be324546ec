"""Figure 1: Grad-CAM maps of clean, adversarial and purified images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from purespike.attacks import create_attack
from purespike.explain import grad_cam, similarity
from purespike.files import write_bytes
from purespike.models import Defended
from purespike.reporting.drawing import png
from purespike.reproduction.attribution_figure import Explained, ExplainedImage, grad_cam_figure
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.registry import experiment
from purespike.reproduction.scale import TITLES
from purespike.reproduction.sheet import Column, SheetCell

LIKE = Column("cosine of the maps", unit="")
SAME = Column("same class as clean, in %")
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@experiment("fig1", order=5, needs="captum", extra="explain")
def fig1(context: ExperimentContext) -> Draft:
    """Pictures, and the likeness of the maps to those of the clean images."""
    draft = Draft(
        "fig1",
        "Figure 1: Grad-CAM of clean, adversarial (PGD-7, L∞ eps 8/255) and purified images, CIFAR-10",
        [LIKE, SAME],
        kind="pictures",
        notes=[
            "Mean cosine of each image's map with that of its clean version, for the class predicted on it. "
            "The pictures show the paper's attacker, who does not know of the purifier (oblivious)."
        ],
    )
    found: dict[str, list[tuple[float, float, int]]] = {}
    with draft.unless_missing(TITLES["cifar10"], "Ours"):
        for seed in context.seeds:
            model = context.defended("cifar10", seed=seed)
            for name, value in _compare(context, model, seed).items():
                found.setdefault(name, []).append(value)
    for name, values in found.items():
        alike, same, (count, *_) = zip(*values, strict=True)
        cells = {LIKE: SheetCell.of(alike, n=count), SAME: SheetCell.of(same, n=count)}
        draft.measured(TITLES["cifar10"], name, cells)
    return draft


def _compare(context: ExperimentContext, model: Defended, seed: int) -> dict[str, tuple[float, float, int]]:
    """Mean likeness of the maps, share of unchanged predictions and number of images, by kind of image."""
    device = context.accelerator.device
    chosen = context.data("cifar10", seed).test.take(context.scale.images, seed=seed)
    images, labels = chosen.to_float().to(device), chosen.labels.to(device)
    attack = create_attack("pgd", eps="8/255", seed=seed)
    against_classifier = attack(model.classifier, images, labels).images
    end_to_end = attack(model, images, labels).images
    with torch.inference_mode():
        stages = {
            "clean": images,
            "adversarial, undefended": against_classifier,
            "purified, oblivious": model.purify(against_classifier),
            "purified, adaptive (own surrogate)": model.purify(end_to_end),
        }
    seen = {name: _seen(model, stage) for name, stage in stages.items()}
    if seed == context.seeds[0] and context.accelerator.is_main_process:
        _draw(context, _names(chosen.class_names), labels, stages, seen)
    maps, classes = seen["clean"]
    return {
        name: (
            similarity(maps, other).mean().item(),
            (classes == predicted).float().mean().item(),
            len(images),
        )
        for name, (other, predicted) in seen.items()
        if name != "clean"
    }


def _seen(model: Defended, images: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of the predicted classes, and these classes."""
    with torch.no_grad():
        classes = model.classifier(images).argmax(1)
    return grad_cam(model.classifier, images.clone(), classes), classes


def _names(known: Sequence[str]) -> list[str]:
    """Names of the classes; arrays come without them."""
    numbered = list(known) == [str(number) for number in range(len(NAMES))]
    return list(NAMES if numbered else known)


def _draw(
    context: ExperimentContext,
    names: list[str],
    labels: Tensor,
    stages: dict[str, Tensor],
    seen: dict[str, tuple[Tensor, Tensor]],
) -> None:
    def explained(stage: str, place: int) -> ExplainedImage:
        maps, classes = seen[stage]
        return ExplainedImage(
            image=stages[stage][place].cpu().numpy(),
            attribution=maps[place].cpu().numpy(),
            prediction=names[int(classes[place])],
        )

    # images that the attack broke come first
    right, broken = seen["clean"][1] == labels, seen["adversarial, undefended"][1] != labels
    order = (~(right & broken)).int().argsort(stable=True)[: context.scale.shown].tolist()
    rows = [
        Explained(
            label=names[int(labels[place])],
            clean=explained("clean", place),
            adversarial=explained("adversarial, undefended", place),
            purified=explained("purified, oblivious", place),
        )
        for place in order
    ]
    write_bytes(context.folder / "fig1" / "figure.png", png(grad_cam_figure(rows)))
