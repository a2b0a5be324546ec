"""Gaussian noise: not an attack, but the baseline that an attack must beat (paper, section 5.2.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.attacks.objective import frozen_eval, margin
from purespike.attacks.protocol import Attack, settings_of, settle, settle_scalars
from purespike.attacks.registry import attack, attacking
from purespike.attacks.result import AttackResult
from purespike.budget import parse_eps
from purespike.checks import check_images, check_labels, check_seed
from purespike.models.answer import correct, logits_of
from purespike.modes import normal
from purespike.seeding import ImageDraws


@attack(title="Gaussian noise", order=140)
@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Attack):
    """Add independent noise of standard deviation ``level`` to every pixel, clipped to [0, 1].

    Args:
        name: name in reports.
        level: standard deviation in pixel units; the paper's "level 20" is 20/255.
        seed: seed of the draw.

    Raises:
        InputError: a level outside [0, 1].
    """

    name: str = "gaussian_noise"
    level: float = 20 / 255
    seed: int = 0

    def __post_init__(self) -> None:
        settle_scalars(self)
        check_seed(self.seed)
        settle(self, level=parse_eps(self.level, name="level"))

    @property
    def norm(self) -> str:
        return "noise"

    @property
    def differentiates(self) -> bool:
        return False

    @torch.no_grad()
    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Draw noisy versions of ``images`` ``[N, C, H, W]`` in [0, 1] and see which ``model`` misclassifies.

        Raises:
            InputError: images or labels are not of that form.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        noise = ImageDraws(images, self.seed, "noise").normal(images.shape[1:])
        with frozen_eval(model):
            images = normal(images)
            noisy = (images + self.level * noise.to(images)).clamp(0, 1)
            logits = logits_of(model, noisy)
        check_labels(labels, count=len(images), classes=logits.shape[1])
        return AttackResult(
            images=noisy,
            success=~correct(logits, labels),
            best_step=torch.zeros(len(images), dtype=torch.long, device=images.device),
            loss_trace=margin(logits, labels)[None],
            forwards=len(images),
            backwards=0,
            config=settings_of(self),
            seed=self.seed,
        )


gaussian_noise = attacking("gaussian_noise")
