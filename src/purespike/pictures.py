"""Purification of image files; size, mode and format stay the same."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn

from purespike.errors import InputError
from purespike.files import replacing
from purespike.models import Defended
from purespike.progress import bar

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
# modes whose pixels are 8-bit grey or colour, perhaps with transparency, which is passed through
_MODES = {"L": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB", "P": "RGB", "1": "L"}


def purify_files(model: nn.Module, source: Path, target: Path, *, device: torch.device | str = "cpu") -> int:
    """Purify one image file into ``target``, or every image of a folder tree into the same tree there.

    Every file is read and checked before the first is written. A grey image before a purifier for colour
    is purified as grey colour; an image with transparency keeps it.

    Args:
        model: a ``Purifier``, a ``Defended``, or any module from images to images.
        source: an image file, or a folder.
        target: a file if ``source`` is one, else a folder; made if missing.
        device: device of the model.

    Returns:
        Number of files written.

    Raises:
        InputError: nothing to read, an unreadable or unsupported image, colour before a purifier for grey,
            or a target that is the source.
    """
    purifier = (model.purifier if isinstance(model, Defended) else model).to(device).eval()
    channels = getattr(purifier, "in_channels", 3)
    pairs = list(_pairs(source, target))
    for path, _ in pairs:
        _tensor(_open(path), channels, path)
    with bar("purifying", len(pairs), unit="files") as progress:
        for path, destination in pairs:
            picture = _open(path)
            purified = _purify(purifier, _tensor(picture, channels, path).to(device)).cpu()
            with replacing(destination) as temporary:
                _picture(purified, picture).save(temporary, format=picture.format, **_options(picture))
            progress.advance(1, "{}", path.name)
    return len(pairs)


@torch.inference_mode()
def _purify(purifier: nn.Module, image: Tensor) -> Tensor:
    purified = purifier(image[None])
    images = purified if isinstance(purified, Tensor) else getattr(purified, "images", None)
    if not isinstance(images, Tensor) or images.shape != image[None].shape:
        raise InputError("purify: the model does not map images [N, C, H, W] to images of the same shape")
    return images[0].clamp(0, 1)


def _pairs(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    if source.is_file():
        destination = target / source.name if target.is_dir() else target
        if destination.suffix.lower() != source.suffix.lower():
            raise InputError(f"{destination}: the format stays {source.suffix}; use this suffix")
        if destination.exists() and destination.samefile(source):
            raise InputError(f"{destination}: is the input itself; name another file")
        yield source, destination
    elif source.is_dir():
        if target.is_file() or target.resolve().is_relative_to(source.resolve()):
            raise InputError(f"{target}: must be a folder outside {source}")
        paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise InputError(f"{source}: holds no images ({', '.join(SUFFIXES)})")
        for path in paths:
            yield path, target / path.relative_to(source)
    else:
        raise InputError(f"{source}: no such file or folder")


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{path}: not a readable image ({' '.join(str(error).split())})") from error
    if picture.mode not in _MODES:
        raise InputError(f"{path}: mode {picture.mode} is not 8-bit grey or colour; convert it first")
    if "transparency" in picture.info:
        raise InputError(f"{path}: has a transparent colour; convert it to RGBA first")
    if getattr(picture, "n_frames", 1) > 1:
        raise InputError(f"{path}: has {picture.n_frames} frames; give single images")  # type: ignore[attr-defined]
    return picture


def _tensor(picture: Image.Image, channels: int, path: Path) -> Tensor:
    base = _MODES[picture.mode]
    if channels == 1 and base == "RGB":
        raise InputError(f"{path}: is a colour image, but the purifier takes grey ones (1 channel)")
    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    tensor = torch.from_numpy(pixels.copy()).float() / 255
    return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def _picture(image: Tensor, original: Image.Image) -> Image.Image:
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    if original.mode in ("LA", "RGBA"):
        picture = picture.convert(original.mode)
        picture.putalpha(original.getchannel("A"))
        return picture
    if original.mode == "P":
        # convert() would dither to a fixed palette
        return picture.quantize(256, dither=Image.Dither.NONE)
    return picture.convert(original.mode)


def _options(picture: Image.Image) -> dict[str, object]:
    # compression must not lose detail after purification
    known: dict[str | None, dict[str, object]] = {
        "JPEG": {"quality": 95},
        "WEBP": {"lossless": True, "exact": True},
    }
    # the orientation of a photograph is stored beside its pixels
    kept = {key: picture.info[key] for key in ("exif", "icc_profile") if picture.info.get(key)}
    return {**known.get(picture.format, {}), **kept}
