"""Training of a spiking classifier, by default with SGD and step decay (paper, section 5.1).

The loss, on clean or on adversarial images, is one of :mod:`purespike.training.objectives`.
"""

import copy
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.nn import functional

from purespike.data import Data, augment
from purespike.losses import OnlineLabelSmoothing
from purespike.models import SpikingClassifier, create
from purespike.models.layers import NeuronConfig
from purespike.models.predict import as_float, predict
from purespike.neurons import firing_rates
from purespike.recipe import ClassifierRecipe
from purespike.seeding import derive, seeded
from purespike.training.averaging import averaged, keep_average
from purespike.training.batches import batch_count, batches
from purespike.training.clock import Clock
from purespike.training.estimate import say_estimate
from purespike.training.objectives import Batch, Stage, create_objective
from purespike.training.optimiser import create_optimiser, set_learning_rate
from purespike.training.origin import origin_of
from purespike.training.state import History, TrainingState
from purespike.training.step import Tally, check_epoch, take_steps

# test images that are predicted after each epoch: enough to see a trend, few enough not to cost an epoch
WATCHED = 1000


def train_classifier(
    recipe: ClassifierRecipe,
    data: Data,
    *,
    folder: Path,
    seed: int,
    accelerator: Accelerator,
    follow: Callable[[History], None] | None = None,
) -> SpikingClassifier:
    """Train the classifier of ``recipe``, or go on from the last epoch that ``folder`` holds.

    Args:
        recipe: architecture, optimiser, schedule and objective.
        data: its training split trains; up to 1,000 images of its test split are predicted after each epoch.
        folder: run folder; state goes to ``checkpoint/``, one row per epoch to ``history.jsonl``.
        seed: seed of initialisation, order, augmentation, adversaries and everything drawn in a step.
        accelerator: see :func:`purespike.training.engine.accelerator`.
        follow: function that is told the rows of ``history.jsonl`` whenever they are written.

    Returns:
        The trained classifier in evaluation mode, with its ``class_names``.

    Raises:
        InputError: a setting out of range, or a checkpoint that does not fit.
    """
    objective = create_objective(recipe.objective, stage="classifier")
    classifier = build_classifier(recipe, data, seed=seed)
    optimiser = create_optimiser(recipe.optimiser, classifier, recipe.learning_rate)
    model, stepper = accelerator.prepare(classifier, optimiser)
    device, speaks = accelerator.device, accelerator.is_main_process
    smoothing = OnlineLabelSmoothing(data.train.num_classes).to(device) if recipe.smoothing == "ols" else None
    average = averaged(classifier, recipe)
    state = TrainingState(
        folder,
        "classifier",
        classifier,
        optimiser,
        criterion=smoothing,
        average=average,
        objective=objective,
        origin=origin_of("classifier", recipe, data.train, seed=seed),
        follow=follow,
    )
    done = state.restore()
    stage = Stage(
        *("classifier", classifier, data.train, recipe, folder, seed, accelerator),
        average=average,
        test=data.test,
    )
    objective.begin(stage, state.kept)

    images, labels = data.train.images.to(device), data.train.labels.to(device)
    watched = data.test.take(WATCHED, seed=seed)
    kept = classifier if average is None else average.module
    sample = as_float(images[:64])
    if done == 0 and speaks:
        with seeded(seed, "classifier", "watch", 0, device=device):
            # batch norms have no statistics yet: let a copy fire on those of the batch
            state.save(0, {"firing_rates": firing_rates(copy.deepcopy(classifier), sample, training=True)})

    count, steps = len(images), batch_count(len(images), recipe)
    clock = Clock(recipe, steps, accelerator, spent=state.seconds())
    with clock.bar("classifier", count, done=done, show=speaks) as progress:
        if not clock.finished(done) and speaks:
            what = (
                f"classifier: {recipe.architecture}, width {recipe.width:g}, {recipe.time_steps} time steps"
            )
            say_estimate(progress, what, classifier, sample, recipe, count)
        for epoch in clock.epochs(done):
            begun, tally = time.monotonic(), Tally()
            model.train()
            drawn = batches(count, recipe, seed=seed, epoch=epoch, accelerator=accelerator)
            for number, (rows, augmentation) in enumerate(drawn):
                rows = rows.to(device)
                set_learning_rate(optimiser, clock.at(epoch, number))
                batch = Batch(
                    model,
                    as_float(augment(images[rows], augmentation)),
                    labels[rows],
                    recipe=recipe,
                    epoch=epoch,
                    step=(epoch - 1) * steps + number,
                    progress=clock.progress,
                    seed=derive(seed, "adversary", epoch, number, accelerator.process_index),
                    criterion=smoothing or functional.cross_entropy,
                )
                take_steps(objective, batch, stepper, stage, number=number, tally=tally)
                clock.advance(
                    progress, "classifier", len(rows), count, "epoch {} loss {:.3f}", epoch, tally.loss()
                )
                if clock.over:
                    break
            if smoothing is not None:
                smoothing.renew(partial(accelerator.reduce, reduction="sum"))
            # fetching the loss waits for a GPU, whose work belongs to the time
            check_epoch(stage, tally, epoch)
            losses, shares = tally.losses(), tally.shares()
            seconds = time.monotonic() - begun
            if speaks:
                with seeded(seed, "classifier", "watch", epoch, device=device):
                    with accelerator.autocast():
                        correct = predict(kept, watched.images) == watched.labels
                    firing = firing_rates(kept, sample) if clock.finished(epoch) else None
                row = {
                    **losses,
                    **shares,
                    "test_accuracy": correct.float().mean().item(),
                    "learning_rate": clock.rate,
                    "seconds": seconds,
                    "images_per_second": tally.seen * accelerator.num_processes / seconds,
                    "passes": tally.passes * accelerator.num_processes,
                }
                if firing is not None:
                    row["firing_rates"] = firing
                state.save(epoch, row)
                progress.say(f"classifier {clock.named(epoch)}: {_summary(row, shares, len(watched))}")
            accelerator.wait_for_everyone()
    keep_average(average, classifier)
    objective.finish(stage)
    return classifier.eval()


def _summary(row: dict[str, Any], shares: Iterable[str], watched: int) -> str:
    trained = ", ".join(f"training {name.replace('_', ' ')} {row[name]:.1%}" for name in shares)
    return (
        f"loss {row['loss']:.3f}, {trained}, test accuracy {row['test_accuracy']:.1%} "
        f"({watched} clean images), {row['images_per_second']:.0f} images/s"
    )


def build_classifier(recipe: ClassifierRecipe, data: Data, *, seed: int) -> SpikingClassifier:
    """The untrained classifier of ``recipe`` for ``data``, with weights drawn from ``seed``.

    Raises:
        InputError: unknown architecture, or a setting out of range.
    """
    mean, std = data.train.channel_statistics()
    sized = NeuronConfig(**recipe.neurons()).sized
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "classifier"))
        classifier = create(
            recipe.architecture,
            num_classes=data.train.num_classes,
            in_channels=data.train.channels,
            width=recipe.width,
            **recipe.neurons(),
            mean=list(mean),
            std=list(std),
            **({} if recipe.coding == "direct" else {"coding": recipe.coding}),
            **({"image_size": list(data.train.images.shape[2:])} if sized else {}),
        )
    classifier.class_names = tuple(data.train.class_names)  # type: ignore[assignment]
    return classifier
