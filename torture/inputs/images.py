"""Images of every mode and format, damaged ones, and files that are none, given to ``purify``."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from torture.inputs.made import Input, Oracle, flipped, truncated
from torture.scenes import Desk

# modes, and the suffixes of the formats that can hold them
MODES: dict[str, tuple[str, Oracle]] = {
    "1": ("png tif bmp", "good"),
    "L": ("png jpg bmp tif webp", "good"),
    "LA": ("png tif", "good"),
    "P": ("png bmp tif", "good"),
    "RGB": ("png jpg bmp tif webp", "good"),
    "RGBA": ("png webp tif", "good"),
    "RGBX": ("tif", "may pass"),
    "CMYK": ("jpg tif", "bad"),
    "YCbCr": ("tif", "bad"),
    "LAB": ("tif", "bad"),
    "I": ("png tif", "bad"),
    "I;16": ("png tif", "bad"),
    "F": ("tif", "bad"),
    "PA": ("png", "may pass"),
}
FOREIGN = ("GIF", "ICO", "PPM", "EPS", "PDF", "TGA", "PCX", "SGI")
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "text": b"Dear reader",
    "zeros": bytes(10_000),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n%%EOF\n",
    "PPM header": b"P6 60000 60000 255\n",
    "pickle": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.",
}


def generate() -> Iterator[Input]:
    """Every image, before the purifier of the finished run."""
    for mode, (suffixes, oracle) in MODES.items():
        for suffix in suffixes.split():
            yield Input(f"mode {mode} {suffix}", oracle, partial(_mode, mode, suffix))
    for suffix in ("png", "jpg", "bmp", "webp", "tif"):
        for _ in range(3):
            yield Input(f"truncated {suffix}", "may pass", partial(_damaged, truncated, suffix))
            yield Input(f"flipped {suffix}", "may pass", partial(_damaged, flipped, suffix))
    for kind in FOREIGN:
        yield Input(f"{kind} called png", "bad", partial(_saved, kind))
    for name, content in CONTENTS.items():
        yield Input(name, "bad", partial(_content, content))
    for size in ((50_000, 50_000), (2**31 - 1, 1), (9_000, 9_000), (0, 5), (7_000, 7_000)):
        yield Input(f"header of {size[0]}x{size[1]}", "bad", partial(_content, _png(*size)))
    yield Input("bomb", "bad", _bomb)
    yield Input("large text", "may pass", _large_text)
    for kind in ("pipe", "folder", "loop", "device", "dangling"):
        yield Input(f"file: {kind}", "bad", partial(_file, kind))
    for kind in (
        "animated",
        "16-bit colour",
        "transparent colour",
        "damaged EXIF",
        "turned",
        "one pixel",
        "long",
    ):
        expected: Oracle = (
            "bad" if kind in ("animated", "16-bit colour", "transparent colour") else "may pass"
        )
        yield Input(kind, expected, partial(_odd, kind))
    for kind in ("onto itself", "other suffix", "no folder", "into its folder"):
        yield Input(f"target: {kind}", "bad", partial(_target, kind))


def _line(desk: Desk, source: object = "in.png", target: object = "out.png") -> list[object]:
    return ["purify", "--model", desk.run, "--device", "cpu", source, target]


def _picture(mode: str = "RGB", size: tuple[int, int] = (9, 8)) -> Image.Image:
    draw = np.random.default_rng(0)
    colours = Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    if mode == "I;16":
        return Image.fromarray(draw.integers(0, 65536, (size[1], size[0]), dtype=np.uint16))
    if mode == "PA":
        return colours.convert("P").convert("PA")
    return colours.convert("L").convert(mode) if mode in ("I", "F") else colours.convert(mode)


def _mode(mode: str, suffix: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    try:
        _picture(mode).save(folder / f"in.{suffix}")
    except (OSError, ValueError, KeyError):
        # as near as this Pillow comes
        (folder / f"in.{suffix}").write_bytes(b"")
    return _line(desk, f"in.{suffix}", f"out.{suffix}")


def _damaged(
    damage: Callable[[bytes, Random], bytes], suffix: str, folder: Path, desk: Desk, draw: Random
) -> list[object]:
    path = folder / f"in.{suffix}"
    _picture().save(path)
    path.write_bytes(damage(path.read_bytes(), draw))
    return _line(desk, path.name, f"out.{suffix}")


def _saved(kind: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    _picture(size=(32, 32)).save(folder / "in.png", format=kind)
    return _line(desk)


def _content(content: bytes, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    (folder / "in.png").write_bytes(content)
    return _line(desk)


def _bomb(folder: Path, desk: Desk, draw: Random) -> list[object]:
    return _content(_png(9000, 9000, bytes(9001 * 9000)), folder, desk, draw)


def _large_text(folder: Path, desk: Desk, draw: Random) -> list[object]:
    return _content(_png(2, 2, bytes(6), text=10**8), folder, desk, draw)


def _png(width: int, height: int, pixels: bytes = b"", text: int = 0) -> bytes:
    """A grey PNG of any declared size; ``text`` is the unpacked size of a compressed comment."""

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    comment = part(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(text))) if text else b""
    data = part(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + header + comment + data + part(b"IEND", b"")


def _file(kind: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    path = folder / "in.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(path if kind == "loop" else folder / "nothing.png")
    return _line(desk)


def _odd(kind: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    path, picture = folder / "in.png", _picture()
    if kind == "animated":
        picture.save(path, save_all=True, append_images=[_picture().rotate(90)])
    elif kind == "16-bit colour":
        header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
        parts = {b"IHDR": header, b"IDAT": zlib.compress(bytes(26)), b"IEND": b""}
        packed = [
            struct.pack(">I", len(body)) + key + body + struct.pack(">I", zlib.crc32(key + body))
            for key, body in parts.items()
        ]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    elif kind == "transparent colour":
        picture.convert("P").save(path, transparency=0)
    elif kind in ("damaged EXIF", "turned"):
        buffer, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6
        picture.save(
            buffer, "JPEG", exif=b"Exif\x00\x00MM\x00*" + bytes(40) if "EXIF" in kind else exif.tobytes()
        )
        (folder / "in.jpg").write_bytes(buffer.getvalue())
        return _line(desk, "in.jpg", "out.jpg")
    else:
        _picture(size=(1, 1) if kind == "one pixel" else (1, 20_000)).save(path)
    return _line(desk)


def _target(kind: str, folder: Path, desk: Desk, _draw: Random) -> list[object]:
    _picture().save(folder / "in.png")
    targets = {
        "onto itself": "in.png",
        "other suffix": "out.jpg",
        "no folder": "in.png/out.png",
        "into its folder": ".",
    }
    return _line(desk, "in.png", targets[kind])
