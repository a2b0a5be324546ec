"""Figures show the measured numbers; an input with nothing to draw is refused with its reason."""

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from purespike.errors import InputError
from purespike.reporting import figures, standing, summary
from purespike.reporting.drawing import THREAT_COLORS, png, spread

Evaluation = dict[str, Any]
History = list[dict[str, Any]]
Samples = dict[str, np.ndarray]


def words_of(figure: Figure) -> str:
    """Every text of a figure."""
    figure.canvas.draw()
    return "\n".join(item.get_text() for item in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def curves(figure: Figure) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The marked lines of the curve figure by threat."""
    threats = {color: threat for threat, color in THREAT_COLORS.items()}
    lines = [line for line in figure.axes[0].lines if line.get_marker() != "None"]
    return {threats[to_hex(line.get_color())]: line.get_data() for line in lines}  # type: ignore[misc]


def test_curve_starts_at_clean_and_passes_through_every_cell(evaluation: Evaluation) -> None:
    drawn = curves(figures.accuracy_curve(evaluation))
    assert set(drawn) == {"undefended", "oblivious", "bpda", "adaptive"}
    for threat, (x, y) in drawn.items():
        clean = evaluation["clean"]["undefended" if threat == "undefended" else "defended"]
        cells = [c for c in evaluation["cells"] if c["attack"] == "pgd" and c["threat"] == threat]
        wanted = {0.0: clean["accuracy"]} | {255 * c["eps"]: c["score"]["accuracy"] for c in cells}
        np.testing.assert_allclose(x, sorted(wanted))
        np.testing.assert_allclose(y, [100 * wanted[eps] for eps in sorted(wanted)])


def with_pgd_7(evaluation: Evaluation) -> Evaluation:
    """The same attack once more at the headline eps, with fewer steps and other scores."""
    weaker = []
    for one in evaluation["cells"]:
        if one["attack"] == "pgd" and one["eps"] == evaluation["settings"]["eps"][0]:
            score = {**one["score"], "accuracy": one["score"]["accuracy"] / 2}
            weaker.append({**one, "settings": {**one["settings"], "steps": 7}, "score": score})
    return {**evaluation, "cells": weaker + evaluation["cells"]}


def test_curve_does_not_mix_numbers_of_steps(evaluation: Evaluation) -> None:
    alone, mixed = (figures.accuracy_curve(one) for one in (evaluation, with_pgd_7(evaluation)))
    assert "PGD-20" in words_of(mixed)
    for threat, (x, y) in curves(alone).items():
        np.testing.assert_array_equal(x, curves(mixed)[threat][0])
        np.testing.assert_array_equal(y, curves(mixed)[threat][1])


def test_summary_speaks_of_the_most_steps(evaluation: Evaluation) -> None:
    assert "PGD-20" in summary.summary(with_pgd_7(evaluation))[0]


def test_curve_of_a_classifier_alone(classifier_only: Evaluation) -> None:
    assert set(curves(figures.accuracy_curve(classifier_only))) == {"undefended"}


def test_curve_needs_a_bounded_attack(evaluation: Evaluation) -> None:
    evaluation["cells"] = [cell for cell in evaluation["cells"] if cell["eps"] is None]
    with pytest.raises(InputError, match="L∞"):
        figures.accuracy_curve(evaluation)


def test_curve_of_l2_has_radii(evaluation: Evaluation) -> None:
    for cell in evaluation["cells"]:
        if cell["eps"]:
            cell |= {"norm": "l2", "eps": 16 * cell["eps"]}
    figure = figures.accuracy_curve(evaluation)
    x, _ = curves(figure)["adaptive"]
    sizes = sorted({c["eps"] for c in evaluation["cells"] if c["attack"] == "pgd" and c["eps"]})
    np.testing.assert_allclose(x, [0, *sizes], atol=5e-4)
    assert "radius" in words_of(figure) and "/255" not in words_of(figure).replace("16/255", "")
    assert "L2" in figure.axes[0].get_title(loc="left")


def test_curve_leaves_raised_budgets_out(evaluation: Evaluation) -> None:
    before = curves(figures.accuracy_curve(evaluation))["adaptive"]
    cell = next(c for c in evaluation["cells"] if c["attack"] == "pgd" and c["threat"] == "adaptive")
    score = {**cell["score"], "accuracy": 0.001}
    evaluation["cells"].append({**cell, "raised_from": 20, "score": score})
    np.testing.assert_array_equal(before, curves(figures.accuracy_curve(evaluation))["adaptive"])


def test_waterfall_has_the_heights_of_the_count(evaluation: Evaluation) -> None:
    figure = figures.waterfall(evaluation)
    eps, n = evaluation["settings"]["eps"][0], evaluation["data"]["n"]
    above, below = figure.axes
    wanted = standing.attack_waterfall(evaluation, eps, "adaptive")
    bars = [patch for patch in above.patches if patch.get_y() == 0 and patch.get_alpha() is None]  # type: ignore[attr-defined]
    heights = [bar.get_height() for bar in bars]  # type: ignore[attr-defined]
    np.testing.assert_allclose(heights, [100 * step.standing / n for step in wanted])
    assert "Adaptive" in above.get_title(loc="left") and "eps 16/255" in above.get_title(loc="left")
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["clean", "Oblivious", "BPDA", "Adaptive"]
    assert f"12.5%\n{round(0.125 * n)} (−" in words_of(figure)


def test_waterfall_of_a_classifier_alone_has_one_panel(classifier_only: Evaluation) -> None:
    (axes,) = figures.waterfall(classifier_only).axes
    assert "Undefended" in axes.get_title(loc="left")


def test_bars_have_the_heights_of_the_table(evaluation: Evaluation) -> None:
    figure = figures.robustness_bars(evaluation)
    heights = {round(bar.get_height(), 6) for bar in figure.axes[0].patches}  # type: ignore[attr-defined]
    cells = [cell for cell in evaluation["cells"] if cell["eps"] in (None, evaluation["settings"]["eps"][0])]
    assert heights == {round(100 * cell["score"]["accuracy"], 6) for cell in cells}
    assert "eps 16/255" in words_of(figure)


def test_bars_of_a_classifier_alone(classifier_only: Evaluation) -> None:
    assert png(figures.robustness_bars(classifier_only), dpi=40)


@pytest.mark.parametrize(("channels", "n"), [(3, 8), (1, 3), (3, 1), (1, 12)])
def test_grid_names_the_factor_and_marks_predictions(samples: Samples, channels: int, n: int) -> None:
    index = np.arange(n) % 8
    few = {name: value[index] if value.shape[:1] == (8,) else value for name, value in samples.items()}
    few |= {name: few[name][:, :channels] for name in ("clean", "adversarial", "purified")}
    figure = figures.sample_grid(few)
    assert len(figure.axes) == 5 * min(n, 8)
    shown = words_of(figure)
    assert "Perturbation\n×8" in shown and "✗ 3" in shown and "✓ 0" in shown


def test_difference_is_grey_where_nothing_changed(samples: Samples) -> None:
    samples |= {"adversarial": samples["clean"], "purified": samples["clean"]}
    figure = figures.sample_grid(samples)
    assert "×1," in words_of(figure)
    for axes in figure.axes[-8:]:
        np.testing.assert_array_equal(axes.images[0].get_array(), 0.5)


def test_class_names_are_no_formulas(samples: Samples) -> None:
    samples["class_names"] = np.array([r"$\frac{$", *"abcdefghi"])
    assert png(figures.sample_grid(samples), dpi=30)


@pytest.mark.parametrize("largest", [1 / 255, 8 / 255, 16 / 255, 0.3, 0.9, 1e-9])
def test_amplification_fills_half_the_range(largest: float) -> None:
    factor = figures.amplification(np.array([-largest, largest / 2]))
    assert factor >= 1
    assert factor == 1 or 0.25 < factor * largest <= 0.505


def test_firing_rates_mark_silent_and_saturated(history: History) -> None:
    shown = words_of(figures.firing_rates(history))
    assert "silent\n0.4%" in shown and "saturated\n98.1%" in shown and "stage1.block0.fire1" in shown


def test_firing_rates_without_a_start(history: History) -> None:
    late = [line for line in history if line["epoch"] > 0 and line["stage"] == "classifier"]
    figure = figures.firing_rates(late)
    assert len(figure.axes) == 1 and png(figure, dpi=40)


def test_training_curves_draw_each_loss(history: History) -> None:
    figure = figures.training_curves(history)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Classifier loss",
        "Classifier accuracy",
        "Purifier loss",
    ]
    assert [len(axes.lines) for axes in figure.axes] == [1, 2, 4]
    recorded = [line["loss"] for line in history if line["stage"] == "classifier" and line["epoch"]]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), recorded)


@pytest.mark.parametrize("draw", [figures.training_curves, figures.firing_rates])
def test_history_with_nothing_to_draw(draw: Any) -> None:
    with pytest.raises(InputError, match="recorded"):
        draw([{"stage": "classifier", "epoch": 0}])


def test_spread_keeps_order_and_distance() -> None:
    placed = spread([0.3, 3.1, 21.4, 2.0], 10, 3, 97)
    assert np.argsort(placed).tolist() == [0, 3, 1, 2]
    assert min(np.diff(sorted(placed))) > 9.5


def test_figures_are_reproducible(history: History) -> None:
    assert png(figures.training_curves(history), dpi=40) == png(figures.training_curves(history), dpi=40)
