"""How far a training is, by its batches or by the clock, and the learning rate that belongs there."""

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from purespike.errors import InputError
from purespike.optimisation import Constant, Cosine, Milestones, OneCycle
from purespike.progress import Bar, bar, duration
from purespike.recipe import Training
from purespike.training.optimiser import learning_rates

RESOLUTION = 1000
"""Different learning rates of a training by the clock."""
TRIAL = 10
"""Batches after which the speed is known well enough to tell how many epochs there will be."""


class Clock:
    """Progress of a training from 0 to 1: the share of its batches, or of its minutes, that are over.

    Schedules follow it, so a training by the clock ends annealed wherever it ends. Its numbers then depend
    on the machine.

    Args:
        recipe: ``epochs`` or ``minutes``, schedule and learning rate.
        steps: batches of an epoch.
        accelerator: the processes, which all go by the clock of the main one.
        spent: seconds that the epochs of a resumed run took before.

    Raises:
        InputError: minutes with a schedule whose milestones are epochs.
    """

    def __init__(self, recipe: Training, steps: int, accelerator: Accelerator, *, spent: float = 0.0) -> None:
        self.recipe, self.steps, self.accelerator, self.spent = recipe, steps, accelerator, spent
        self.minutes = recipe.minutes
        schedule: Constant | Milestones | Cosine | OneCycle = recipe.schedule  # type: ignore[attr-defined]
        if self.minutes is not None and isinstance(schedule, Milestones):
            raise InputError(
                "minutes: milestones are epochs, whose number nobody knows here; set schedule to one_cycle, "
                "cosine or constant"
            )
        epochs, per_epoch = (RESOLUTION, 1) if self.minutes is not None else (recipe.epochs, steps)
        self.rates = learning_rates(schedule, recipe.learning_rate, epochs=epochs, steps=per_epoch)
        self.begun = time.monotonic()
        self.progress, self.rate = 0.0, self.rates[0]
        """Share of the training that was over when the present batch began, and its learning rate."""
        self.batches, self.warm, self.now = 0, 0.0, spent
        self.over = self.minutes is not None and spent >= 60 * self.minutes
        """Whether the minutes are over."""

    @contextlib.contextmanager
    def bar(self, stage: str, images: int, *, done: int, show: bool) -> Iterator[Bar]:
        """A progress bar for the epochs after the first ``done``, or for the minutes."""
        if self.minutes is None:
            with bar(stage, self.recipe.epochs * images, done=done * images, show=show) as shown:
                yield shown
        else:
            with bar(stage, round(60 * self.minutes), unit="s", done=round(self.spent), show=show) as shown:
                yield shown

    def epochs(self, done: int) -> Iterator[int]:
        """The epochs after the first ``done``; by the clock until the minutes are over."""
        for epoch in itertools.count(done + 1):
            if self.finished(epoch - 1):
                return
            yield epoch

    def finished(self, epoch: int) -> bool:
        """Whether ``epoch`` was the last one."""
        return epoch >= self.recipe.epochs if self.minutes is None else self.over

    def named(self, epoch: int) -> str:
        """``epoch 3/8``, or ``epoch 3, 2 of 5 min``."""
        if self.minutes is None:
            return f"epoch {epoch}/{self.recipe.epochs}"
        return f"epoch {epoch}, {self.now / 60:.1f} of {self.minutes:g} min"

    def at(self, epoch: int, number: int) -> float:
        """The learning rate of batch ``number``, from 0, of ``epoch``, from 1, which begins now."""
        if self.minutes is None:
            step = (epoch - 1) * self.steps + number
            self.progress, self.rate = step / (self.recipe.epochs * self.steps), self.rates[step]
        else:
            self.progress = min(self.elapsed() / (60 * self.minutes), 1.0)
            self.rate = self.rates[min(int(self.progress * RESOLUTION), RESOLUTION - 1)]
        return self.rate

    def advance(self, shown: Bar, stage: str, images: int, count: int, note: str, *values: Any) -> None:
        """Show a finished batch, and look at the clock.

        Args:
            shown: the display.
            stage: ``"classifier"`` or ``"purifier"``.
            images: images of the batch in this process.
            count: images of an epoch.
            note: shown beside the bar, formatted with ``values``.
            values: see ``note``.

        Raises:
            InputError: the minutes are too few for one epoch, which is known after some batches.
        """
        self.batches += 1
        if self.minutes is None:
            shown.advance(images * self.accelerator.num_processes, note, *values)
            return
        before, now = self.now, self.elapsed()
        self.now, self.over = now, now >= 60 * self.minutes
        shown.advance(round(now) - round(before), note, *values)
        if self.batches == 1:
            # the first batch compiles
            self.warm = now
        elif self.batches == TRIAL:
            shown.say(self._forecast(stage, count, now))

    def elapsed(self) -> float:
        """Seconds of the training so far, the same in all processes, which must all ask."""
        seconds = self.spent + time.monotonic() - self.begun
        if self.accelerator.num_processes == 1:
            return seconds
        return float(broadcast(torch.tensor([seconds], device=self.accelerator.device)).item())

    def _forecast(self, stage: str, count: int, now: float) -> str:
        assert self.minutes is not None
        seconds, left = (now - self.warm) / (TRIAL - 1), 60 * self.minutes - now
        epoch = seconds * self.steps
        if 60 * self.minutes < epoch:
            raise InputError(
                f"{stage}.minutes: {self.minutes:g} are too few for one epoch of {count:,} images, which "
                f"takes about {duration(epoch)} here; give more, or lower data.train_limit or {stage}.width"
            )
        return (
            f"{stage}: {1 / seconds:.2g} batches of {self.recipe.batch_size} a second, about "
            f"{left / epoch:.1f} epochs in {duration(left)}"
        )
