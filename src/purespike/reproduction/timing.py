"""Figure 4: the time it takes to train the purifier, against adversarial training of its classifier."""

import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from purespike.attacks import create_attack
from purespike.data import Data
from purespike.files import write_json
from purespike.recipe import Recipe
from purespike.reproduction import paper
from purespike.reproduction.scale import changed
from purespike.reproduction.sheet import Cell, Column, Sheet
from purespike.reproduction.workshop import TITLES, Unavailable, Workshop
from purespike.training import train_classifier, train_purifier
from purespike.training.examples import craft

CRAFT, EPOCH, EPOCHS, TOTAL, RATIO = (
    Column("crafting", unit="s"),
    Column("an epoch", unit="s"),
    Column("epochs", unit="count"),
    Column("to the end", unit="h"),
    Column("over ours", unit="×"),
)
PGD_AT = {"name": "pgd", "steps": 7, "step_size": "2/255", "eps": "8/255"}


def fig4(workshop: Workshop) -> Sheet:
    """Seconds of both trainings, alternating in one process; median of several epochs."""
    scale = workshop.scale
    sheet = Sheet(
        "fig4",
        "Figure 4: training time of the purifier against adversarial training (PGD-7) of the same classifier",
        [CRAFT, EPOCH, EPOCHS, TOTAL, RATIO],
        kind="bars",
        notes=[
            f"Timed on {scale.timed_images} images, alternating, median of {scale.repeats} epochs, and "
            "scaled to the recipe's training images and epochs. Our FGSM images are crafted once, since a "
            "frozen classifier always yields the same.",
            "Times depend on the machine; the ratio is what carries over.",
        ],
    )
    for dataset in ("cifar10", "cifar100", "svhn"):
        try:
            times = _kept(workshop, dataset)
        except Unavailable as error:
            sheet.missing(TITLES[dataset], "Ours", str(error))
        else:
            ours, adversarial = times["ours"], times["adversarial"]
            for method, row in {"Ours": ours, "PGD-7 training": adversarial}.items():
                cells = {
                    CRAFT.key: Cell((row["crafting"],)),
                    EPOCH.key: Cell((row["epoch"],)),
                    EPOCHS.key: Cell((row["epochs"],)),
                    TOTAL.key: Cell((row["total"] / 3600,)),
                    RATIO.key: Cell((row["total"] / ours["total"],)),
                }
                sheet.add(TITLES[dataset], method, cells)
        sheet.printed(TITLES[dataset], "PGD-7 training, paper", {RATIO.key: paper.FIGURE4[dataset]})
    return sheet


def _kept(workshop: Workshop, dataset: str) -> dict[str, dict[str, float]]:
    """The times, measured once; they are kept beside the other finished pieces."""
    path = workshop.folder / "checkpoint" / f"times-{dataset}.json"
    recipe, data = workshop.recipe(dataset), workshop.data(dataset)
    settings: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "images": workshop.scale.timed_images,
        "repeats": workshop.scale.repeats,
    }
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["settings"] == settings:
            return kept["times"]
    times = _measure(workshop, dataset, recipe, data)
    if workshop.accelerator.is_main_process:
        write_json(path, {"settings": settings, "times": times})
    return times


def _measure(workshop: Workshop, dataset: str, recipe: Recipe, data: Data) -> dict[str, dict[str, float]]:
    accelerator = workshop.accelerator
    classifier = workshop.classifier(dataset)
    few = Data(data.source, data.train.take(workshop.scale.timed_images, seed=0), data.test.take(1, seed=0))
    values = recipe.model_dump(mode="json")
    once = {"classifier": {"epochs": 1, "objective": PGD_AT}, "purifier": {"epochs": 1}}
    short = Recipe.model_validate(changed(values, once))
    attack = create_attack(**recipe.purifier.attack)
    seconds: dict[str, list[float]] = {"crafting": [], "purifier": [], "classifier": []}
    # one folder, since several processes share what they craft and write
    folder = workshop.folder / "checkpoint" / "timing"
    # the first round compiles, and is not counted
    for repeat in range(workshop.scale.repeats + 1):
        _empty(folder, accelerator)
        begun = time.monotonic()
        craft(
            classifier,
            few.train,
            attack,
            folder=folder / "checkpoint" / "adversarial",
            seed=0,
            batch_size=recipe.purifier.batch_size,
            accelerator=accelerator,
        )
        crafting = time.monotonic() - begun
        given = {"folder": folder, "seed": 0, "accelerator": accelerator}
        train_purifier(short.purifier, classifier, few.train, **given)
        train_classifier(short.classifier, few, **given)
        accelerator.wait_for_everyone()
        if repeat:
            lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
            seconds["crafting"].append(crafting)
            for stage in ("purifier", "classifier"):
                found = [row["seconds"] for row in rows if row["stage"] == stage and row["epoch"] == 1]
                seconds[stage] += found
    _empty(folder, accelerator)
    share = len(data.train) / len(few.train)
    medians = {name: share * statistics.median(values) for name, values in seconds.items()}
    ours = {"crafting": medians["crafting"], "epoch": medians["purifier"], "epochs": recipe.purifier.epochs}
    other = {"crafting": 0.0, "epoch": medians["classifier"], "epochs": recipe.classifier.epochs}
    for row in (ours, other):
        row["total"] = row["crafting"] + row["epoch"] * row["epochs"]
    return {"ours": ours, "adversarial": other}


def _empty(folder: Path, accelerator: Accelerator) -> None:
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    accelerator.wait_for_everyone()
