"""Figure 1: where the classifier looks, on clean, adversarial and purified images (Grad-CAM)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from purespike.attacks import create_attack
from purespike.explain import grad_cam, similarity
from purespike.files import write_bytes
from purespike.models import Defended
from purespike.reporting.attribution import Explained, Row, grad_cam_figure
from purespike.reporting.drawing import png
from purespike.reproduction.sheet import Cell, Column, Sheet
from purespike.reproduction.workshop import TITLES, Unavailable, Workshop

LIKE = Column("cosine of the maps", unit="")
SAME = Column("same class as clean, in %")
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def fig1(workshop: Workshop) -> Sheet:
    """Pictures, and how alike the maps are to those of the clean images."""
    sheet = Sheet(
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
    try:
        for seed in workshop.seeds:
            model = workshop.defended("cifar10", seed=seed)
            for name, value in _compare(workshop, model, seed).items():
                found.setdefault(name, []).append(value)
    except Unavailable as error:
        sheet.missing(TITLES["cifar10"], "Ours", str(error))
    for name, values in found.items():
        alike, same, counts = zip(*values, strict=True)
        cells = {LIKE.key: Cell(alike, n=counts[0]), SAME.key: Cell(same, n=counts[0])}
        sheet.add(TITLES["cifar10"], name, cells)
    return sheet


def _compare(workshop: Workshop, model: Defended, seed: int) -> dict[str, tuple[float, float, int]]:
    """Per kind of image the mean likeness of its maps and the share of unchanged predictions."""
    device = workshop.accelerator.device
    chosen = workshop.data("cifar10", seed).test.take(workshop.scale.images, seed=seed)
    images, labels = chosen.to_float().to(device), chosen.labels.to(device)
    attack = create_attack("pgd", eps="8/255", seed=seed)
    alone = attack(model.classifier, images, labels).images
    whole = attack(model, images, labels).images
    with torch.inference_mode():
        stages = {
            "clean": images,
            "adversarial, undefended": alone,
            "purified, oblivious": model.purify(alone),
            "purified, adaptive (own surrogate)": model.purify(whole),
        }
    seen = {name: _seen(model, stage) for name, stage in stages.items()}
    if seed == workshop.seeds[0] and workshop.accelerator.is_main_process:
        _draw(workshop, _names(chosen.class_names), labels, stages, seen)
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
    """Maps of what the classifier predicts, and what that is."""
    with torch.no_grad():
        classes = model.classifier(images).argmax(1)
    return grad_cam(model.classifier, images.clone(), classes), classes


def _names(known: Sequence[str]) -> list[str]:
    """Arrays come without names; those of CIFAR-10 are known."""
    numbered = list(known) == [str(number) for number in range(len(NAMES))]
    return list(NAMES if numbered else known)


def _draw(
    workshop: Workshop,
    names: list[str],
    labels: Tensor,
    stages: dict[str, Tensor],
    seen: dict[str, tuple[Tensor, Tensor]],
) -> None:
    def explained(stage: str, place: int) -> Any:
        maps, classes = seen[stage]
        return Explained(
            image=stages[stage][place].cpu().numpy(),
            attribution=maps[place].cpu().numpy(),
            prediction=names[int(classes[place])],
        )

    # those that the attack broke show what there is to see
    right, broken = seen["clean"][1] == labels, seen["adversarial, undefended"][1] != labels
    order = (~(right & broken)).int().argsort(stable=True)[: workshop.scale.shown].tolist()
    rows = [
        Row(
            label=names[int(labels[place])],
            clean=explained("clean", place),
            adversarial=explained("adversarial, undefended", place),
            purified=explained("purified, oblivious", place),
        )
        for place in order
    ]
    write_bytes(workshop.folder / "fig1" / "figure.png", png(grad_cam_figure(rows)))
