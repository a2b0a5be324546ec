"""Opening of image files that others wrote: known formats, regular files, sizes that memory holds."""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from purespike.errors import InputError
from purespike.reading import check_unpacked, reading, regular_file

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
"""Formats that are decoded; others may start a program of their own, as EPS does."""
_MOST_PIXELS = 50_000_000


def open_image(file: Path | bytes, place: str, *, formats: tuple[str, ...] = FORMATS) -> "Image":
    """The decoded image of a file or of its content.

    Args:
        file: path of the file, or its bytes.
        place: name of the image in messages.
        formats: formats as Pillow calls them, whatever the suffix says.

    Raises:
        InputError: no regular file, another format, damaged, more than one frame, more than 8 bits a channel,
            more than 50 megapixels, or a small file that unpacks to far more.
    """
    from PIL import Image

    if isinstance(file, Path):
        regular_file(file)
    # Pillow's own limit is a warning, on whose printing nobody can rely; others concern what stands beside
    # the pixels, in lines that do not name the image
    with reading(place, "not a readable image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=formats)
        width, height = picture.size
        if width * height > _MOST_PIXELS:
            raise InputError(
                f"{place}: is {width}x{height}; the limit is {_MOST_PIXELS // 10**6} megapixels, shrink it"
            )
        packed = len(file) if isinstance(file, bytes) else file.stat().st_size
        check_unpacked(place, packed=packed, unpacked=width * height * len(picture.getbands()))
        # the further frames of a photograph (MPO) are previews of the first
        if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
            raise InputError(f"{place}: has {picture.n_frames} frames; give single images")  # type: ignore[attr-defined]
        # Pillow reads such colours with 8 bits, without a word
        deep = picture.mode.startswith(("I", "F")) or any(";16" in str(tile) for tile in _tiles(picture))
        if deep and picture.format != "BMP":
            raise InputError(
                f"{place}: has more than 8 bits a channel (mode {picture.mode}); convert it to 8 bits"
            )
        picture.load()
        # kept by Pillow: its warnings come with the first reading
        picture.getexif()
        return picture


def _tiles(picture: "Image") -> list[object]:
    return [tile[3] for tile in getattr(picture, "tile", ())]
