"""Purified files: the same size, mode, format and transparency; only the pixels change."""

import os
import struct
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn

from purespike import InputError
from purespike.models import Defended, Purifier
from purespike.pictures import _purify, purify_files

SIZE = (13, 9)  # width, height: neither even nor equal
FORMATS = {
    "png": ("L", "LA", "RGB", "RGBA", "P", "1"),
    "jpg": ("L", "RGB"),
    "jpeg": ("RGB",),
    "bmp": ("L", "RGB", "P", "1"),
    "webp": ("RGB", "RGBA"),
    "tiff": ("L", "RGB", "RGBA"),
}
CASES = [(suffix, mode) for suffix, modes in FORMATS.items() for mode in modes]
EXACT = [case for case in CASES if case[0] not in ("jpg", "jpeg")]


class Invert(nn.Module):
    def forward(self, images):
        return 1 - images


def picture(mode, seed=0):
    draw = np.random.default_rng(seed)
    channels = {"L": 1, "LA": 2, "RGBA": 4}.get(mode, 3)
    pixels = draw.integers(0, 256, (SIZE[1], SIZE[0], channels), dtype=np.uint8)
    if mode == "P":
        return Image.fromarray(pixels[..., :3] // 64 * 64).quantize(64, dither=Image.Dither.NONE)
    if mode == "1":
        return Image.fromarray((pixels[..., 0] > 127).astype(np.uint8) * 255).convert("1")
    image = Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels)
    assert image.mode == mode
    return image


def purified(model, tmp_path, suffix, mode, **options):
    source, target = tmp_path / f"in.{suffix}", tmp_path / "new" / f"out.{suffix}"
    picture(mode).save(source, **options)
    assert purify_files(model, source, target) == 1
    return Image.open(source), Image.open(target)


@pytest.mark.parametrize(("suffix", "mode"), CASES)
def test_size_mode_and_format_stay(tmp_path, suffix, mode):
    before, after = purified(Invert(), tmp_path, suffix, mode)
    assert (after.size, after.mode, after.format) == (before.size, before.mode, before.format)


@pytest.mark.parametrize(("suffix", "mode"), EXACT)
@pytest.mark.parametrize("model", [nn.Identity(), Purifier(width=0.1, time_steps=1)], ids=["identity", "new"])
def test_a_purifier_that_changes_nothing_returns_the_same_pixels(tmp_path, suffix, mode, model):
    """A new purifier is one: its residual starts at zero."""
    before, after = purified(
        model, tmp_path, suffix, mode, **({"lossless": True, "exact": True} if suffix == "webp" else {})
    )
    assert np.array_equal(np.asarray(before.convert("RGBA")), np.asarray(after.convert("RGBA")))


@pytest.mark.parametrize(("suffix", "mode"), EXACT)
def test_the_pixels_are_the_models(tmp_path, suffix, mode):
    before, after = purified(
        Invert(), tmp_path, suffix, mode, **({"lossless": True, "exact": True} if suffix == "webp" else {})
    )
    expected = 255 - np.asarray(before.convert("RGB")).astype(int)
    assert np.array_equal(expected, np.asarray(after.convert("RGB")).astype(int))


def test_jpeg_is_near_enough(tmp_path):
    Image.fromarray(np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8)).save(tmp_path / "in.jpg")
    purify_files(nn.Identity(), tmp_path / "in.jpg", tmp_path / "out.jpg")
    before, after = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("in.jpg", "out.jpg"))
    assert abs(before - after).max() <= 4


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("model", [Invert(), nn.Identity()], ids=["invert", "identity"])
def test_transparency_stays(tmp_path, mode, model):
    before, after = purified(model, tmp_path, "png", mode)
    assert np.array_equal(np.asarray(before.getchannel("A")), np.asarray(after.getchannel("A")))


