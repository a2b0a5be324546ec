"""Class means of the activations, by which channels are recalibrated (after CARENet)."""

import torch
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.models.predict import as_float
from purespike.modes import mode
from purespike.neurons import SpikingNeuron, spiking_neurons
from purespike.neurons.recalibration import channel_rates
from purespike.training.objectives.layers import recording
from purespike.training.objectives.registry import Projection, Stage, projection

# images of one forward, whose spikes are kept for all layers
TOGETHER = 100


@projection("care")
class Care(Projection):
    """Record the rates of all channels on clean training images of each class, after the last epoch.

    For ``classifier.care``; see :class:`~purespike.neurons.recalibration.Recalibration`. The training itself
    is the one without it, bit for bit.
    """

    def prepare(self, stage: Stage) -> None:
        if not any(each.recalibration is not None for each in spiking_neurons(stage.model)):
            raise InputError(
                f"{stage.name}.objective: care: the network recalibrates nothing; set classifier.care"
            )

    def finish(self, stage: Stage) -> None:
        means = class_means(stage.model, stage.data.images, stage.data.labels, stage.data.num_classes)
        for name, mean in means.items():
            neurons = stage.model.get_submodule(name)
            assert isinstance(neurons, SpikingNeuron) and neurons.recalibration is not None
            neurons.recalibration.means.copy_(mean)
            neurons.recalibration.known.fill_(True)

    def __call__(self, model: nn.Module) -> None:
        """Leave the parameters alone: the work comes after the last epoch."""


@torch.no_grad()
def class_means(model: nn.Module, images: Tensor, labels: Tensor, classes: int) -> dict[str, Tensor]:
    """Mean rate of each channel of each layer of neurons on the images of each class.

    Args:
        model: called in evaluation mode.
        images: uint8 ``[N, C, H, W]``.
        labels: classes, ``[N]``.
        classes: K.

    Returns:
        Name of the layer to ``[K, C]``, float64 on the CPU; 0 for a class without images.
    """
    totals: dict[str, Tensor] = {}
    device = next(model.parameters()).device
    with mode(model, training=False):
        for part, of in zip(images.split(TOGETHER), labels.cpu().split(TOGETHER), strict=True):
            with recording(model) as layers:
                model(as_float(part.to(device)))
            for layer in layers:
                rates = channel_rates(layer.spikes.float()).cpu().double()
                total = totals.setdefault(layer.name, rates.new_zeros(classes, rates.shape[1]))
                total.index_add_(0, of, rates)
    counts = torch.bincount(labels.cpu(), minlength=classes).clamp(min=1).double()
    return {name: total / counts[:, None] for name, total in totals.items()}
