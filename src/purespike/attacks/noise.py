"""Gaussian noise: not an attack, but the baseline that one must beat (paper, section 5.2.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.attacks.objective import attacked, margin
from purespike.attacks.result import AttackResult, settings_of
from purespike.budget import parse_eps
from purespike.checks import check_images, check_labels


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Add independent noise of standard deviation ``level`` to every pixel, clipped to [0, 1].

    Args:
        name: for reports.
        level: in pixel units; the paper's "level 20" is 20/255.
        seed: of the draw.

    Raises:
        InputError: a level outside [0, 1].
    """

    name: str = "gaussian_noise"
    level: float | str = 20 / 255
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", parse_eps(self.level, name="level"))

    @property
    def differentiates(self) -> bool:
        """It follows no gradient."""
        return False

    @torch.no_grad()
    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Draw noisy versions of ``images`` ``[N, C, H, W]`` in [0, 1] and see which ``model`` misclassifies.

        Raises:
            InputError: images or labels are not of that form.
        """
        check_images(images)
        labels = check_labels(labels, count=len(images))
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(images.shape, generator=generator).to(images)
        noisy = (images + float(self.level) * noise).clamp(0, 1)
        with attacked(model):
            logits = model(noisy)
        check_labels(labels, count=len(images), classes=logits.shape[1])
        return AttackResult(
            images=noisy,
            success=logits.argmax(1) != labels,
            best_step=torch.zeros(len(images), dtype=torch.long, device=images.device),
            loss_trace=margin(logits.float(), labels)[None],
            forwards=len(images),
            backwards=0,
            config=settings_of(self),
            seed=self.seed,
        )
