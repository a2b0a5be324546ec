"""Pictures of training show the recorded epochs."""

from typing import Any

import numpy as np
import pytest

from purespike.errors import InputError
from purespike.reporting.drawing import png
from purespike.reporting.training_curves import firing_rates, training_curves
from purespike.results import Epoch

from .test_figures import words_of


def test_firing_rates_mark_silent_and_saturated(history: list[Epoch]) -> None:
    shown = words_of(firing_rates(history))
    assert "silent\n0.4%" in shown and "saturated\n98.1%" in shown and "stage1.block0.fire1" in shown


def test_firing_rates_without_a_start(history: list[Epoch]) -> None:
    late = [line for line in history if line.epoch > 0 and line.stage == "classifier"]
    figure = firing_rates(late)
    assert len(figure.axes) == 1 and png(figure, dpi=40)


def test_training_curves_draw_each_loss(history: list[Epoch]) -> None:
    figure = training_curves(history)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Classifier loss",
        "Classifier accuracy",
        "Purifier loss",
    ]
    assert [len(axes.lines) for axes in figure.axes] == [1, 2, 4]
    recorded = [line.value("loss") for line in history if line.stage == "classifier" and line.epoch]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), recorded)


@pytest.mark.parametrize("draw", [training_curves, firing_rates])
def test_history_with_nothing_to_draw(draw: Any) -> None:
    with pytest.raises(InputError, match="recorded"):
        draw([Epoch(stage="classifier", epoch=0)])


def test_figures_are_reproducible(history: list[Epoch]) -> None:
    assert png(training_curves(history), dpi=40) == png(training_curves(history), dpi=40)
