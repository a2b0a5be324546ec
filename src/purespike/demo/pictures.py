"""Pictures between a page and a model: text of a browser to pixels that fit the model, and back."""

import base64
import binascii
import io
import re
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageChops, ImageOps
from torch import Tensor

from purespike.data.opening import open_image
from purespike.errors import InputError
from purespike.reading import MEBIBYTE, megabytes

LIMIT = 5 * MEBIBYTE
"""Largest picture in bytes."""
_DATA_URL = re.compile(r"data:image/[\w.+-]{1,40};base64,", re.ASCII)
# the least share of full range that counts as ink of a drawing
_INK = 0.2
EXTENT = 20 / 28
"""Share of the side that a digit fills where no images say otherwise: MNIST's."""


def read_data_url(text: str, place: str = "the image") -> Image.Image:
    """The picture of a ``data:image/…;base64,…`` text, upright, as grey (``L``) or colour (``RGB``).

    Transparent parts become white.

    Args:
        text: text that a browser sends.
        place: name of the picture in messages.

    Raises:
        InputError: another text, more than 5 MB, or as :func:`~purespike.data.opening.open_image` raises.
    """
    head = _DATA_URL.match(text)
    if head is None:
        raise InputError(f"{place}: must be the text data:image/png;base64,…, or of another image format")
    # before it is decoded: four characters hold three bytes
    if (size := (len(text) - head.end()) * 3 // 4) > LIMIT:
        raise InputError(f"{place}: has {megabytes(size)}; the limit is {megabytes(LIMIT)}, shrink it")
    try:
        content = base64.b64decode(text[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{place}: is not base64; send it again") from None
    picture: Image.Image = ImageOps.exif_transpose(open_image(content, place))
    if picture.mode in ("L", "1"):
        return picture.convert("L")
    if "A" in picture.getbands() or "transparency" in picture.info:
        full = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", full.size, "white"), full)
    return picture.convert("RGB")


def fit(picture: Image.Image, shape: Sequence[int], *, invert: bool = False) -> Tensor:
    """A picture as a model takes it: its middle, cut to the shape of the model's images and resized.

    Args:
        picture: grey or colour.
        shape: ``[C, H, W]`` with C 1 or 3.
        invert: whether dark becomes light, as for a digit in ink on paper.

    Returns:
        float32 ``[C, H, W]``, multiples of 1/255 in [0, 1].
    """
    channels, height, width = shape
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return _tensor(ImageChops.invert(picture) if invert else picture)


def fit_drawing(picture: Image.Image, shape: Sequence[int], *, extent: float = EXTENT) -> Tensor:
    """A drawing, light on dark, moved to the middle and scaled as the digits of data sets are.

    Args:
        picture: the drawing.
        shape: ``[C, H, W]`` with C 1 or 3.
        extent: share of the side that the drawing is to fill, in (0, 1].

    Returns:
        float32 ``[C, H, W]`` in [0, 1].

    Raises:
        InputError: nothing is drawn.
    """
    channels, height, width = shape
    grey = picture.convert("L")
    box = grey.point(lambda value: 255 * (value > _INK * 255)).getbbox()
    if box is None:
        raise InputError("the drawing: is empty; draw a digit first")
    ink = grey.crop(box)
    scale = extent * min(height, width) / max(ink.size)
    size = max(round(scale * ink.width), 1), max(round(scale * ink.height), 1)
    paper = Image.new("L", (width, height))
    middle = ((width - size[0]) // 2, (height - size[1]) // 2)
    paper.paste(ink.resize(size, Image.Resampling.LANCZOS), middle)
    return _tensor(paper).expand(channels, -1, -1).contiguous()


def extent_of(images: Tensor) -> float:
    """Mean share of the side that the ink of images fills: :func:`fit_drawing` then draws alike.

    Args:
        images: light on dark, ``[N, C, H, W]`` in [0, 1].
    """
    ink = images.amax(1) > _INK
    across = (ink.any(1).float().mean(1), ink.any(2).float().mean(1))
    share = torch.maximum(*across).mean().item()
    return share if 0.1 < share <= 1 else EXTENT


def data_url(image: Tensor) -> str:
    """An image as the text of a PNG that a page shows.

    Args:
        image: ``[C, H, W]`` with C 1 or 3; clipped to [0, 1] and rounded to 8 bits.
    """
    pixels = (image.detach().cpu().nan_to_num(nan=0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy().squeeze())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _tensor(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(picture)).float() / 255
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()
