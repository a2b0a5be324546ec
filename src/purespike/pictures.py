"""Purification of image files; size, mode and format stay the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from purespike.data.opening import open_image
from purespike.errors import InputError
from purespike.files import replacing
from purespike.models import Defended, Purifier
from purespike.models.guard import ModelFailure, guarded
from purespike.progress import bar

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
# modes whose pixels are 8-bit grey or colour, perhaps with transparency, which is passed through
_MODES = {"L": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB", "P": "RGB", "1": "L"}
# a large image is purified in tiles, so that memory does not grow with it; a pixel of a Purifier depends
# on no pixel beyond the margin, and tiles begin where its pooling does, so that no seam can be seen
_TILE, _MARGIN = 512, 64
_UPRIGHT = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_LEFT_RIGHT),
    3: (Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_180),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_TOP_BOTTOM),
    5: (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSPOSE),
    6: (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_90),
    7: (Image.Transpose.TRANSVERSE, Image.Transpose.TRANSVERSE),
    8: (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270),
}
"""EXIF orientations, each with the turn that sets an image upright, and the one back."""


def purify_files(
    model: nn.Module,
    source: Path,
    target: Path,
    *,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Purify one image file into ``target``, or every image of a folder tree into the same tree there.

    Every file is read and checked before the first is written. A grey image before a purifier for colour
    is purified as grey colour; an image with transparency keeps it; a photograph is purified upright, and
    stored as it was. Of a folder, hidden files and what is no image of a known format stay behind.

    Args:
        model: a ``Purifier``, a ``Defended``, or any module from images to images.
        source: an image file, or a folder.
        target: a file if ``source`` is one, else a folder; made if missing.
        device: device of the model.
        say: function that is told which files of a folder were left out.

    Returns:
        Number of files written.

    Raises:
        InputError: nothing to read, an unreadable, unsupported or too large image, colour before a purifier
            for grey, a purifier that fails, or a target that is the source.
    """
    purifier = (model.purifier if isinstance(model, Defended) else model).to(device).eval()
    channels = getattr(purifier, "in_channels", 3)
    pairs, others = _pairs(source, target)
    for path, _ in pairs:
        _tensor(_open(path), channels, path)
    with guarded(purifier, "the purifier"), bar("purifying", len(pairs), unit="files") as progress:
        for path, destination in pairs:
            picture = _open(path)
            try:
                purified = _purify(purifier, _tensor(picture, channels, path), device)
            except ModelFailure as error:
                raise InputError(f"{path}: cannot be purified ({error})") from error
            with replacing(destination) as temporary:
                _picture(purified, picture).save(temporary, format=picture.format, **_options(picture))
            progress.advance(1, "{}", path.name)
    if others:
        names = ", ".join(str(path.relative_to(source)) for path in others[:5])
        more = f", … {len(others)} in all" if len(others) > 5 else ""
        say(f"left out, not {', '.join(SUFFIXES)}: {names}{more}")
    return len(pairs)


@torch.inference_mode()
def _purify(purifier: nn.Module, image: Tensor, device: torch.device | str) -> Tensor:
    """The purified image ``[C, H, W]`` on the CPU, clipped to [0, 1]."""
    if not isinstance(purifier, Purifier):
        return _one(purifier, image.to(device)).cpu()
    purified = torch.empty_like(image)
    for top in range(0, image.shape[1], _TILE):
        for left in range(0, image.shape[2], _TILE):
            above, before = min(top, _MARGIN), min(left, _MARGIN)
            part = image[:, top - above : top + _TILE + _MARGIN, left - before : left + _TILE + _MARGIN]
            tile = _one(purifier, part.to(device))[:, above : above + _TILE, before : before + _TILE]
            purified[:, top : top + _TILE, left : left + _TILE] = tile.cpu()
    return purified


def _one(purifier: nn.Module, image: Tensor) -> Tensor:
    try:
        purified = purifier(image[None])
    except SystemExit as leaving:
        raise InputError(f"purify: the model calls sys.exit({leaving.code!r})") from leaving
    images = purified if isinstance(purified, Tensor) else getattr(purified, "images", None)
    if not isinstance(images, Tensor) or images.shape != image[None].shape:
        raise InputError("purify: the model does not map images [N, C, H, W] to images of the same shape")
    if not images.is_floating_point() or not bool(images.isfinite().all()):
        raise InputError("purify: the model returns NaN, infinity or whole numbers, not images in [0, 1]")
    return images[0].clamp(0, 1)


def _pairs(source: Path, target: Path) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Images with their destinations, and the other files of a folder that are not hidden."""
    if source.is_dir():
        if target.is_file() or target.resolve().is_relative_to(source.resolve()):
            raise InputError(f"{target}: must be a folder outside {source}")
        seen = [
            path
            for path in sorted(source.rglob("*"))
            if not path.is_dir() and not any(part[0] == "." for part in path.relative_to(source).parts)
        ]
        # a link to nothing and a pipe are no files
        paths = [path for path in seen if path.suffix.lower() in SUFFIXES and path.is_file()]
        if not paths:
            raise InputError(f"{source}: holds no images ({', '.join(SUFFIXES)})")
        return [(path, target / path.relative_to(source)) for path in paths], sorted({*seen} - {*paths})
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    destination = target / source.name if target.is_dir() else target
    if destination.suffix.lower() != source.suffix.lower():
        raise InputError(f"{destination}: the format stays {source.suffix}; use this suffix")
    if destination.exists() and destination.samefile(source):
        raise InputError(f"{destination}: is the input itself; name another file")
    return [(source, destination)], []


def _open(path: Path) -> Image.Image:
    picture = open_image(path, str(path))
    if picture.mode not in _MODES:
        raise InputError(f"{path}: mode {picture.mode} is not 8-bit grey or colour; convert it first")
    if "transparency" in picture.info:
        raise InputError(f"{path}: has a transparent colour; convert it to RGBA first")
    return picture


def _turn(picture: Image.Image) -> tuple[Image.Transpose, Image.Transpose] | None:
    return _UPRIGHT.get(picture.getexif().get(0x0112, 1))


def _tensor(picture: Image.Image, channels: int, path: Path) -> Tensor:
    base = _MODES[picture.mode]
    if channels == 1 and base == "RGB":
        raise InputError(f"{path}: is a colour image, but the purifier takes grey ones (1 channel)")
    image = picture.convert("L" if channels == 1 else "RGB")
    turn = _turn(picture)
    pixels = np.asarray(image if turn is None else image.transpose(turn[0]))
    tensor = torch.from_numpy(pixels.copy()).float() / 255
    return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def _picture(image: Tensor, original: Image.Image) -> Image.Image:
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    if (turn := _turn(original)) is not None:
        picture = picture.transpose(turn[1])
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
        "MPO": {"quality": 95},
        "WEBP": {"lossless": True, "exact": True},
    }
    # the orientation of a photograph is stored beside its pixels
    kept = {key: picture.info[key] for key in ("exif", "icc_profile") if picture.info.get(key)}
    return {**known.get(picture.format, {}), **kept}
