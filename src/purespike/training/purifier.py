"""Training of the purifier against a frozen classifier; by default as the paper's Algorithm 1.

The loss is one of :mod:`purespike.training.objectives`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from purespike.attacks import create_attack
from purespike.attacks.objective import frozen_eval
from purespike.console import warn
from purespike.data import ImageSet, augment
from purespike.errors import InputError
from purespike.models import Defended, Purifier, load
from purespike.models.guard import check_values
from purespike.models.predict import as_float, predict
from purespike.models.released import Released, opened
from purespike.neurons import firing_rates
from purespike.reading import brief
from purespike.recipe import PurifierRecipe
from purespike.seeding import derive, seeded
from purespike.training.averaging import Averaged, averaged, keep_average
from purespike.training.batches import batch_count, batches
from purespike.training.clock import Clock
from purespike.training.estimate import say_estimate
from purespike.training.examples import craft
from purespike.training.objectives import Batch, Composition, Stage, create_objective
from purespike.training.optimiser import create_optimiser, set_learning_rate
from purespike.training.origin import check_origin, origin_of
from purespike.training.state import History, TrainingState
from purespike.training.step import Tally, check_epoch, take_steps

# images that show whether the classes are lost, and the share that must keep theirs
WATCHED = 256
LOST = 0.5


def train_purifier(
    recipe: PurifierRecipe,
    classifier: nn.Module,
    data: ImageSet,
    *,
    folder: Path,
    seed: int,
    accelerator: Accelerator,
    follow: Callable[[History], None] | None = None,
) -> Purifier:
    """Train the purifier of ``recipe``, or go on from the last epoch that ``folder`` holds.

    The examples are crafted once against ``classifier``, which is not changed unless the recipe says
    ``release``; each step moves an example and its clean image by the same random crop and flip. The
    recipe's ``clean_share`` of each batch is shown without an attack. An objective that attacks the defended
    model itself gets clean images alone.

    Args:
        recipe: attack, network, optimiser, schedule and objective.
        classifier: images to logits; any module.
        data: training images.
        folder: run folder; state goes to ``checkpoint/``, one row per epoch to ``history.jsonl``, what is
            released to ``released.safetensors``.
        seed: seed of attack, initialisation, order, augmentation and everything drawn in a step.
        accelerator: see :func:`purespike.training.engine.accelerator`.
        follow: function that is told the rows of ``history.jsonl`` whenever they are written.

    Returns:
        The trained purifier in evaluation mode. Parameters of ``classifier`` that the recipe releases are
        changed in place.

    Raises:
        InputError: a setting out of range, a checkpoint that does not fit, or a classifier that fails.
    """
    check_values(classifier, "the classifier")
    objective = create_objective(recipe.objective, stage="purifier")
    origin = origin_of("purifier", recipe, data, seed=seed, classifier=classifier)
    # before the examples, which take their time
    check_origin(folder / "checkpoint" / "purifier.safetensors", origin)
    released = release(recipe, classifier, objective, accelerator)
    data, held_out = keep_from(data, objective.objective.held_out, seed=seed)
    attacked = data.images
    if objective.objective.crafted:
        attacked = craft(
            classifier,
            data,
            create_attack(**recipe.attack),
            folder=folder / "checkpoint" / "adversarial",
            seed=seed,
            batch_size=recipe.batch_size,
            accelerator=accelerator,
        )
    sample = as_float(attacked[:64])
    purifier = build_purifier(recipe, data, sample, seed=seed)
    stage = Stage(
        *("purifier", purifier, data, recipe, folder, seed, accelerator, classifier, held_out),
        released=released,
    )
    optimiser = create_optimiser(recipe.optimiser, stage.trained, recipe.learning_rate)
    model, stepper = accelerator.prepare(purifier, optimiser)
    device, speaks = accelerator.device, accelerator.is_main_process
    average = averaged(stage.trained, recipe)
    stage = replace(stage, average=average)
    state = TrainingState(
        *(folder, "purifier", stage.trained, optimiser),
        average=average,
        objective=objective,
        origin=origin,
        follow=follow,
    )
    done = state.restore()

    images, attacked_images, labels = (part.to(device) for part in (data.images, attacked, data.labels))
    sample = sample.to(device)
    defended = Defended(purifier, classifier)
    count, steps = len(data), batch_count(len(data), recipe)
    clock = Clock(recipe, steps, accelerator, spent=state.seconds())
    with (
        frozen_eval(classifier),
        opened(released),
        clock.bar("purifier", count, done=done, show=speaks) as progress,
    ):
        if not clock.finished(done) and speaks:
            what = f"purifier: width {recipe.width:g}, {recipe.time_steps} time steps"
            say_estimate(progress, what, purifier, sample, recipe, count)
        objective.begin(stage, state.kept)
        if done == 0 and speaks:
            with seeded(seed, "purifier", "watch", 0, device=device):
                state.save(0, {"firing_rates": firing_rates(purifier, sample)})
        for epoch in clock.epochs(done):
            begun, tally = time.monotonic(), Tally()
            model.train()
            drawn = batches(count, recipe, seed=seed, epoch=epoch, accelerator=accelerator)
            for number, (rows, augmentation) in enumerate(drawn):
                rows = rows.to(device)
                set_learning_rate(optimiser, clock.at(epoch, number))
                clean, adversarial = (
                    augment(as_float(whole[rows]), augmentation) for whole in (images, attacked_images)
                )
                batch = Batch(
                    model,
                    mixed(adversarial, clean, clean_share=recipe.clean_share),
                    labels[rows],
                    recipe=recipe,
                    epoch=epoch,
                    step=(epoch - 1) * steps + number,
                    progress=clock.progress,
                    seed=derive(seed, "purifier adversary", epoch, number, accelerator.process_index),
                    clean=clean,
                    classifier=classifier,
                    network=defended,
                )
                take_steps(objective, batch, stepper, stage, number=number, tally=tally)
                clock.advance(
                    progress, "purifier", len(rows), count, "epoch {} loss {:.4f}", epoch, tally.loss()
                )
                if clock.over:
                    break
            check_epoch(stage, tally, epoch)
            losses, shares = tally.losses(), tally.shares()
            figures = objective.after_epoch(stage, epoch)
            seconds = time.monotonic() - begun
            if speaks:
                row = {
                    **losses,
                    **shares,
                    **figures,
                    "learning_rate": clock.rate,
                    "seconds": seconds,
                    "images_per_second": tally.seen * accelerator.num_processes / seconds,
                    "passes": tally.passes * accelerator.num_processes,
                }
                if clock.finished(epoch):
                    with seeded(seed, "purifier", "watch", epoch, device=device):
                        row["firing_rates"] = firing_rates(_purifier_in(average) or purifier, sample)
                state.save(epoch, row)
                terms = [f"{name} {value:.4f}" for name, value in losses.items()]
                terms += [f"{name.replace('_', ' ')} {row[name]:.1%}" for name in (*shares, *figures)]
                terms += [f"{row['images_per_second']:.0f} images/s"]
                progress.say(f"purifier {clock.named(epoch)}: {', '.join(terms)}")
            accelerator.wait_for_everyone()
        keep_average(average, stage.trained)
        objective.finish(stage)
        if released is not None:
            released.write(folder)
        if speaks:
            warn_if_lost(purifier, classifier, data.take(WATCHED, seed=seed).images.to(device))
    return purifier.eval()


def release(
    recipe: PurifierRecipe, classifier: nn.Module, objective: Composition, accelerator: Accelerator
) -> Released | None:
    """The parameters of ``classifier`` that are trained along with the purifier; ``None`` for none.

    Raises:
        InputError: an objective without a gradient there, several processes, or no parameter of that name.
    """
    if recipe.release is None:
        return None
    if not objective.objective.reaches_classifier:
        raise InputError(
            f"purifier.release: {objective.name} has no gradient in the classifier; use end_to_end, or leave "
            "release out"
        )
    if accelerator.num_processes > 1:
        raise InputError("purifier.release: trains in one process; start one, or leave release out")
    return Released(classifier, recipe.release)


def _purifier_in(average: Averaged | None) -> Purifier | None:
    """The purifier of an average that may hold parameters of the classifier as well."""
    modules = () if average is None else average.modules()
    return next((module for module in modules if isinstance(module, Purifier)), None)


def warn_if_lost(purifier: Purifier, classifier: nn.Module, images: Tensor) -> None:
    """Warn where most clean images, ``[N, C, H, W]``, get another class behind the purifier than without it.

    Training through the whole may collapse to one class for all images, with a finite loss.
    """
    before, behind = (predict(model, images) for model in (classifier, Defended(purifier, classifier)))
    kept = int((before == behind).sum())
    if kept < LOST * len(images):
        warn(
            f"purifier: behind it only {kept} of {len(images)} clean training images keep the class that the "
            "classifier gives them; lower purifier.learning_rate, or train longer"
        )


def build_purifier(recipe: PurifierRecipe, data: ImageSet, sample: Tensor, *, seed: int) -> Purifier:
    """The untrained purifier of ``recipe``, weights drawn from ``seed``, whose layers fire on ``sample``.

    Args:
        recipe: the network's settings.
        data: images whose channels it takes.
        sample: some adversarial images, ``[N, C, H, W]`` floats in [0, 1].
        seed: seed of the run.

    Raises:
        InputError: a setting out of range.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "purifier"))
        purifier = Purifier(
            in_channels=data.channels,
            width=recipe.width,
            **recipe.neurons(),
            output=recipe.output,
            noise=recipe.noise,
            passes=recipe.passes,
            vote=recipe.vote,
            coding=recipe.coding,
            network=recipe.network,
            classes=data.num_classes,
            calibrated=False,
        )
    if recipe.start is not None:
        return _begin_as(purifier, recipe.start)
    # neurons may draw
    with seeded(seed, "calibrate", device=sample.device):
        purifier.calibrate(sample)
    return purifier


