"""DS-ResNet: residual networks whose shortcut adds spikes to spikes (Feng et al. 2022)."""

from collections.abc import Sequence

from torch import Tensor, nn

from purespike.models.classifier import ClassifierSettings, SpikingClassifier
from purespike.models.layers import Layers, NeuronConfig, conv1x1, conv3x3
from purespike.models.registry import register


class DormantSuppressedBlock(nn.Module):
    """MLF(BN(conv(MLF(BN(conv(x)))))) + shortcut: the addition comes after the spikes."""

    def __init__(self, inputs: int, outputs: int, stride: int, neurons: NeuronConfig) -> None:
        super().__init__()
        self.residual = Layers(
            conv3x3(inputs, outputs, stride),
            neurons.norm(outputs),
            neurons.make(outputs),
            conv3x3(outputs, outputs),
            neurons.norm(outputs),
            neurons.make(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = Layers(
                conv1x1(inputs, outputs, stride), neurons.norm(outputs), neurons.make(outputs)
            )

    def forward(self, spikes: Tensor) -> Tensor:
        return self.residual(spikes) + self.shortcut(spikes)


def residual_stages(channels: Sequence[int], blocks: int, neurons: NeuronConfig) -> list[nn.Module]:
    """Neurons, then ``blocks`` blocks for each of ``channels``; all stages but the first halve the size."""
    inputs = channels[0]
    body: list[nn.Module] = [neurons.make(inputs)]
    for stage, outputs in enumerate(channels):
        for index in range(blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            body.append(DormantSuppressedBlock(inputs, outputs, stride, neurons))
            inputs = outputs
    return body


def _ds_resnet(blocks: int, settings: ClassifierSettings) -> SpikingClassifier:
    neurons = settings.neurons()
    channels = settings.channels(64, 128, 256)
    stem = nn.Sequential(conv3x3(settings.frame_channels, channels[0]), neurons.norm(channels[0]))
    body = nn.Sequential(*residual_stages(channels, blocks, neurons))
    return SpikingClassifier(stem, body, channels[-1], settings, neurons)


@register
def resnet14_snn(settings: ClassifierSettings) -> SpikingClassifier:
    """DS-ResNet14: two blocks in each of three stages of 64, 128 and 256 channels (paper, Table 1)."""
    return _ds_resnet(2, settings)


@register
def resnet20_snn(settings: ClassifierSettings) -> SpikingClassifier:
    """DS-ResNet20: three blocks in each of three stages of 64, 128 and 256 channels (paper, Table 3)."""
    return _ds_resnet(3, settings)
