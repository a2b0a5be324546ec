import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits as load_scans

from purespike.data import load_data


def test_split_is_stratified_and_repeats() -> None:
    data = load_data("digits")
    assert data.train.images.shape == (1437, 3, 32, 32)
    assert data.test.images.shape == (360, 3, 32, 32)
    assert data.train.class_names == tuple("0123456789")
    assert (data.train.name, data.test.name) == ("digits/train", "digits/test")
    whole = np.bincount(load_scans().target)
    np.testing.assert_allclose(torch.bincount(data.test.labels), whole * 360 / 1797, atol=1)
    again = load_data("digits")
    assert again.train.fingerprint() == data.train.fingerprint()
    assert again.test.fingerprint() == data.test.fingerprint()


def test_images_are_the_scans_enlarged() -> None:
    scans = load_scans()
    data = load_data("digits")
    assert data.train.images.min() == 0 and data.train.images.max() == 255
    # Pillow interpolates in its own fixed-point arithmetic
    enlarged = {
        np.asarray(
            Image.fromarray((scan * 255 / 16).astype(np.float32)).resize((32, 32), Image.Resampling.BILINEAR)
        )
        .round(1)
        .tobytes(): int(label)
        for scan, label in zip(scans.images[:40], scans.target[:40], strict=True)
    }
    candidates = torch.cat([data.train.images, data.test.images])[:, 0].float().flatten(1)
    labels = torch.cat([data.train.labels, data.test.labels])
    for image, label in enlarged.items():
        distance = (candidates - torch.frombuffer(bytearray(image), dtype=torch.float32)).abs().amax(1)
        assert distance.min() <= 0.6
        assert labels[distance.argmin()] == label


def test_channels_are_equal_and_splits_disjoint() -> None:
    data = load_data("digits")
    assert torch.equal(data.train.images[:, 0], data.train.images[:, 2])
    train = {image.numpy().tobytes() for image in data.train.images[:, 0]}
    assert not any(image.numpy().tobytes() in train for image in data.test.images[:, 0])


def test_the_small_digits_are_the_same_scans() -> None:
    large, small = load_data("digits"), load_data("digits16")
    assert small.train.images.shape == (1437, 1, 16, 16) and small.test.images.shape == (360, 1, 16, 16)
    assert torch.equal(small.test.labels, large.test.labels) and small.source == "digits16"
    # means over patches of four scan pixels, apart from what the edges and the rounding do
    coarse = [
        torch.nn.functional.avg_pool2d(images[:, :1].float(), size)
        for images, size in ((small.test.images, 4), (large.test.images, 8))
    ]
    assert (coarse[0] - coarse[1]).abs().max() < 8
