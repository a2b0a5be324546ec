"""One cell of the robustness table: one attack at one budget under one threat model, on all images."""

from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from purespike.budget import format_eps
from purespike.errors import InputError
from purespike.results.record import Count, Number, Outcome, Record, Share
from purespike.results.score import Score
from purespike.results.vocabulary import NORMS, attack_text, attack_words, percent

# settings are numbers that a float holds
LARGEST = 1e300


class Component(Record):
    """What one route of an attacker achieved.

    Args:
        surrogate: surrogate, approximation or substitute that was differentiated; ``"own"`` for none.
        loss: loss that was maximised; ``"own"`` for the attack's.
        attacked: number of images attacked along this route.
        broken: number of those that it broke.
        reset: reset that was differentiated, ``"attached"`` or ``"detached"``; ``None`` for the neurons' own.
    """

    surrogate: str
    loss: str
    attacked: Count = 0
    broken: Count
    reset: str | None = None

    @property
    def gradient(self) -> str:
        """The surrogate, and the reset where it is not the neurons' own."""
        return self.surrogate if self.reset is None else f"{self.surrogate}, {self.reset} reset"


class Quality(Record):
    """Likeness of some images to their clean versions, mean over images.

    Args:
        images: description of the images.
        psnr: peak signal-to-noise ratio in dB, at most 100.
        ssim: structural similarity; absent for images smaller than its window.
    """

    images: str
    psnr: Number | None = None
    ssim: Number | None = None


class Rounded(Record):
    """What is left of an attack when its images are saved in 8 bits.

    Args:
        broken: number of images that the attack broke.
        survived: number of those that are broken in 8 bits too.
        outcomes: as those of the cell, in 8 bits.
    """

    broken: Count
    survived: Count
    outcomes: tuple[Outcome, ...] = ()

    @property
    def text(self) -> str:
        """``13 of 17 broken in 8 bits``."""
        return f"{self.survived} of {self.broken} broken in 8 bits"


class AttackSettings(Record):
    """Settings of an attack, whatever it has, as further keys; these are the ones that reports look at."""

    @model_validator(mode="after")
    def _finite(self) -> Self:
        for name, value in self.values.items():
            if isinstance(value, int | float) and not -LARGEST < value < LARGEST:
                raise ValueError(f"{name} must be a finite number")
        return self

    @property
    def values(self) -> dict[str, Any]:
        """All settings by name."""
        return self.model_extra or {}

    def _get(self, name: str) -> Any:
        return self.values.get(name)

    @property
    def steps(self) -> int | None:
        """Gradient steps, or their like."""
        value = self._get("steps")
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def restarts(self) -> int:
        """Random starts, 1 where the attack has none."""
        value = self._get("restarts")
        return value if isinstance(value, int) else 1

    @property
    def level(self) -> float | None:
        """Standard deviation of noise."""
        value = self._get("level")
        return float(value) if isinstance(value, int | float) else None

    @property
    def version(self) -> str | None:
        """Version of AutoAttack."""
        value = self._get("version")
        return None if value is None else str(value)


class Bounded(Record):
    """An attack at a budget under a threat model: what cells of tables and of transfer matrices share."""

    attack: str
    eps: Number | None
    norm: str
    threat: str

    @property
    def condition(self) -> str:
        """Bound of the perturbation: ``L∞, eps 16/255``, ``L2, no eps bound``."""
        norm = NORMS.get(self.norm, self.norm)
        return f"{norm}, no eps bound" if self.eps is None else f"{norm}, eps {format_eps(self.eps)}"


