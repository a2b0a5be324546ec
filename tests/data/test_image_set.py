import hashlib

import numpy as np
import pytest
import torch

from purespike.data import Data, ImageSet, labelled_for
from purespike.data.image_set import ordered_classes, validate
from purespike.errors import InputError


def make(count: int = 12, *, channels: int = 3, classes: int = 3, name: str = "toy/train") -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, 4, 5), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(count) % classes, tuple("abcdefgh"[:classes]), name)


def test_size_and_counts() -> None:
    image_set = make(12, channels=1)
    assert (len(image_set), image_set.channels, image_set.num_classes) == (12, 1, 3)


def test_to_float_divides_by_255_and_leaves_the_bytes() -> None:
    image_set = make()
    before = image_set.images.clone()
    floats = image_set.to_float()
    assert floats.dtype == torch.float32
    np.testing.assert_array_equal(floats.numpy(), before.numpy().astype(np.float32) / np.float32(255))
    assert torch.equal(image_set.images, before)


@pytest.mark.parametrize("limit", [None, 12, 100])
def test_take_of_everything_is_the_set_itself(limit: int | None) -> None:
    image_set = make()
    assert image_set.take(limit, seed=0) is image_set


def test_take_keeps_images_with_their_labels() -> None:
    image_set = make(12)
    part = image_set.take(6, seed=3)
    assert torch.bincount(part.labels).tolist() == [2, 2, 2]
    assert (part.class_names, part.name) == (image_set.class_names, image_set.name)
    for image, label in zip(part.images, part.labels, strict=True):
        (index,) = (image_set.images == image).flatten(1).all(1).nonzero()
        assert image_set.labels[index] == label


def test_take_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        make().take(0, seed=0)


def test_fingerprint_is_sha256_of_shape_pixels_and_labels() -> None:
    image_set = make()
    plain = b"(12, 3, 4, 5)" + image_set.images.numpy().tobytes() + image_set.labels.numpy().tobytes()
    assert image_set.fingerprint() == hashlib.sha256(plain).hexdigest()


def test_fingerprint_ignores_the_memory_layout() -> None:
    image_set = make()
    strided = image_set.images.contiguous(memory_format=torch.channels_last)
    again = ImageSet(strided, image_set.labels, image_set.class_names, "other")
    assert again.fingerprint() == image_set.fingerprint()


@pytest.mark.parametrize("channels", [1, 3])
def test_channel_statistics_match_float64(channels: int) -> None:
    image_set = make(channels=channels)
    floats = image_set.images.numpy().astype(np.float64) / 255
    means, deviations = image_set.channel_statistics()
    np.testing.assert_allclose(means, floats.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(deviations, floats.std((0, 2, 3)), rtol=1e-9)


def test_a_constant_channel_has_a_deviation_to_divide_by() -> None:
    flat = ImageSet(torch.full((2, 1, 3, 3), 51, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"), "flat")
    assert flat.channel_statistics() == (pytest.approx((0.2,)), (1e-3,))


GOOD = (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (GOOD[0].float(), GOOD[1], "uint8"),
        (GOOD[0][0], GOOD[1], r"\[N, C, H, W\]"),
        (
            torch.zeros(2, 5, 4, 4, dtype=torch.uint8),
            GOOD[1],
            "1 or 3 channels, or 2 a frame of events, got 5",
        ),
        (GOOD[0], GOOD[1].float(), "int64"),
        (GOOD[0], GOOD[1].view(2, 1), "int64"),
        (GOOD[0], torch.tensor([0, 1, 1]), "2 images but 3 labels"),
        (GOOD[0][:0], GOOD[1][:0], "holds no images"),
        (GOOD[0], torch.tensor([0, -1]), "a label is -1"),
        (GOOD[0], torch.tensor([0, 2]), "a label is 2, but there are only 2 classes"),
    ],
)
def test_malformed_sets_are_refused_by_name(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^toy/train: .*{message}"):
        ImageSet(images, labels, ("a", "b"), "toy/train")


def test_splits_must_agree() -> None:
    with pytest.raises(InputError, match="one size"):
        Data("toy", make(channels=3), make(channels=1))
    with pytest.raises(InputError, match="different classes"):
        Data("toy", make(classes=3), make(classes=2))


def test_validate_names_the_empty_class() -> None:
    whole = make(classes=3)
    assert validate(Data("toy", whole, whole)).train is whole
    kept = whole.labels != 1
    gap = ImageSet(whole.images[kept], whole.labels[kept], whole.class_names, "toy/train")
    with pytest.raises(InputError, match=r"toy/train: no image of class 1 \('b'\)"):
        validate(Data("toy", gap, whole))


def test_validate_refuses_a_single_class() -> None:
    single = make(classes=1)
    with pytest.raises(InputError, match="only one class"):
        validate(Data("toy", single, single))


def test_repr_does_not_print_pixels() -> None:
    assert repr(make()) == "ImageSet(class_names=('a', 'b', 'c'), name='toy/train')"


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["b", "a"], ("a", "b")),
        (["10", "9", "8"], ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")),
        (["x10y2", "x2", "x10y1", "x"], ("x", "x2", "x10y1", "x10y2")),
        (["1a", "10", "2"], ("1a", "2", "10")),
        (["02", "0", "1"], ("0", "1", "02")),
        ([], ()),
    ],
)
def test_natural_order(names: list[str], order: tuple[str, ...]) -> None:
    assert ordered_classes(names) == order


@pytest.mark.parametrize("names", [["0", "100000"], ["1", "9" * 5000]])
def test_a_stray_number_makes_no_billion_classes(names: list[str]) -> None:
    with pytest.raises(InputError, match="the limit is 99,999"):
        ordered_classes(names)


def test_labels_follow_the_names_of_the_model() -> None:
    images = make(classes=3)

    class Model:
        class_names = ("c", "z", "a", "b")

    class Defended:
        classifier = Model()

    for model in (Model(), Defended()):
        renamed = labelled_for(model, images)
        assert renamed.class_names == Model.class_names
        for before, after in zip(images.labels, renamed.labels, strict=True):
            assert images.class_names[before] == renamed.class_names[after]
    for model in (object(), Named("abc"), Named("xyz")):
        assert labelled_for(model, images) is images
    with pytest.raises(InputError, match="toy/train: class 'c' is not among a, b"):
        images.with_classes(("a", "b"))


class Named:
    def __init__(self, names: str) -> None:
        self.class_names = tuple(names)
