"""The model that is exported: its channels, its image size, and whether a file can hold it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from purespike.errors import InputError, brief
from purespike.models import Defended, Purifier
from purespike.models.calibration import natural_noise
from purespike.models.draws import drawing_part


def image_shape(model: nn.Module, size: int | Sequence[int] | None) -> tuple[int, int, int]:
    """Shape ``[C, H, W]`` of the images of ``model``.

    Args:
        model: images to logits, or to purified images.
        size: side of square images; height and width; or channels, height and width. ``None`` takes what the
            model itself says.

    Raises:
        InputError: an impossible size, or one that is not known.
    """
    own = next((each for part in model.modules() if (each := getattr(part, "image_size", None))), None)
    if size is None:
        size = own
    if size is None:
        raise InputError(
            "size: height and width of the images are needed, e.g. size=(32, 32), --size 32x32: the file is "
            "made for one size"
        )
    given = (size, size) if isinstance(size, int) else tuple(size)
    if len(given) not in (2, 3) or not all(type(side) is int and 0 < side <= 4096 for side in given):
        raise InputError(
            f"size: give height and width of 1 to 4096, or channels, height and width; got {brief(size)}"
        )
    channels = given[0] if len(given) == 3 else _channels(model)
    if channels is None:
        raise InputError("size: how many channels the model takes is not known; give size=(3, 32, 32)")
    return channels, given[-2], given[-1]


def _channels(model: nn.Module) -> int | None:
    """C of the images that a model takes, by what it or its first convolution says."""
    for part in model.modules():
        if isinstance(channels := getattr(part, "in_channels", None), int):
            return channels
    return None


def sample_images(shape: Sequence[int], count: int) -> Tensor:
    """``count`` synthetic images ``[count, *shape]`` in [0, 1], the same ones on every call."""
    channels, height, width = shape
    noise = natural_noise(count, channels, max(height, width, 8), seed=0)
    return noise[..., :height, :width].contiguous()


@torch.no_grad()
def check_deterministic(model: nn.Module, images: Tensor) -> None:
    """See that the answers of ``model`` do not depend on random numbers.

    Raises:
        InputError: they do; the message names the part that draws.
    """
    if part := drawing_part(model):
        raise stochastic(part)
    answers = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            torch.manual_seed(seed)
            answers.append(outputs_of(model, images))
    if not all(bool(value.isfinite().all()) for value in answers[0]):
        raise InputError(
            "the model answers NaN or infinity: there is nothing to compare an exported file with"
        )
    if not all(torch.equal(a, b) for a, b in zip(*answers, strict=True)):
        raise stochastic("it answers the same images differently")


def stochastic(why: str) -> InputError:
    """The error for a model that draws random numbers."""
    return InputError(
        f"a stochastic model cannot be exported ({why}): nobody could check that the file draws as it does"
    )


def outputs_of(model: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """The tensors that ``model`` returns for ``images``: logits, or those of a purifier.

    Raises:
        InputError: it returns something else.
    """
    outputs = model(images)
    parts = (outputs,) if isinstance(outputs, Tensor) else outputs
    if not isinstance(parts, tuple | list) or not all(isinstance(part, Tensor) for part in parts):
        raise InputError(
            f"{type(model).__name__}: returns {type(outputs).__name__}; wrap it in ps.Logits(model, take=…)"
        )
    return tuple(parts)


def output_names(model: nn.Module, count: int) -> list[str]:
    """Names of the outputs of a file."""
    if isinstance(model, Purifier) and count == 2:
        return ["purified", "noise_level"]
    return ["logits"] if count == 1 else [f"output_{number}" for number in range(count)]


def class_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the classes of ``model``, if it knows them."""
    while isinstance(model, Defended) and not hasattr(model, "class_names"):
        model = model.classifier
    return tuple(map(str, getattr(model, "class_names", ())))