def _begin_as(purifier: Purifier, path: str) -> Purifier:
    """``purifier`` with the weights of another one, but for a last layer that another output stage reads."""
    former = load(path)
    if not isinstance(former, Purifier):
        raise InputError(f"purifier.start: {path} is no purifier, but {type(former).__name__}")
    weights, own = former.state_dict(), purifier.state_dict()
    if former.config.get("output") != purifier.config.get("output"):
        weights |= {name: value for name, value in own.items() if name.startswith("denoiser.last.")}
    try:
        purifier.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"purifier.start: {path} has other settings than the recipe: {brief(error)}"
        ) from error
    return purifier


def keep_from(data: ImageSet, count: int, *, seed: int) -> tuple[ImageSet, ImageSet | None]:
    """``data`` without a stratified sample of ``count`` images, and that sample; at most a tenth is kept.

    Args:
        data: training images.
        count: images to keep from training; 0 for none.
        seed: seed of the choice.
    """
    count = min(count, len(data) // 10)
    if count == 0:
        return data, None
    held = data.drawn(count, seed=seed)
    return data.without(held), data.select(held)


def mixed(adversarial: Tensor, clean: Tensor, *, clean_share: float) -> Tensor:
    """A batch whose first images are clean, the others adversarial; the order of an epoch is random anyway.

    Args:
        adversarial: ``[N, C, H, W]``.
        clean: images they were made from, same shape.
        clean_share: clean share of the batch, rounded to whole images; 0 returns ``adversarial``.
    """
    count = round(clean_share * len(clean))
    return torch.cat((clean[:count], adversarial[count:])) if count else adversarial
