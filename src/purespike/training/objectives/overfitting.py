"""The guard against catastrophic overfitting: an attack with other steps and another surrogate tells."""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from purespike.attacks import create_attack
from purespike.models import Defended
from purespike.models.predict import as_float
from purespike.neurons import surrogate_gradient
from purespike.training.objectives.registry import Stage

EVERY = 5000
"""Training images between two looks, so that they cost less than a tenth of the training."""
FALL = 0.15
"""Share of the held-out images by which the robust accuracy may be below its best."""


@dataclass
class Guard:
    """Watches held-out images under PGD-10, in L0 flips-10, with a surrogate that training does not use.

    A purifier trained against one step may learn to break that step instead of resisting it; its accuracy
    under the training attack then rises while that under others collapses.

    Args:
        surrogate: the surrogate of the attack.
        eps: budget of the attack.
        norm: its norm, ``"linf"`` or ``"l0"``.
    """

    surrogate: str
    eps: float
    norm: str = "linf"
    best: float = 0.0
    tripped: bool = False
    good: dict[str, Tensor] = field(default_factory=dict)

    def look(self, stage: Stage, epoch: int) -> dict[str, float]:
        """Attack the held-out images if it is time, and take the last good weights back if they fell.

        Returns:
            Robust accuracy on them under ``"held_out_accuracy"``; empty where it was not time.
        """
        held, seen = stage.held_out, epoch * len(stage.data)
        if held is None or seen // EVERY == (seen - len(stage.data)) // EVERY:
            return {}
        accuracy = self._accuracy(stage)
        if accuracy >= self.best - FALL:
            if accuracy >= self.best or not self.good:
                self.best = accuracy
            self.good = copy.deepcopy(stage.trained.state_dict())
        else:
            self.tripped, self.best = True, accuracy
            for model in (stage.trained, None if stage.average is None else stage.average.module):
                if model is not None:
                    model.load_state_dict(self.good)
        return {"held_out_accuracy": accuracy}

    def _accuracy(self, stage: Stage) -> float:
        assert stage.held_out is not None and stage.classifier is not None
        name = "flips" if self.norm == "l0" else "pgd"
        attack = create_attack(
            name, eps=self.eps, steps=10, step_size=self.eps / 4, random_start=True, stop_early=True
        )
        model = Defended(stage.model, stage.classifier)
        device = stage.accelerator.device
        right = 0
        with surrogate_gradient(model, self.surrogate):
            for rows in torch.arange(len(stage.held_out)).split(stage.recipe.batch_size):
                images = as_float(stage.held_out.images[rows].to(device))
                found = attack(model, images, stage.held_out.labels[rows].to(device))
                right += int((~found.success).sum())
        return right / len(stage.held_out)

    def state(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs."""
        return {
            "best": torch.tensor(self.best, dtype=torch.float64),
            "tripped": torch.tensor(self.tripped),
            **{f"good/{name}": value for name, value in self.good.items()},
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`state` returned."""
        self.best, self.tripped = float(state["best"]), bool(state["tripped"])
        self.good = {
            name.removeprefix("good/"): value for name, value in state.items() if name.startswith("good/")
        }
