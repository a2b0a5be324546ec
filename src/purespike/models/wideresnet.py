"""WideResNets (Zagoruyko & Komodakis 2016) with neurons for activations."""

from purespike.models.classifier import ClassifierSettings, SpikingClassifier
from purespike.models.layers import ConvexPair, conv3x3
from purespike.models.registry import register
from purespike.models.senet import Join, preactivation_body


def _wideresnet16(factor: int, settings: ClassifierSettings, join: Join | None = None) -> SpikingClassifier:
    neurons = settings.neurons()
    first, *channels = settings.channels(16, *(factor * count for count in (16, 32, 64)))
    stages = list(zip(channels, (2, 2, 2), (1, 2, 2), strict=True))
    body = preactivation_body(first, stages, neurons, join=join)
    return SpikingClassifier(conv3x3(settings.frame_channels, first), body, channels[-1], settings, neurons)


@register
def wideresnet16_8_snn(settings: ClassifierSettings) -> SpikingClassifier:
    """WideResNet16-8-SNN: two pre-activation blocks in each of three stages of 128 to 512 channels."""
    return _wideresnet16(8, settings)


@register
def wideresnet16_4_snn(settings: ClassifierSettings) -> SpikingClassifier:
    """WideResNet16-4-SNN of SNN-RAT (Ding et al. 2022): stages of 64, 128 and 256 channels, convex shortcuts.

    Residual and shortcut are joined by a learnable pair of weights, which the projection ``convex`` keeps on
    the simplex. The batch norms start at the first threshold, as everywhere here; the authors' start at 1
    with threshold 1.
    """
    return _wideresnet16(4, settings, lambda _: ConvexPair())
