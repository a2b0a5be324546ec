"""Purified files: the same size, mode, format and transparency; only the pixels change."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from purespike import InputError
from purespike.models import Defended, Purifier
from purespike.pictures import purify_files

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
