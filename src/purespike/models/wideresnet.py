"""WideResNet16-8-SNN (Zagoruyko & Komodakis 2016, with neurons for activations)."""

from purespike.models.classifier import ClassifierSettings, SpikingClassifier
from purespike.models.layers import conv3x3
from purespike.models.registry import register
from purespike.models.senet import preactivation_body


@register
def wideresnet16_8_snn(settings: ClassifierSettings) -> SpikingClassifier:
    """WideResNet16-8-SNN: two pre-activation blocks in each of three stages of 128 to 512 channels."""
    neurons = settings.neurons()
    first, *channels = settings.channels(16, 128, 256, 512)
    stages = list(zip(channels, (2, 2, 2), (1, 2, 2), strict=True))
    body = preactivation_body(first, stages, neurons, gated=False)
    return SpikingClassifier(conv3x3(settings.frame_channels, first), body, channels[-1], settings, neurons)
