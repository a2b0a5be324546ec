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
    assert len(figure.axes) == 5 * min(n, 8)
    shown = words_of(figure)
    assert "Perturbation\n×8" in shown and "✗ 3" in shown and "✓ 0" in shown


def test_difference_is_grey_where_nothing_changed(samples: Samples) -> None:
    figure = sample_grid(dataclasses.replace(samples, adversarial=samples.clean, purified=samples.clean))
    assert "×1," in words_of(figure)
    for axes in figure.axes[-8:]:
        np.testing.assert_array_equal(axes.images[0].get_array(), 0.5)


def test_class_names_are_no_formulas(samples: Samples) -> None:
    named = dataclasses.replace(samples, class_names=(r"$\frac{$", *"abcdefghi"))
    assert png(sample_grid(named), dpi=30)


@pytest.mark.parametrize("largest", [1 / 255, 8 / 255, 16 / 255, 0.3, 0.9, 1e-9])
def test_amplification_fills_half_the_range(largest: float) -> None:
    factor = amplification(np.array([-largest, largest / 2]))
    assert factor >= 1
    assert factor == 1 or 0.25 < factor * largest <= 0.505
