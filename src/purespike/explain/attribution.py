"""Attribution of a classifier's decisions to pixels: Grad-CAM, and the similarity of two maps."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from purespike.checks import check_labels
from purespike.errors import InputError
from purespike.importing import optional
from purespike.models import Defended, SpikingClassifier
from purespike.models.fit import check_fit
from purespike.models.guard import guarded
from purespike.modes import mode


def grad_cam(model: nn.Module, images: Tensor, labels: Tensor, *, layer: nn.Module | None = None) -> Tensor:
    r"""Grad-CAM (Selvaraju et al. 2017): evidence of each pixel for a class.

    .. math:: L = \mathrm{ReLU}\Big(\frac{1}{T} \sum_t \sum_c \alpha_c[t]\, A_c[t]\Big), \quad
        \alpha_c[t] = \frac{1}{hw} \sum_{i,j} \frac{\partial y}{\partial A_c[t]_{ij}}

    A are the layer's outputs, y the logit of the image's label. L is enlarged bilinearly to the image and
    divided by its maximum. Computed by captum's ``LayerGradCam`` in evaluation mode; the model's mode and its
    parameters' gradients stay as they are.

    Args:
        model: images to logits. Of a :class:`~purespike.models.Defended` only the classifier is explained, on
            ``images`` as they are: to explain the defended model, give its purified images.
        images: ``[N, C, H, W]``, floats in [0, 1], or slightly outside after a purifier.
        labels: class to explain per image, ``[N]``; usually the predicted one.
        layer: a module of the classifier with outputs ``[N, c, h, w]``, or ``[T·N, c, h, w]`` with time
            outermost. By default the spikes of our classifiers' last stage, where the gradient is exact,
            whatever the surrogate; of any other model the convolution registered last.

    Returns:
        ``[N, H, W]`` in [0, 1], each with maximum 1, or zero without evidence for the class.

    Raises:
        InputError: captum is missing; images, labels or layer do not fit the model; a model without
            convolution; a layer that does not run, or on which no logit depends.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        raise InputError("images: expected a tensor of floats [N, C, H, W]")
    labels = check_labels(labels, count=len(images)).to(images.device)
    while isinstance(model, Defended):
        model = model.classifier
    layer = _last_stage(model) if layer is None else layer
    if not any(layer is module for module in model.modules()):
        raise InputError("layer: is not a module of the classifier")
    if not len(images):
        return images.new_zeros(0, *images.shape[2:])
    check_fit(model, images[:1], labels)
    maps = _over_time(_attribute(model, images, labels, layer), len(images)).relu()
    maps = functional.interpolate(maps, images.shape[2:], mode="bilinear").squeeze(1)
    peaks = maps.amax((1, 2), keepdim=True)
    return maps / peaks.where(peaks != 0, 1)


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between two maps: the similarity of two attributions.

    Args:
        a: maps ``[N, H, W]``, such as those of clean images.
        b: maps of the same shape, such as those of the same images under attack.

    Returns:
        ``[N]`` in [-1, 1], and in [0, 1] for maps without negative values; 0 where a map is zero.

    Raises:
        InputError: not two tensors of floats ``[N, H, W]``.

    Example:
        >>> similarity(torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[3.0, 4.0]]]))
        tensor([0.6000])
    """
    for name, maps in (("a", a), ("b", b)):
        if not isinstance(maps, Tensor) or maps.ndim != 3 or not maps.is_floating_point():
            raise InputError(f"{name}: expected a tensor of float maps [N, H, W]")
    if a.shape != b.shape:
        raise InputError(f"maps: need the same shape, got {list(a.shape)} and {list(b.shape)}")
    return functional.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1)


def _last_stage(model: nn.Module) -> nn.Module:
    ours = [module for module in model.modules() if isinstance(module, SpikingClassifier)]
    if ours:
        return ours[-1].body
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise InputError("model: has no convolution (nn.Conv2d); name the layer to explain with layer=")
    return convolutions[-1]


def _attribute(model: nn.Module, images: Tensor, labels: Tensor, layer: nn.Module) -> Tensor:
    grad_cam_of = optional("captum.attr", "Grad-CAM").LayerGradCam
    # neither a caller's inference mode nor its graph reaches inside
    with guarded(model), mode(model, training=False), torch.inference_mode(False):
        try:
            maps = grad_cam_of(model, layer).attribute(images.detach().clone(), labels)
        except torch.OutOfMemoryError:
            raise
        # captum's assertion: the layer never ran; autograd's error: its output leads to no logit
        except (AssertionError, RuntimeError) as error:
            detail = " ".join(str(error).split())[:200]
            raise InputError(f"layer: no gradient of the logits reaches it: {detail}") from error
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise InputError("layer: must give one tensor of feature maps [N, c, h, w] or [T·N, c, h, w]")
    # half precision would show steps once enlarged
    return maps.detach().to(torch.promote_types(maps.dtype, torch.float32))


def _over_time(maps: Tensor, images: int) -> Tensor:
    """Mean over time where it is folded into the batch, ``[T·N, 1, h, w]`` to ``[N, 1, h, w]``."""
    if len(maps) % images:
        raise InputError(f"layer: gives {len(maps)} feature maps for {images} images; need N or T·N of them")
    return maps.unflatten(0, (-1, images)).mean(0)
