"""Training of the purifier against a frozen classifier (paper, Algorithm 1)."""

import time
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from purespike.attacks import create_attack
from purespike.data import ImageSet, augment
from purespike.losses import PurificationLoss, beta_schedule, purification_loss
from purespike.models import Purifier
from purespike.models.predict import as_float
from purespike.neurons import firing_rates
from purespike.progress import bar
from purespike.recipe import PurifierRecipe
from purespike.seeding import derive
from purespike.training.batches import batches
from purespike.training.examples import craft
from purespike.training.state import TrainingState


def train_purifier(
    recipe: PurifierRecipe,
    classifier: nn.Module,
    data: ImageSet,
    *,
    folder: Path,
    seed: int,
    accelerator: Accelerator,
) -> Purifier:
    """Train the purifier of ``recipe``, or go on from the last epoch that ``folder`` holds.

    The examples are crafted once against ``classifier``, which is not changed; each step moves an example
    and its clean image by the same random crop and flip. Of each batch the recipe's ``clean_share`` is shown
    as it was before the attack.

    Args:
        recipe: the attack, the network and the schedule.
        classifier: images to logits; any module.
        data: training images.
        folder: run folder; state goes to ``checkpoint/``, one row per epoch to ``history.jsonl``.
        seed: decides attack, initialisation, order and augmentation.
        accelerator: see :func:`purespike.training.engine.accelerator`.

    Returns:
        The trained purifier in evaluation mode.

    Raises:
        InputError: a setting out of range, or a checkpoint that does not fit.
    """
    attack = create_attack(**recipe.attack)
    crafted = craft(
        classifier,
        data,
        attack,
        folder=folder / "checkpoint" / "adversarial",
        seed=seed,
        batch_size=recipe.batch_size,
        accelerator=accelerator,
    )
    sample = as_float(crafted[:64])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "purifier"))
        purifier = Purifier(
            in_channels=data.channels,
            width=recipe.width,
            **recipe.neurons(),
            calibrated=False,
        )
    purifier.calibrate(sample)
    optimiser = torch.optim.Adam(purifier.parameters(), lr=recipe.learning_rate)
    model, stepper = accelerator.prepare(purifier, optimiser)
    state = TrainingState(folder, "purifier", purifier, optimiser)
    done = state.restore()

    clean_images = data.images.to(accelerator.device)
    adversarial_images = crafted.to(accelerator.device)
    sample = sample.to(accelerator.device)
    if done == 0 and accelerator.is_main_process:
        state.save(0, {"firing_rates": firing_rates(purifier, sample)})

    total = recipe.epochs * len(data)
    with bar("purifier", total, done=done * len(data), show=accelerator.is_main_process) as progress:
        for epoch in range(done + 1, recipe.epochs + 1):
            begun = time.monotonic()
            beta = beta_schedule(epoch, beta=recipe.beta, switch_epoch=recipe.switch_epoch)
            model.train()
            sums = torch.zeros(len(PurificationLoss._fields), device=accelerator.device)
            seen = 0
            for rows, augmentation in batches(
                len(data), recipe, seed=seed, epoch=epoch, accelerator=accelerator
            ):
                rows = rows.to(clean_images.device)
                clean = augment(as_float(clean_images[rows]), augmentation)
                adversarial = augment(as_float(adversarial_images[rows]), augmentation)
                shown = mixed(adversarial, clean, clean_share=recipe.clean_share)
                purified = model(shown)
                loss = purification_loss(
                    purified.images,
                    purified.noise_level,
                    clean,
                    shown,
                    beta=beta,
                    asymmetric_weight=recipe.asymmetric_weight,
                    variation_weight=recipe.variation_weight,
                    gamma=recipe.gamma,
                    level=recipe.noise_level,
                )
                stepper.zero_grad()
                accelerator.backward(loss.total)
                stepper.step()
                sums += torch.stack(loss).detach() * len(rows)
                seen += len(rows)
                images_done = len(rows) * accelerator.num_processes
                progress.advance(images_done, "epoch {} loss {:.4f}", epoch, sums[0] / seen)
            seconds = time.monotonic() - begun
            if accelerator.is_main_process:
                means = dict(zip(PurificationLoss._fields, (sums / seen).tolist(), strict=True))
                row = {
                    "loss": means.pop("total"),
                    **means,
                    "learning_rate": recipe.learning_rate,
                    "seconds": seconds,
                    "images_per_second": seen * accelerator.num_processes / seconds,
                }
                if epoch == recipe.epochs:
                    row["firing_rates"] = firing_rates(purifier, sample)
                state.save(epoch, row)
                progress.say(
                    f"purifier epoch {epoch}/{recipe.epochs}: loss {row['loss']:.4f} "
                    f"(reconstruction {row['reconstruction']:.4f}), {row['images_per_second']:.0f} images/s"
                )
            accelerator.wait_for_everyone()
    return purifier.eval()


def mixed(adversarial: Tensor, clean: Tensor, *, clean_share: float) -> Tensor:
    """A batch whose first images are clean, the others adversarial; the order of an epoch is random anyway.

    Args:
        adversarial: ``[N, C, H, W]``.
        clean: the images they were made from, same shape.
        clean_share: of the batch, rounded to whole images; 0 returns ``adversarial``.
    """
    count = round(clean_share * len(clean))
    return torch.cat((clean[:count], adversarial[count:])) if count else adversarial
