"""Training under Gaussian noise: of a classifier, and of a purifier that denoises for a frozen classifier."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from torch import Tensor
from torch.nn import functional

from purespike.attacks.objective import frozen_eval
from purespike.errors import InputError
from purespike.scalars import parse_number
from purespike.training.objectives.batch import Batch, Step, count_correct
from purespike.training.objectives.registry import Objective, objective


def _range(value: Any) -> tuple[float, ...]:
    ends = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    return tuple(parse_number(end, name="sigma", example="0.25") for end in ends)


def _ordered(ends: tuple[float, ...]) -> tuple[float, ...]:
    if len(ends) not in (1, 2) or not 0 <= ends[0] <= ends[-1] <= 10 or not ends[-1]:
        raise InputError(
            "sigma: give a positive number up to 10 in pixel units (1 = full range), or a range [low, high] "
            "from which each image draws its own"
        )
    return ends


Sigma = Annotated[tuple[float, ...], BeforeValidator(_range), AfterValidator(_ordered)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def draw_sigma(images: Tensor, sigma: Sequence[float]) -> Tensor:
    """A standard deviation for each image, ``[N, 1, 1, 1]``: the one given, or uniform between the two."""
    low, high = sigma[0], sigma[-1]
    return low + (high - low) * torch.rand((len(images), 1, 1, 1), dtype=images.dtype, device=images.device)


@objective("noise")
def noise(batch: Batch, *, sigma: Sigma = (0.25,)) -> Step:
    r"""The criterion on images under Gaussian noise, not clipped (Cohen et al. 2019, section 3.3).

    It makes a classifier that can be smoothed without a denoiser: the control of denoised smoothing.

    .. math:: L(f(x + \varepsilon), y), \quad \varepsilon \sim N(0, \sigma^2 I)

    Args:
        batch: the batch.
        sigma: standard deviation in pixel units, or a range ``[low, high]``, of which each image draws one.
    """
    images = batch.images
    (view,) = batch.forward(images + draw_sigma(images, sigma) * torch.randn_like(images))
    right = {"noisy_accuracy": count_correct(view.logits, batch.labels)}
    return Step(batch.criterion(view.logits, batch.labels), right)


@objective("denoise", stage="purifier")
class Denoise(Objective):
    r"""A purifier as the denoiser of a smoothed frozen classifier (Salman et al. 2020, arXiv 2003.01908).

    A share of the training minimises the pixel loss, the rest that of the classifier f behind the purifier D:

    .. math:: \|D(x + \varepsilon) - x\|_2^2, \quad\text{then}\quad
        CE(f(D(x + \varepsilon)), \arg\max f(x)) \text{ or } CE(f(D(x + \varepsilon)), y)

    The noise is added to the clean images and not clipped, as certification does it. The estimator is
    supervised with the σ of each image as a constant map. Adversarial images are not used.

    Args:
        sigma: standard deviation in pixel units, or a range ``[low, high]``, of which each image draws one.
        loss: ``"pixel"``; ``"stability"``, which needs no labels; or ``"labels"``.
        pixel_share: share of the training that the pixel loss alone has, before ``loss`` follows.
        noise_weight: weight of the mean squared error of the estimated noise level.
    """

    crafted = False
    """Whether it needs adversarial images."""

    def __init__(
        self,
        *,
        sigma: Sigma = (0.25,),
        loss: Literal["pixel", "stability", "labels"] = "pixel",
        pixel_share: Annotated[float, Field(ge=0, le=1)] = 0.5,
        noise_weight: Weight = 0.1,
    ) -> None:
        self.sigma, self.loss, self.pixel_share = sigma, loss, pixel_share
        self.noise_weight = noise_weight

    def __call__(self, batch: Batch) -> Step:
        clean = batch.clean
        sigma = draw_sigma(clean, self.sigma)
        (view,) = batch.forward(clean + sigma * torch.randn_like(clean))
        images, level = view.outputs
        pixel = (images - clean).square().mean()
        estimate = (level - sigma).square().mean()
        terms = {"pixel": pixel.detach(), "noise_map": estimate.detach()}
        total = self.noise_weight * estimate
        if self.loss == "pixel" or batch.progress < self.pixel_share:
            return Step(total + pixel, terms=terms)
        labels = batch.labels if self.loss == "labels" else answers(batch).argmax(1)
        logits = view.logits
        # in half precision a small loss is rounding noise
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        found = functional.cross_entropy(logits, labels)
        right = {"noisy_accuracy": count_correct(logits, batch.labels)}
        return Step(total + found, right, terms | {self.loss: found.detach()})


def answers(batch: Batch) -> Tensor:
    """What the frozen classifier says about the clean images: logits ``[N, K]``, without gradients."""
    assert batch.classifier is not None
    with frozen_eval(batch.classifier), torch.no_grad():
        return batch.classifier(batch.clean)
