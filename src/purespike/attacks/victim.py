"""A model as pyautoattack sees it: float32 in and out, numbers only, every pass counted."""

import torch
from torch import Tensor, nn

from purespike.attacks.objective import finite, margin
from purespike.attacks.result import remarks
from purespike.models.answer import correct, logits_of

# a logit that stands for infinity: its square is finite in float32
_HUGE = 1e15
_TINY = torch.finfo(torch.float32).tiny


class Victim(nn.Module):
    """Images ``[N, C, H, W]`` in float32 to logits ``[N, K]`` that a library may compute with.

    Args:
        model: images to logits.
        dtype: type of the images that the model is asked about.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype
        self.forwards = self.backwards = 0
        self.finite = True
        self.dropped = torch.zeros((), dtype=torch.long)

    def forward(self, images: Tensor) -> Tensor:
        self.forwards += len(images)
        # a copy: the hook is to go with it
        inputs = images.to(self.dtype, copy=True)
        if inputs.requires_grad:
            inputs.register_hook(self._finite)
        logits = logits_of(self.model, inputs)
        if logits.requires_grad:
            logits.register_hook(self._differentiated)
        self.finite = self.finite and bool(torch.isfinite(logits).all())
        # argmax takes a NaN for the largest: so does the library this way
        return logits.float().nan_to_num(nan=2 * _HUGE, posinf=_HUGE, neginf=-_HUGE).contiguous()

    def margin_and_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margin and loss that Square minimises; a tie is a success, and slightly negative.

        In L2 the library fails where all margins are 0.
        """
        logits = self(images)
        margins = -margin(logits, labels)
        margins = torch.where((margins == 0) & ~correct(logits, labels), -_TINY, margins)
        # both are changed in place
        return margins, margins.clone()

    def complaints(self) -> list[str]:
        """What went wrong in the passes so far."""
        lines = []
        if not self.finite:
            lines.append(
                "the model gave logits that are not finite; the attacks met large numbers in their place"
            )
        return [*lines, *remarks(self.dropped)]

    def _differentiated(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)

    def _finite(self, gradient: Tensor) -> Tensor:
        gradient, lost = finite(gradient)
        self.dropped = self.dropped.to(lost.device) + lost
        return gradient