class Cell(Bounded):
    """Outcomes of one attack under one threat model; 1 is still classified correctly.

    For a stochastic model an outcome is that of the majority of ``passes``, and ``pass_accuracy`` the share
    of correct single passes over all images. An attacker who may submit an image again and again needs one
    pass: ``every_pass`` counts what holds against it.

    Args:
        attack: name of the attack.
        eps: budget in pixel units, or L2 radius; ``None`` for an attack without one.
        norm: ``"linf"``, ``"l2"`` or ``"noise"``.
        threat: threat model.
        outcomes: 0 or 1 per image; may be absent from files that others wrote.
        settings: settings of the attack.
        forwards: images passed through the model.
        backwards: images differentiated.
        seconds: time, summed over processes.
        mean_l2: mean L2 distance from the clean images.
        components: one entry per route of the attacker.
        warnings: complaints of the attack.
        quality: likeness of attacked and purified images to clean ones.
        seed: seed of the evaluation.
        passes: passes over which each image is judged.
        pass_accuracy: see above; ``None`` for a deterministic model.
        every_pass: share of the images that all ``passes`` classify correctly; ``None`` likewise.
        raised_from: steps of the attack whose budget the evaluation escalated to this one.
        score: share of outcomes that are 1.
        rounded: the same images in 8 bits, where they were saved.
    """

    outcomes: tuple[Outcome, ...] = ()
    settings: AttackSettings = Field(default_factory=AttackSettings)
    forwards: Count | None = None
    backwards: Count | None = None
    seconds: Number | None = None
    mean_l2: Number | None = None
    components: tuple[Component, ...] = ()
    warnings: tuple[str, ...] = ()
    quality: tuple[Quality, ...] = ()
    seed: Count | None = None
    passes: Count = 1
    pass_accuracy: Share | None = None
    every_pass: Share | None = None
    raised_from: Count | None = None
    score: Score
    rounded: Rounded | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.outcomes and not self.score.fits(self.outcomes):
            raise ValueError(
                f"{sum(self.outcomes)} of {len(self.outcomes)} outcomes are 1, the score says "
                f"{self.score.correct} of {self.score.n}"
            )
        return self

    @property
    def steps(self) -> int | None:
        """Steps of the attack, if its settings name them."""
        return self.settings.steps

    @property
    def title(self) -> str:
        """The attack with its steps: ``PGD-20``."""
        return attack_text(self.attack, self.steps)

    @property
    def condition(self) -> str:
        """Bound of the perturbation, of noise its level: ``L∞, eps 16/255``, ``noise, σ 0.1``."""
        if self.eps is None and self.settings.level is not None:
            return f"{NORMS.get(self.norm, self.norm)}, σ {format_eps(self.settings.level)}"
        return super().condition

    @property
    def escalation(self) -> str:
        """``raised from 20 steps`` where the evaluation escalated this attack's budget; else nothing."""
        before = self.raised_from
        if before is None:
            return ""
        if self.steps not in (None, before):
            return f"raised from {before} steps"
        return f"raised to {self.settings.restarts} starts" if self.settings.restarts > 1 else "budget raised"

    @property
    def per_pass(self) -> str:
        """Accuracy of a single pass and of all, ``61.3 a pass, 40.0 in all 10``; empty without chance."""
        if self.pass_accuracy is None:
            return ""
        always = "" if self.every_pass is None else f", {percent(self.every_pass)} in all {self.passes}"
        return f"{percent(self.pass_accuracy)} a pass{always}"

    @property
    def robust(self) -> np.ndarray:
        """Bool ``[N]``: is the image still classified correctly?

        Raises:
            InputError: outcomes are absent, or their number is not that of the score.
        """
        values = np.asarray(self.outcomes, dtype=bool)
        if len(values) != self.score.n:
            raise InputError(
                f"evaluation: {self.attack}, {self.threat} has outcomes for {len(values)} of "
                f"{self.score.n} images; evaluate again"
            )
        return values

    @property
    def bound_key(self) -> str:
        """Bound as part of a name: ``linf-8_255``, ``l2-0.5``, ``l2-unbounded``, ``noise-20_255``."""
        return bound_key(self.norm, self.settings.level if self.eps is None else self.eps)

    @property
    def key(self) -> str:
        """Name of the cell, ``adaptive/linf-8_255/pgd-20``: threat model, bound, attack with its steps."""
        attack = f"{self.attack}-{self.steps}" if self.steps and self.steps > 1 else self.attack
        return f"{self.threat}/{self.bound_key}/{attack}"

    def line(self) -> str:
        """One line for the console: the score, never without its threat model."""
        norm = NORMS.get(self.norm, self.norm)
        if self.norm == "noise":
            budget = norm
        elif self.eps is None:
            budget = f"{norm} unbounded" + ("" if self.mean_l2 is None else f", mean {self.mean_l2:.2f}")
        else:
            budget = f"{norm} eps {format_eps(self.eps)}"
        steps = f"-{self.steps}" if self.steps and attack_words(self.attack).stepwise else ""
        score, took = self.score, "" if self.seconds is None else f", {self.seconds:.0f} s"
        took += "" if self.rounded is None else f"; {self.rounded.text}"
        return (
            f"{self.attack}{steps} ({budget}), {self.threat}: "
            f"{score.text}% of {score.n} [{percent(score.low)}%, {percent(score.high)}%]{took}"
        )


def bound_key(norm: str, size: float | None) -> str:
    """A bound as part of a name: ``linf-8_255``; see :attr:`Cell.bound_key`."""
    return f"{norm}-{'unbounded' if size is None else format_eps(size).replace('/', '_')}"
