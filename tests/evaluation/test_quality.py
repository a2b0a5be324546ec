"""Intervals against Wilson's formula, likeness against scikit-image."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

from purespike import Defended, InputError, evaluate
from purespike.evaluation.quality import image_quality
from purespike.results import Score

Z = 1.959963984540054  # 97.5% quantile of the normal distribution


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts):
    correct, n = counts
    found = Score.of([1] * correct + [0] * (n - correct))
    share = correct / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    assert found.low == pytest.approx(centre - half, abs=1e-9)
    assert found.high == pytest.approx(centre + half, abs=1e-9)
    assert found.low <= found.accuracy == share <= found.high
    assert (found.correct, found.n) == (correct, n)


def test_the_order_of_outcomes_does_not_matter():
    assert Score.of([1, 0, 1, 0]) == Score.of([0, 0, 1, 1])


def pair(channels, size, noise, seed=0):
    draw = torch.Generator().manual_seed(seed)
    clean = torch.rand((3, channels, *size), generator=draw)
    clean = torch.nn.functional.avg_pool2d(clean, 3, 1, 1)
    return clean, (clean + noise * torch.randn(clean.shape, generator=draw)).clamp(0, 1)


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.3])
@pytest.mark.parametrize(("channels", "size"), [(3, (32, 32)), (1, (28, 28)), (3, (17, 40))])
def test_likeness_is_scikit_images(channels, size, noise):
    clean, noisy = pair(channels, size, noise)
    found = image_quality(noisy, clean)
    for index in range(len(clean)):
        a, b = (x[index].permute(1, 2, 0).double().numpy() for x in (clean, noisy))
        assert found["psnr"][index].item() == pytest.approx(
            peak_signal_noise_ratio(a, b, data_range=1.0), abs=1e-3
        )
        # scikit-image leaves out the border that its window does not fill; ours mirrors it, and so counts it
        mirrored = [np.pad(x, ((5, 5), (5, 5), (0, 0)), mode="reflect") for x in (a, b)]
        expected = structural_similarity(
            *mirrored,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=2,
        )
        assert found["ssim"][index].item() == pytest.approx(expected, abs=1e-3)


def test_an_image_is_like_itself():
    clean, _ = pair(3, (16, 16), 0)
    found = image_quality(clean, clean)
    assert found["psnr"].tolist() == [100.0] * 3
    np.testing.assert_allclose(found["ssim"], 1, atol=1e-6)


def test_values_beyond_the_range_count_as_a_viewer_shows_them():
    clean, noisy = pair(3, (16, 16), 0.5)
    beyond = torch.where(noisy == 1, 7.0, torch.where(noisy == 0, -3.0, noisy))
    assert (beyond != noisy).any()
    for name, values in image_quality(beyond, clean).items():
        assert torch.equal(values, image_quality(noisy, clean)[name])


def test_images_are_scored_apart():
    clean, noisy = pair(3, (16, 16), 0.1)
    noisy[1] = clean[1]
    whole, single = image_quality(noisy, clean), image_quality(noisy[2:], clean[2:])
    assert whole["psnr"][1] == 100 and whole["psnr"][2] < 40
    for name in whole:
        torch.testing.assert_close(whole[name][2:], single[name])


def test_images_smaller_than_the_window_have_no_similarity():
    clean, noisy = pair(3, (5, 9), 0.1)
    assert image_quality(noisy, clean).keys() == {"psnr"}


@pytest.mark.parametrize("change", [lambda x: x[..., ::2], lambda x: (255 * x).byte()])
def test_a_purifier_of_another_kind_is_named(change):
    model = Defended(Function(change), nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten()))
    model.classifier.insert(0, Function(torch.Tensor.float))
    data = (torch.rand(4, 3, 8, 8), torch.arange(4))
    with pytest.raises(InputError, match=r"the purifier makes .* of images torch\.float32 \[4, 3, 8, 8\]"):
        evaluate(model, data, attacks="fgsm", threat="oblivious")


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


class Spoiling(nn.Module):
    """Makes no numbers of images whose first pixel is above a value."""

    def __init__(self, above):
        super().__init__()
        self.above = above

    def forward(self, images):
        return torch.where(images[:, :1, :1, :1] > self.above, torch.nan, images)


@pytest.mark.parametrize("above", [-1.0, 0.5, 0.99])
def test_a_purifier_that_makes_no_numbers_is_measured_all_the_same(above):
    torch.manual_seed(0)
    classifier, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), torch.rand(8, 1, 8, 8)
    images[:, 0, 0, 0] = torch.linspace(0.1, 0.98, 8)
    labels = classifier(images).argmax(1)
    spoilt = int((images[:, 0, 0, 0] > above).sum())
    found = evaluate(
        Defended(Spoiling(above), classifier),
        (images, labels),
        attacks=["fgsm"],
        threat="oblivious,adaptive",
        eps="8/255",
        diagnose=0,
    )
    assert found.clean.defended.correct == 8 - spoilt
    shown = {quality.images.rpartition(" ")[2] for quality in found.quality}
    assert ("purified" in shown) == (spoilt < 8)