def test_the_orientation_of_a_photograph_stays(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    _, after = purified(Invert(), tmp_path, "jpg", "RGB", exif=exif)
    assert after.getexif()[0x0112] == 6 and after.size == SIZE


def test_damage_beside_the_pixels_is_no_line_of_pillows(tmp_path, recwarn):
    # an entry of twelve bytes is announced, and half of one follows
    damaged = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + bytes(6)
    picture("RGB").save(tmp_path / "in.jpg", exif=damaged)
    purify_files(Invert(), tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert (tmp_path / "out.jpg").exists() and not recwarn.list


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_photograph_is_purified_upright(tmp_path, orientation, suffix):
    class LeftHalf(nn.Module):
        """Blackens what a viewer sees on the left."""

        def forward(self, images):
            return images * (torch.arange(images.shape[3]) >= images.shape[3] // 2)

    exif = Image.Exif()
    exif[0x0112] = orientation
    before, after = purified(LeftHalf(), tmp_path, suffix, "RGB", exif=exif)
    if suffix == "png":  # Pillow turns a TIFF itself
        assert after.getexif()[0x0112] == orientation and after.size == before.size
    before.load()
    seen, changed = (np.asarray(ImageOps.exif_transpose(image)) for image in (before, after))
    middle = seen.shape[1] // 2
    assert not changed[:, :middle].any()
    assert np.array_equal(changed[:, middle:], seen[:, middle:])


def test_values_beyond_the_range_are_clipped(tmp_path):
    class Far(nn.Module):
        def forward(self, images):
            return torch.where(images > 0.5, 9.0, -9.0)

    before, after = purified(Far(), tmp_path, "png", "RGB")
    assert np.array_equal(np.asarray(after), np.where(np.asarray(before) > 127, 255, 0))


def test_a_folder_tree_is_mirrored(tmp_path):
    source, target = tmp_path / "in", tmp_path / "deep" / "out"
    names = ["a.png", "b/a.png", "b/c/d.BMP", "b/c/e.webp"]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        picture("RGB", seed=len(name)).save(source / name)
    (source / "b" / "notes.txt").write_text("no picture")
    assert purify_files(Invert(), source, target) == 4
    written = sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())
    assert written == sorted(names)
    for name in names[:3]:
        left, right = (np.asarray(Image.open(place / name)).astype(int) for place in (source, target))
        assert np.array_equal(255 - left, right)


def test_a_file_into_a_folder_keeps_its_name(tmp_path):
    picture("RGB").save(tmp_path / "in.png")
    (tmp_path / "out").mkdir()
    purify_files(Invert(), tmp_path / "in.png", tmp_path / "out")
    assert (tmp_path / "out" / "in.png").exists()


def test_one_bad_file_and_nothing_is_written(tmp_path):
    (tmp_path / "in").mkdir()
    picture("RGB").save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "z.png").write_text("Dear reader")
    with pytest.raises(InputError, match=r"z\.png: not a readable image"):
        purify_files(Invert(), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_images_before_a_grey_purifier(tmp_path, mode):
    before, after = purified(Purifier(in_channels=1, width=0.1, time_steps=1), tmp_path, "png", mode)
    assert np.array_equal(np.asarray(before), np.asarray(after))


def test_of_a_defended_model_only_the_purifier_works(tmp_path):
    class Never(nn.Module):
        def forward(self, images):
            raise AssertionError("the classifier has no part in this")

    before, after = purified(Defended(Invert(), Never()), tmp_path, "png", "RGB")
    assert np.array_equal(255 - np.asarray(before), np.asarray(after))


def test_purifying_draws_no_gradient_and_switches_to_evaluation(tmp_path):
    class Watch(nn.Module):
        def forward(self, images):
            assert torch.is_inference_mode_enabled() and not self.training
            assert images.shape == (1, 3, SIZE[1], SIZE[0]) and images.min() >= 0 and images.max() <= 1
            return images

    purified(Watch().train(), tmp_path, "png", "RGB")


def test_tiles_have_no_seams(monkeypatch):
    """A Purifier whose every layer fires sees the same around a tile's pixel as in the full image."""
    torch.manual_seed(0)
    model = Purifier(width=0.15, time_steps=2).eval()
    for layer in (model.estimator.last, model.denoiser.last):
        nn.init.normal_(layer.weight, std=0.3)
    image = torch.rand(3, 203, 310)
    whole = _purify(model, image, "cpu")
    monkeypatch.setattr("purespike.pictures._TILE", 128)
    tiled = _purify(model, image, "cpu")
    assert (whole - image).abs().mean() > 0.01
    # float sums in another order move a membrane across its threshold here and there
    assert ((whole - tiled).abs() < 1e-4).float().mean() > 0.999
    monkeypatch.setattr("purespike.pictures._MARGIN", 4)
    assert ((whole - _purify(model, image, "cpu")).abs() < 1e-4).float().mean() < 0.99


def png(width, height, depth=8, colour=0):
    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


REFUSED = {
    "a huge header": (png(50_000, 50_000), "50000x50000; the limit is 50 megapixels|decompression bomb"),
    "a small bomb": (png(9_000, 5_000, colour=2), "would unpack from 0 KB to 129 MB; the limit"),
    "deep colour": (png(3, 3, depth=16, colour=2), "more than 8 bits a channel"),
    "deep colour with transparency": (png(3, 3, depth=16, colour=6), "more than 8 bits a channel"),
    "deep grey with transparency": (png(3, 3, depth=16, colour=4), "more than 8 bits a channel"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
    "another format": (b"P6 1 1 255\n000", "not a readable image"),
    "nothing": (b"", "not a readable image"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_no_purifier_should_see(tmp_path, content, message):
    (tmp_path / "in.png").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        purify_files(Invert(), tmp_path / "in.png", tmp_path / "out.png")
    assert "in.png" in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out.png").exists()


def test_frames_are_refused(tmp_path):
    picture("RGB").save(tmp_path / "in.webp", save_all=True, append_images=[picture("RGB", seed=1)])
    with pytest.raises(InputError, match=r"in\.webp: has 2 frames"):
        purify_files(Invert(), tmp_path / "in.webp", tmp_path / "out.webp")


def test_strange_entries_of_a_folder_are_left_out_with_a_word(tmp_path):
    source = tmp_path / "in"
    (source / "dir.png").mkdir(parents=True)
    (source / ".hidden").mkdir()
    picture("RGB").save(source / "a.png")
    picture("RGB").save(source / ".hidden" / "b.png")
    picture("P").save(source / "c.gif")
    (source / "._a.png").write_bytes(b"Mac OS X")
    (source / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(source / "pipe.png")
    heard = []
    assert purify_files(Invert(), source, tmp_path / "out", say=heard.append) == 1
    (line,) = heard
    assert line.startswith("left out") and line.endswith(": c.gif, gone.png, pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png: is a pipe or a device"):
        purify_files(Invert(), source / "pipe.png", tmp_path / "pipe.png")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: images / 0, "NaN, infinity or whole numbers"),
        (lambda images: images.byte(), "NaN, infinity or whole numbers"),
        (lambda images: images.view(7), r"in\.png: cannot be purified \(.*invalid for input"),
        (lambda images: {}["none"], r"in\.png: cannot be purified \(.*KeyError: 'none'\)"),
        (lambda images: sys.exit(0), r"in\.png: cannot be purified \(.*calls sys.exit\(0\)\)"),
    ],
)
def test_a_purifier_that_fails_is_one_line(tmp_path, answer, message):
    class Answer(nn.Module):
        def forward(self, images):
            return answer(images)

    with pytest.raises(InputError, match=message):
        purified(Answer(), tmp_path, "png", "RGB")
