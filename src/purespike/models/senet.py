"""SENet18-SNN: a pre-activation residual network with squeeze-and-excitation on the current."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from purespike.models.classifier import ClassifierSettings, SpikingClassifier
from purespike.models.layers import Layers, NeuronConfig, conv1x1, conv3x3
from purespike.models.registry import register

Join = Callable[[int], nn.Module]


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from all channels' means (Hu et al. 2018).

    Applied to the current of every time step on its own, so that spikes stay integers.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, current: Tensor, shortcut: Tensor) -> Tensor:
        """The gated current plus ``shortcut``, same shape."""
        gate = torch.relu(self.squeeze(current.mean((2, 3), keepdim=True)))
        return torch.addcmul(shortcut, current, torch.sigmoid(self.excite(gate)))


class PreActivationBlock(nn.Module):
    """conv(MLF(BN(conv(MLF(BN(x)))))) and a shortcut, joined: the sum is one of currents.

    Args:
        inputs: channels of the current.
        outputs: channels of the block.
        stride: stride of the first convolution.
        neurons: settings of the neurons.
        join: from the channels, the module that joins residual and shortcut; they are added by default.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, neurons: NeuronConfig, *, join: Join | None = None
    ) -> None:
        super().__init__()
        self.activation1 = Layers(neurons.norm(inputs), neurons.make(inputs))
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.activation2 = Layers(neurons.norm(outputs), neurons.make(outputs))
        self.conv2 = conv3x3(outputs, outputs)
        self.gate = None if join is None else join(outputs)
        self.shortcut = conv1x1(inputs, outputs, stride) if stride != 1 or inputs != outputs else None

    def forward(self, current: Tensor) -> Tensor:
        spikes = self.activation1(current)
        shortcut = current if self.shortcut is None else self.shortcut(spikes)
        residual = self.conv2(self.activation2(self.conv1(spikes)))
        return residual + shortcut if self.gate is None else self.gate(residual, shortcut)


def preactivation_body(
    inputs: int, stages: Sequence[tuple[int, int, int]], neurons: NeuronConfig, *, join: Join | None = None
) -> Layers:
    """Stages of ``(channels, blocks, stride)``, closed by a last normalisation and neuron layer."""
    layers: list[nn.Module] = []
    for outputs, blocks, stride in stages:
        for index in range(blocks):
            step = stride if index == 0 else 1
            layers.append(PreActivationBlock(inputs, outputs, step, neurons, join=join))
            inputs = outputs
    return Layers(*layers, neurons.norm(inputs), neurons.make(inputs))


@register
def senet18_snn(settings: ClassifierSettings) -> SpikingClassifier:
    """SENet18-SNN: two gated blocks in each of four stages of 64 to 512 channels (paper, section 4.1).

    The paper leaves the spiking adaptation open; here neurons replace every activation, the gate acts on the
    current, and a last layer of neurons precedes the global mean.
    """
    neurons = settings.neurons()
    channels = settings.channels(64, 128, 256, 512)
    stem = nn.Sequential(conv3x3(settings.frame_channels, channels[0]), neurons.norm(channels[0]))
    stages = list(zip(channels, (2, 2, 2, 2), (1, 2, 2, 2), strict=True))
    body = Layers(
        neurons.make(channels[0]), *preactivation_body(channels[0], stages, neurons, join=SqueezeExcitation)
    )
    return SpikingClassifier(stem, body, channels[-1], settings, neurons)
