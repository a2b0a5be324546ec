"""A purifier's network that reads the whole image before it paints: an encoder, its own guess, a decoder."""

from torch import Tensor, nn

from purespike.models.coding import Coding, Direct
from purespike.models.layers import Layers, NeuronConfig, conv3x3, initialise
from purespike.models.resnet import DormantSuppressedBlock, residual_stages

_DIRECT = Direct()


class EncoderDecoder(nn.Module):
    """Residual encoder and decoder with batch normalisation; spikes at a quarter of the size between them.

    The encoder is that of DS-ResNet14. Its spikes' mean over space gives a guess, one number for each class,
    which the decoder is shown at every place. Training through the whole asks the guess for the class
    (``objective: end_to_end``): the encoder then learns as an adversarially trained classifier does, by a way
    that leads neither through the decoder nor through the frozen classifier. While ``apart`` is set, the
    decoder's gradient stops at the encoder, so that it learns to paint what the encoder has found.

    Takes images ``[N, C, H, W]`` and returns what the output stage needs
    (:data:`~purespike.models.output.OUTPUTS`), ``[N, maps·C, H, W]``. H and W must be multiples of 4.

    Args:
        channels: C.
        filters: channels of the encoder's three stages; the decoder has them in reverse.
        neurons: settings of the neurons.
        maps: output channels for each channel of the image.
        classes: length of the guess.
        coding: images to frames.
    """

    def __init__(
        self,
        channels: int,
        filters: tuple[int, int, int],
        neurons: NeuronConfig,
        maps: int,
        classes: int,
        coding: Coding = _DIRECT,
    ) -> None:
        super().__init__()
        low, middle, high = filters
        self.neurons, self.coding, self.apart = neurons, coding, False
        channels = coding.channels(channels)
        self.stem = nn.Sequential(conv3x3(channels, low), neurons.norm(low))
        self.encoder = nn.Sequential(*residual_stages(filters, 2, neurons))
        self.guess = nn.Linear(high, classes)
        self.hint = nn.Linear(classes, high)
        self.decoder = nn.Sequential(
            Layers(conv3x3(high, high), neurons.norm(high), neurons.make(high)),
            *_widen(high, middle, neurons),
            *_widen(middle, low, neurons),
        )
        self.last = nn.Conv2d(low, maps * channels, 1)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        spikes = self._encode(images)
        guess = self._guess(spikes)
        if self.apart:
            spikes, guess = spikes.detach(), guess.detach()
        hint = self.hint(guess)
        painted: Tensor = self.decoder(spikes + hint[:, :, None, None])
        return self.coding.readout(painted, self.neurons.time_steps, self.last)

    def guesses(self, images: Tensor) -> Tensor:
        """The guess alone, mean over time: logits ``[N, K]``."""
        return self.neurons.mean(self._guess(self._encode(images)))

    def _encode(self, images: Tensor) -> Tensor:
        current = self.coding.currents(images, self.neurons.time_steps, self.stem)
        spikes: Tensor = self.encoder(current)
        return spikes

    def _guess(self, spikes: Tensor) -> Tensor:
        """The guess of every time step, ``[T·N, K]``."""
        guess: Tensor = self.guess(spikes.mean((2, 3)))
        return guess


def _widen(inputs: int, outputs: int, neurons: NeuronConfig) -> list[nn.Module]:
    """Twice the height and width, then a residual block."""
    wider = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
    return [
        Layers(wider, neurons.norm(outputs), neurons.make(outputs)),
        DormantSuppressedBlock(outputs, outputs, 1, neurons),
    ]
