"""What a purifier's encoder guesses before it paints, recorded in a forward."""

from torch import Tensor

from purespike.models.encoder_decoder import EncoderDecoder
from purespike.training.objectives.features import Recorded


class Guesses(Recorded):
    """Records the guesses of an encoder in a forward, so that training sees them as well."""

    def __init__(self, network: EncoderDecoder | None) -> None:
        super().__init__(None if network is None else network.guess)
        self._network = network

    @property
    def value(self) -> Tensor | None:
        """Their mean over time in the last forward, logits ``[N, K]``; ``None`` without an encoder."""
        return None if self._network is None else self._network.neurons.mean(self.outputs[-1])
