"""Times of two trainings, of the purifier and of its classifier against PGD, measured once and kept."""

import shutil
import statistics
import time
from pathlib import Path
from typing import Any, ClassVar

from accelerate import Accelerator

from purespike.attacks import create_attack
from purespike.data import Data
from purespike.recipe import Recipe
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.scale import changed
from purespike.results import Record
from purespike.results.record import Count, Number
from purespike.training import train_classifier, train_purifier
from purespike.training.examples import craft
from purespike.training.state import read_history

PGD_AT = {"name": "pgd", "steps": 7, "step_size": "2/255", "eps": "8/255"}


class TrainingTime(Record):
    """Seconds of one training.

    Args:
        crafting: seconds of crafting the adversarial images beforehand.
        epoch: seconds of an epoch.
        epochs: number of epochs.
        total: seconds of the whole training.
    """

    crafting: Number
    epoch: Number
    epochs: Count
    total: Number

    @classmethod
    def of(cls, crafting: float, epoch: float, epochs: int) -> "TrainingTime":
        """The time of ``epochs`` epochs after ``crafting``."""
        return cls(crafting=crafting, epoch=epoch, epochs=epochs, total=crafting + epoch * epochs)


class Times(Record):
    """The time of our training and of adversarial training."""

    ours: TrainingTime
    adversarial: TrainingTime


class KeptTimes(Record):
    """Times with the settings that they were measured with: the content of ``times-DATASET.json``."""

    if_unreadable: ClassVar[str] = "delete it to measure again"

    settings: dict[str, Any]
    times: Times


class EpochTime(Record):
    """One row of ``history.jsonl``; that of the state before training has no time."""

    stage: str
    epoch: Count
    seconds: Number | None = None


def training_times(context: ExperimentContext, dataset: str) -> Times:
    """The times of a data set, read back if the same settings were timed before."""
    path = context.folder / "checkpoint" / f"times-{dataset}.json"
    recipe, data = context.recipe(dataset), context.data(dataset)
    settings: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "images": context.scale.timed_images,
        "repeats": context.scale.repeats,
    }
    if path.exists():
        kept = KeptTimes.read(path)
        if kept.settings == settings:
            return kept.times
    times = _measure(context, dataset, recipe, data)
    if context.accelerator.is_main_process:
        KeptTimes(settings=settings, times=times).save(path)
    return times


def _measure(context: ExperimentContext, dataset: str, recipe: Recipe, data: Data) -> Times:
    accelerator = context.accelerator
    classifier = context.classifier(dataset)
    few = Data(data.source, data.train.take(context.scale.timed_images, seed=0), data.test.take(1, seed=0))
    once = {"classifier": {"epochs": 1, "objective": PGD_AT}, "purifier": {"epochs": 1}}
    short = Recipe.model_validate(changed(recipe.model_dump(mode="json"), once))
    attack = create_attack(**recipe.purifier.attack)
    seconds: dict[str, list[float]] = {"crafting": [], "purifier": [], "classifier": []}
    # one folder, since several processes share what they craft and write
    folder = context.folder / "checkpoint" / "timing"
    # the first round compiles, and is not counted
    for repeat in range(context.scale.repeats + 1):
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
        given: dict[str, Any] = {"folder": folder, "seed": 0, "accelerator": accelerator}
        train_purifier(short.purifier, classifier, few.train, **given)
        train_classifier(short.classifier, few, **given)
        accelerator.wait_for_everyone()
        if repeat:
            path = folder / "history.jsonl"
            seconds["crafting"].append(crafting)
            for row in (EpochTime.from_json(row, source=str(path)) for row in read_history(path)):
                if row.epoch == 1 and row.seconds is not None:
                    seconds[row.stage].append(row.seconds)
    _empty(folder, accelerator)
    share = len(data.train) / len(few.train)
    medians = {name: share * statistics.median(values) for name, values in seconds.items()}
    return Times(
        ours=TrainingTime.of(medians["crafting"], medians["purifier"], recipe.purifier.epochs),
        adversarial=TrainingTime.of(0.0, medians["classifier"], recipe.classifier.epochs),
    )


def _empty(folder: Path, accelerator: Accelerator) -> None:
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    accelerator.wait_for_everyone()
