"""VGG11-SNN, the plain network that SNN-RAT and most of its successors are measured on."""

from torch import nn

from purespike.models.classifier import ClassifierSettings, SpikingClassifier
from purespike.models.layers import Layers, NeuronConfig, draw_weights
from purespike.models.registry import register

MAP = 4
"""Height and width of the maps that the linear layers take: those of 32×32 images after three poolings."""


@register
def vgg11_snn(settings: ClassifierSettings) -> SpikingClassifier:
    """VGG11-SNN of SNN-RAT (Ding et al. 2022): eight convolutions and three linear layers, 61.4 M parameters.

    Convolutions of 64 | 128, 256 | 512, 512, 512 | 512, 512 channels with batch norms, an average pooling
    after each of the first three groups, two hidden linear layers of 4,096 neurons, without norms; all with
    biases. An adaptive average pooling to 4×4 in front of them, which leaves 32×32 images as they are, takes
    images of any size; smaller maps are repeated.

    The hidden linear layers are drawn as convolutions are (He et al. 2015, fan in), scaled to the first
    threshold: with PyTorch's own smaller weights deep neurons hardly fire at few time steps.
    """
    neurons = settings.neurons()
    groups = [settings.channels(*group) for group in ((64,), (128, 256), (512, 512, 512), (512, 512))]
    (first,), *others = groups
    stem = nn.Sequential(_conv(settings.frame_channels, first), neurons.norm(first))
    body: list[nn.Module] = [neurons.make(first)]
    inputs = first
    for group in others:
        # the last window of an odd size is smaller, and of a single pixel the pixel
        body.append(nn.AvgPool2d(2, ceil_mode=True))
        for outputs in group:
            body += [_conv(inputs, outputs), neurons.norm(outputs), neurons.make(outputs)]
            inputs = outputs
    (hidden,) = settings.channels(4096)
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(MAP),
        nn.Flatten(),
        _linear(inputs * MAP**2, hidden, neurons),
        neurons.make(hidden),
        _linear(hidden, hidden, neurons),
        neurons.make(hidden),
    )
    return SpikingClassifier(stem, Layers(*body), hidden, settings, neurons, head)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _linear(inputs: int, outputs: int, neurons: NeuronConfig) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    draw_weights(layer, mode="fan_in")
    layer.weight.data.mul_(neurons.dynamics.thresholds[0])
    return layer
