"""What a purifier's encoder guesses before it paints, recorded in a forward."""

from types import TracebackType
from typing import Self

from torch import Tensor

from purespike.models.encoder_decoder import EncoderDecoder
from purespike.training.objectives.features import Recorded


class Guesses(Recorded):
    """Records the guesses of an encoder in a forward, so that training sees them as well.

    Args:
        network: encoder and decoder; nothing is recorded of ``None``.
        apart: whether, inside the block, the decoder's gradient stops at the encoder.
    """

    def __init__(self, network: EncoderDecoder | None, *, apart: bool = False) -> None:
        super().__init__(None if network is None else network.guess)
        self._network, self._apart = network, apart

    def __enter__(self) -> Self:
        if self._network is not None:
            self._network.apart = self._apart
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._network is not None:
            self._network.apart = False

    @property
    def value(self) -> Tensor | None:
        """Their mean over time in the last forward, logits ``[N, K]``; ``None`` without an encoder."""
        return None if self._network is None else self._network.neurons.mean(self.outputs[-1])
