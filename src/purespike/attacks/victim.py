"""A model as pyautoattack sees it: float32 in and out, numbers only, every pass counted."""

import torch
from torch import Tensor, nn

from purespike.attacks.objective import finite, leads, margin
from purespike.attacks.result import remarks
from purespike.models.answer import correct, logits_of

# a logit that stands for infinity: its square is finite in float32
_HUGE = 1e15
# logits beyond it are told apart in float64 alone
_LARGE = 100.0
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
        self.reached: bool | None = None
        """Whether autograd finds a path from the logits to the images; ``None`` until it was asked."""
        self.dropped = torch.zeros((), dtype=torch.long)
        self.labels: Tensor | None = None
        """True classes of the images of a run, where each pass has one row for each of them."""

    def forward(self, images: Tensor) -> Tensor:
        self.forwards += len(images)
        # a copy: the hook is to go with it
        inputs = images.to(self.dtype, copy=True)
        if inputs.requires_grad:
            inputs.register_hook(self._finite)
        logits = logits_of(self.model, inputs)
        if inputs.requires_grad and self.reached is None:
            self.reached = leads(logits, inputs)
        if inputs.requires_grad and not self.reached:
            # the library differentiates whatever it is given
            logits = logits + 0 * inputs.flatten(1).sum(1, keepdim=True).to(logits)
        if logits.requires_grad:
            logits.register_hook(self._differentiated)
        usable = torch.isfinite(logits).all(1)
        if not usable.all():
            self.finite = False
            logits = torch.where(usable[:, None], logits, self._broken(logits))
        return _in_float32(logits).contiguous()

    def _broken(self, logits: Tensor) -> Tensor:
        """Logits that stand for an answer that is no number: wrong for every class, as far as it is known."""
        if self.labels is None or len(self.labels) != len(logits):
            return torch.full_like(logits, 2 * _HUGE)
        return torch.zeros_like(logits).scatter_(1, (self.labels[:, None] + 1) % logits.shape[1], _HUGE)

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
        return [*lines, *remarks(self.dropped, reached=self.reached)]

    def _differentiated(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)

    def _finite(self, gradient: Tensor) -> Tensor:
        gradient, lost = finite(gradient)
        self.dropped = self.dropped.to(lost.device) + lost
        return gradient


def _in_float32(logits: Tensor) -> Tensor:
    """``logits`` in float32; of large ones in float64 the distances to the largest, which decide all."""
    if logits.dtype != torch.float64:
        return logits.float()
    largest = logits.detach().amax(1, keepdim=True)
    return torch.where(largest.abs() > _LARGE, logits - largest, logits).float()
