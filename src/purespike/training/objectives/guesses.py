"""What a purifier's encoder guesses before it paints: recorded in a forward, and as a model to attack."""

from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn

from purespike.models import Purifier
from purespike.models.encoder_decoder import EncoderDecoder


class Guessing(nn.Module):
    """A purifier as a classifier: images to what its encoder guesses, logits ``[N, K]``."""

    def __init__(self, purifier: Purifier) -> None:
        super().__init__()
        self.purifier = purifier

    def forward(self, images: Tensor) -> Tensor:
        return self.purifier.guesses(images)


def encoder_of(purifier: Any) -> EncoderDecoder | None:
    """The encoder and decoder of ``purifier``, if it has them."""
    network = getattr(purifier, "denoiser", None)
    return network if isinstance(network, EncoderDecoder) else None


class Guesses:
    """Records, inside its block, the guesses of an encoder in a forward, so that training sees them as well.

    ``value`` is their mean over time, logits ``[N, K]``; ``None`` without an encoder.
    """

    def __init__(self, network: EncoderDecoder | None) -> None:
        self.value: Tensor | None = None
        self._network = network

    def __enter__(self) -> Self:
        if self._network is not None:
            self._handle = self._network.guess.register_forward_hook(self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._network is not None:
            self._handle.remove()

    def _record(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        assert self._network is not None
        self.value = self._network.neurons.mean(output)
