"""Training of a spiking classifier: SGD, step decay, random crop and flip (paper, section 5.1).

What a step minimises, on clean or on adversarial images, is in :mod:`purespike.training.objectives`.
"""

import copy
import time
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional

from purespike.data import Data, augment
from purespike.losses import OnlineLabelSmoothing
from purespike.models import SpikingClassifier, create
from purespike.models.predict import as_float, predict
from purespike.neurons import firing_rates
from purespike.progress import bar
from purespike.recipe import ClassifierRecipe
from purespike.seeding import derive
from purespike.training.batches import batches
from purespike.training.objectives import create_objective
from purespike.training.state import TrainingState

# images that watch the training: enough to see a trend, few enough not to cost an epoch
WATCHED = 1000


def train_classifier(
    recipe: ClassifierRecipe, data: Data, *, folder: Path, seed: int, accelerator: Accelerator
) -> SpikingClassifier:
    """Train the classifier of ``recipe``, or go on from the last epoch that ``folder`` holds.

    Args:
        recipe: architecture, schedule and objective.
        data: its training split trains, up to 1,000 images of its test split watch.
        folder: run folder; state goes to ``checkpoint/``, one row per epoch to ``history.jsonl``.
        seed: decides initialisation, order, augmentation and adversaries.
        accelerator: see :func:`purespike.training.engine.accelerator`.

    Returns:
        The trained classifier in evaluation mode, with its ``class_names``.

    Raises:
        InputError: a setting out of range, or a checkpoint that does not fit.
    """
    classifier = build_classifier(recipe, data, seed=seed)
    optimiser = torch.optim.SGD(
        classifier.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    model, stepper = accelerator.prepare(classifier, optimiser)
    smoothing = None
    if recipe.smoothing == "ols":
        smoothing = OnlineLabelSmoothing(data.train.num_classes).to(accelerator.device)
    objective = create_objective(recipe.adversarial, criterion=smoothing or functional.cross_entropy)
    state = TrainingState(folder, "classifier", classifier, optimiser, criterion=smoothing)
    done = state.restore()

    images = data.train.images.to(accelerator.device)
    labels = data.train.labels.to(accelerator.device)
    watched = data.test.take(WATCHED, seed=seed)
    sample = as_float(images[:64])
    if done == 0 and accelerator.is_main_process:
        # batch norms have no statistics yet: let a copy fire on those of the batch
        rates = firing_rates(copy.deepcopy(classifier), sample, training=True)
        state.save(0, {"firing_rates": rates})

    total = recipe.epochs * len(images)
    with bar("classifier", total, done=done * len(images), show=accelerator.is_main_process) as progress:
        for epoch in range(done + 1, recipe.epochs + 1):
            begun = time.monotonic()
            passed = sum(epoch > milestone for milestone in recipe.milestones)
            rate = recipe.learning_rate * recipe.decay_factor**passed
            for group in optimiser.param_groups:
                group["lr"] = rate
            model.train()
            loss_sum = torch.zeros((), device=accelerator.device)
            right: dict[str, Tensor] = {}
            seen = passes = 0
            for number, (rows, augmentation) in enumerate(
                batches(len(images), recipe, seed=seed, epoch=epoch, accelerator=accelerator)
            ):
                rows = rows.to(images.device)
                shown = as_float(augment(images[rows], augmentation))
                draws = derive(seed, "adversary", epoch, number, accelerator.process_index)
                step = objective(model, shown, labels[rows], seed=draws)
                stepper.zero_grad()
                accelerator.backward(step.loss)
                stepper.step()
                loss_sum += step.loss.detach() * len(rows)
                right = {name: right.get(name, 0) + count for name, count in step.right.items()}
                seen += len(rows)
                passes += step.passes * len(rows)
                images_done = len(rows) * accelerator.num_processes
                progress.advance(images_done, "epoch {} loss {:.3f}", epoch, loss_sum / seen)
            if smoothing is not None:
                smoothing.renew(partial(accelerator.reduce, reduction="sum"))
            # fetching the loss waits for a GPU, whose work belongs to the time
            loss = loss_sum.item() / seen
            seconds = time.monotonic() - begun
            if accelerator.is_main_process:
                with accelerator.autocast():
                    correct = predict(classifier, watched.images) == watched.labels
                row = {
                    "loss": loss,
                    **{name: count.item() / seen for name, count in right.items()},
                    "test_accuracy": correct.float().mean().item(),
                    "learning_rate": rate,
                    "seconds": seconds,
                    "images_per_second": seen * accelerator.num_processes / seconds,
                    "passes": passes * accelerator.num_processes,
                }
                if epoch == recipe.epochs:
                    row["firing_rates"] = firing_rates(classifier, sample)
                state.save(epoch, row)
                trained = ", ".join(f"training {name.replace('_', ' ')} {row[name]:.1%}" for name in right)
                progress.say(
                    f"classifier epoch {epoch}/{recipe.epochs}: loss {loss:.3f}, {trained}, "
                    f"test accuracy {row['test_accuracy']:.1%} "
                    f"({len(watched)} clean images), {row['images_per_second']:.0f} images/s"
                )
            accelerator.wait_for_everyone()
    return classifier.eval()


def build_classifier(recipe: ClassifierRecipe, data: Data, *, seed: int) -> SpikingClassifier:
    """The untrained classifier of ``recipe`` for ``data``, with weights drawn from ``seed``.

    Raises:
        InputError: unknown architecture, or a setting out of range.
    """
    mean, std = data.train.channel_statistics()
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
        )
    classifier.class_names = tuple(data.train.class_names)  # type: ignore[assignment]
    return classifier
