"""One function for all formats; the suffix of the file chooses."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from purespike.checks import as_float, as_tensor, check_images
from purespike.data import ImageSet
from purespike.errors import InputError
from purespike.exporting.exported import Exported
from purespike.exporting.subject import image_shape, sample_images
from purespike.exporting.to_nir import export_nir
from purespike.exporting.to_onnx import BATCHES, export_onnx
from purespike.files import as_path
from purespike.models.adapters import as_module
from purespike.models.guard import check_values
from purespike.neurons.compiled import expecting

FORMATS: dict[str, Callable[[nn.Module, Path, Tensor], Exported]] = {
    ".onnx": export_onnx,
    ".nir": export_nir,
}
"""Writers by the suffix of the file."""


def export(
    model: nn.Module | Callable[[Tensor], Any],
    path: str | Path,
    *,
    size: int | Sequence[int] | None = None,
    images: ImageSet | Tensor | None = None,
) -> Exported:
    """Write ``model`` for other tools: ``.onnx``, or ``.nir`` for neuromorphic ones.

    The file is run by another program, onnxruntime or nirtorch, on the same images as the model, and is moved
    into place only if the two agree. An earlier file stays as it is if anything goes wrong.

    Args:
        model: images ``[N, C, H, W]`` in [0, 1] to logits; in ONNX also a purifier, whose outputs are
            purified images and noise level. NIR holds single classifiers.
        path: path of the file; its suffix names the format.
        size: side of the images, or height and width, or channels, height and width. Not needed with
            ``images``, or for a model of one size.
        images: images to check on, at least one, by default synthetic ones.

    Returns:
        What was written and how it was checked; print it.

    Raises:
        InputError: another suffix; a missing extra; a model that the format cannot express, with the layer's
            name; a stochastic model; or a file that gives other outputs than the model.

    Example::

        print(ps.export(ps.load("runs/mine"), "mine.onnx", size=(32, 32)))
    """
    path = as_path(path, name="export")
    check_path(path)
    network = as_module(model)
    check_values(network)
    if type(network).__name__ == "Rejecting":
        raise InputError(
            "Rejecting: a file has no place for the decision to reject; export its model alone (.model)"
        )
    shown = _shown(network, size, images)
    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    # ten images are not worth compiled kernels
    with expecting(0):
        return FORMATS[path.suffix.lower()](network, path, shown.to(device))


def check_path(path: Path) -> None:
    """Check that ``path`` names a format, and no folder.

    Raises:
        InputError: another suffix, or a folder.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: the suffix names the format, {' or '.join(FORMATS)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")


def _shown(network: nn.Module, size: int | Sequence[int] | None, images: ImageSet | Tensor | None) -> Tensor:
    """As many images as all batches of the check take, ``[N, C, H, W]``.

    Raises:
        InputError: no images, of a wrong shape, or of another size than given.
    """
    count = sum(BATCHES)
    if images is None:
        return sample_images(image_shape(network, size), count)
    if isinstance(images, ImageSet):
        given = images.to_float()
    else:
        # what is no tensor is told by the check
        tensor = as_tensor(images)
        given = check_images(as_float(tensor) if isinstance(tensor, Tensor) else tensor)
    if not len(given):
        raise InputError("images: none to check the file on")
    if size is not None and (wanted := image_shape(network, size)) != tuple(given.shape[1:]):
        raise InputError(f"size: {list(wanted)}, but the images are {list(given.shape[1:])}")
    rows = torch.arange(count) % len(given)
    return given.detach()[rows.to(given.device)].float()
