"""DS-ResNet: residual networks whose shortcut adds spikes to spikes (Feng et al. 2022)."""

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


def _ds_resnet(blocks: int, settings: ClassifierSettings) -> SpikingClassifier:
    neurons = settings.neurons()
    channels = settings.channels(64, 128, 256)
    inputs = channels[0]
    stem = nn.Sequential(conv3x3(settings.frame_channels, inputs), neurons.norm(inputs))
    body: list[nn.Module] = [neurons.make(inputs)]
    for outputs, stride in zip(channels, (1, 2, 2), strict=True):
        for index in range(blocks):
            body.append(DormantSuppressedBlock(inputs, outputs, stride if index == 0 else 1, neurons))
            inputs = outputs
    return SpikingClassifier(stem, nn.Sequential(*body), inputs, settings, neurons)


@register
def resnet14_snn(settings: ClassifierSettings) -> SpikingClassifier:
    """DS-ResNet14: two blocks in each of three stages of 64, 128 and 256 channels (paper, Table 1)."""
    return _ds_resnet(2, settings)


@register
def resnet20_snn(settings: ClassifierSettings) -> SpikingClassifier:
    """DS-ResNet20: three blocks in each of three stages of 64, 128 and 256 channels (paper, Table 3)."""
    return _ds_resnet(3, settings)
