"""Temporal information: how much each time step tells about the weights (Kim et al., AAAI 2023)."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from purespike.checks import check_labels
from purespike.errors import InputError
from purespike.models import Defended, SpikingClassifier
from purespike.models.fit import check_fit
from purespike.models.guard import guarded
from purespike.modes import mode
from purespike.neurons import spiking_neurons
from purespike.seeding import seeded


@dataclass(frozen=True)
class TemporalInformation:
    """Result of :func:`temporal_information`.

    Args:
        values: I_t of the steps 1 to T.
        images: number of images.
    """

    values: tuple[float, ...]
    images: int

    @property
    def centroid(self) -> float:
        r""":math:`\sum_t t\,I_t / \sum_t I_t`, from 1 to T; NaN where all of I_t is 0."""
        total = math.fsum(self.values)
        weighted = math.fsum(t * value for t, value in enumerate(self.values, 1))
        return weighted / total if total else math.nan

    def __str__(self) -> str:
        values = ", ".join(f"{value:.4g}" for value in self.values)
        return f"Fisher trace by time step {values}; centroid {self.centroid:.2f} of {len(self.values)}"


def temporal_information(
    model: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0
) -> TemporalInformation:
    r"""Trace of the Fisher information of the weights, of the network stopped after each time step.

    .. math:: I_t = \frac{1}{N} \sum_n \| \nabla_\theta \log f_\theta(y_n \mid x_{n, \le t}) \|^2

    f is the softmax of the mean of the logits up to step t, θ are all parameters of the classifier, which is
    in evaluation mode. Kim et al. (AAAI 2023) find that I_t moves to early steps as training goes on. It is
    a description of a network, not of its robustness.

    Gradients are those of single images. The authors' code squares the gradient of a batch's mean loss, which
    underestimates by up to the size of the batch, and divides the sum of the logits up to step t by T, which
    softens early predictions. Gradients pass spikes by the surrogate, so I_t depends on it.

    Costs a forward, and T backwards, of each image; without labels T·K. A few hundred images are enough.

    Args:
        model: one of our classifiers. Of a :class:`~purespike.models.Defended` only the classifier is
            measured, on ``images`` as they are.
        images: ``[N, C, H, W]``, floats in [0, 1], or slightly outside after a purifier.
        labels: true classes, ``[N]``, for the empirical Fisher information; without them the expectation over
            the classes that f predicts, the Fisher information proper.
        seed: seed of a stochastic model's draws.

    Raises:
        InputError: images or labels do not fit, no images, or the model is none of our classifiers or
            recalibrates channels.
    """
    while isinstance(model, Defended):
        model = model.classifier
    if not isinstance(model, SpikingClassifier):
        raise InputError(
            f"temporal information needs the logits of each time step, which {type(model).__name__} does not "
            "give: take one of purespike's classifiers"
        )
    scaled = (neurons.recalibration for neurons in spiking_neurons(model))
    if any(each is not None and each.known for each in scaled):
        raise InputError(
            "temporal information: channels are recalibrated (care) by their rates over all time steps, so "
            "that no network that stops earlier gives what its steps give"
        )
    floats = isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point()
    if not floats or not len(images):
        raise InputError("images: expected a tensor of floats [N, C, H, W] with at least one image")
    given = torch.zeros(len(images), dtype=torch.long) if labels is None else labels
    given = check_labels(given, count=len(images)).to(images.device)
    check_fit(model, images[:1], given)
    with (
        guarded(model),
        mode(model, training=False),
        torch.inference_mode(False),
        torch.enable_grad(),
        _learning(model),
        seeded(seed, "temporal information", device=images.device),
    ):
        pairs = zip(images.detach().clone(), given.tolist(), strict=True)
        traces = [_traces(model, image, None if labels is None else label) for image, label in pairs]
    means = [math.fsum(step) / len(images) for step in zip(*traces, strict=True)]
    return TemporalInformation(tuple(means), len(images))


def _traces(model: SpikingClassifier, image: Tensor, label: int | None) -> list[float]:
    """Squared norm of the gradient of one image after each step."""
    logs = model.cuts(model.features(image[None])).squeeze(1).log_softmax(1)
    parameters = list(model.parameters())
    traces = []
    for step in logs:
        classes = range(len(step)) if label is None else (label,)
        trace = 0.0
        for each in classes:
            share = 1.0 if label is not None else step[each].exp().item()
            found = torch.autograd.grad(step[each], parameters, retain_graph=True, allow_unused=True)
            trace += share * sum(float(part.double().square().sum()) for part in found if part is not None)
        traces.append(trace)
    return traces


@contextlib.contextmanager
def _learning(model: nn.Module) -> Iterator[None]:
    """All parameters require gradients inside, also those of a frozen model."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
