"""Example images are drawn as they are, with their differences and predictions."""

import dataclasses

import numpy as np
import pytest

from purespike.reporting.drawing import png
from purespike.reporting.sample_grid import amplification, sample_grid
from purespike.results import Samples

from .test_figures import words_of


@pytest.mark.parametrize(("channels", "n"), [(3, 8), (1, 3), (3, 1), (1, 12)])
def test_grid_names_the_factor_and_marks_predictions(samples: Samples, channels: int, n: int) -> None:
    index = np.arange(n) % 8
    images = {name: getattr(samples, name)[index, :channels] for name in ("clean", "adversarial", "purified")}
    names = ("labels", "undefended_prediction", "defended_prediction")
    figure = sample_grid(
        dataclasses.replace(samples, **images, **{name: getattr(samples, name)[index] for name in names})
    )
    assert len(figure.axes[0].images) == 5 * min(n, 8)
    shown = words_of(figure)
    assert "Perturbation\n×8" in shown and "✗ 3" in shown and "✓ 0" in shown


def test_images_of_the_attacker_who_knows_follow(samples: Samples) -> None:
    images = {"adaptive": samples.clean + 4 / 255, "adaptive_purified": samples.purified - 0.1}
    known = dataclasses.replace(samples, **images, adaptive_prediction=(samples.labels + 1) % 10)
    figure = sample_grid(known)
    drawn = [picture.get_array() for picture in figure.axes[0].images]
    assert len(drawn) == 7 * 8
    np.testing.assert_allclose(drawn[3 * 8], np.moveaxis(images["adaptive"][0], 0, -1).clip(0, 1), atol=1e-6)
    np.testing.assert_allclose(
        drawn[4 * 8], np.moveaxis(images["adaptive_purified"][0], 0, -1).clip(0, 1), atol=1e-6
    )
    shown = words_of(figure)
    # 4/255 fills half the range 32 times, and no image purified is read as it should be
    assert "Both attacked\ntogether" in shown and "Perturbation\n×32" in shown and "✗ 1" in shown
    # the last row of pictures lies inside the figure
    assert max(picture.get_extent()[2] for picture in figure.axes[0].images) < figure.get_figheight()


def test_difference_is_grey_where_nothing_changed(samples: Samples) -> None:
    figure = sample_grid(dataclasses.replace(samples, adversarial=samples.clean, purified=samples.clean))
    assert "×1," in words_of(figure)
    differences = [picture.get_array() for picture in figure.axes[0].images[-8:]]
    np.testing.assert_array_equal(np.stack(differences), 0.5)


@pytest.mark.parametrize("narrow", [False, True])
def test_pictures_are_square_lie_apart_and_inside(samples: Samples, narrow: bool) -> None:
    figure = sample_grid(samples, narrow=narrow)
    (axes,) = figure.axes
    axes.apply_aspect()
    corners = np.array([picture.get_extent() for picture in axes.images])
    # whole pixels of the figure, from the left and from the top
    ends = axes.transData.transform(corners.reshape(-1, 2, 2).transpose(0, 2, 1).reshape(-1, 2)).reshape(
        -1, 2, 2
    )
    (left, bottom), (right, top) = ends[:, 0].T, ends[:, 1].T
    np.testing.assert_allclose(right - left, top - bottom, rtol=1e-6)
    width, height = figure.get_size_inches() * figure.dpi
    assert left.min() >= 0 and right.max() <= width and bottom.min() >= 0 and top.max() <= height
    for first in range(len(ends)):
        for second in range(first):
            beside = right[second] < left[first] or right[first] < left[second]
            assert beside or top[first] < bottom[second] or top[second] < bottom[first]


def test_class_names_are_no_formulas(samples: Samples) -> None:
    named = dataclasses.replace(samples, class_names=(r"$\frac{$", *"abcdefghi"))
    assert png(sample_grid(named), dpi=30)


def test_class_names_stay_in_their_line(samples: Samples) -> None:
    named = dataclasses.replace(samples, class_names=("one\r\n two",) * 10)
    texts = [text.get_text() for text in sample_grid(named).axes[0].texts]
    assert any("one two" in text for text in texts) and not any("\r" in text for text in texts)


@pytest.mark.parametrize("largest", [1 / 255, 8 / 255, 16 / 255, 0.3, 0.9, 1e-9])
def test_amplification_fills_half_the_range(largest: float) -> None:
    factor = amplification(np.array([-largest, largest / 2]))
    assert factor >= 1
    assert factor == 1 or 0.25 < factor * largest <= 0.505
