"""Figures show the measured numbers; an input with nothing to draw is refused with its reason."""

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from purespike.errors import InputError
from purespike.reporting import figures
from purespike.reporting.drawing import png, spread
from purespike.reporting.waterfall import waterfall
from purespike.results import Evaluation, Score
from purespike.results.vocabulary import THREATS
from purespike.results.waterfall import attack_waterfall

from .conftest import N

Content = dict[str, Any]


def words_of(figure: Figure) -> str:
    """Every text of a figure."""
    figure.canvas.draw()
    return "\n".join(item.get_text() for item in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def curves(figure: Figure) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The marked lines of the curve figure by threat."""
    threats = {words.color: threat for threat, words in THREATS.items()}
    lines = [line for line in figure.axes[0].lines if line.get_marker() != "None"]
    return {threats[to_hex(line.get_color())]: line.get_data() for line in lines}  # type: ignore[misc]


def test_curve_starts_at_clean_and_passes_through_every_cell(evaluation: Evaluation) -> None:
    drawn = curves(figures.accuracy_curve(evaluation))
    assert set(drawn) == {"undefended", "oblivious", "bpda", "adaptive"}
    for threat, (x, y) in drawn.items():
        clean = evaluation.clean.undefended if threat == "undefended" else evaluation.clean.defended
        assert clean
        cells = [c for c in evaluation.cells if c.attack == "pgd" and c.threat == threat]
        wanted = {0.0: clean.accuracy} | {255 * (c.eps or 0): c.score.accuracy for c in cells}
        np.testing.assert_allclose(x, sorted(wanted))
        np.testing.assert_allclose(y, [100 * wanted[eps] for eps in sorted(wanted)])


def test_curve_is_the_worst_case_up_to_each_eps(content: Content) -> None:
    """An attack that breaks more at a small eps lowers its line and the adaptive one from there on."""
    cell = next(c for c in content["cells"] if (c["threat"], c["eps"]) == ("bpda", 4 / 255))
    broken = {**cell, "attack": "mine", "outcomes": [0] * N, "score": Score.share(0, N).to_json()}
    before = curves(figures.accuracy_curve(Evaluation.from_json(content)))
    drawn = figures.accuracy_curve(Evaluation.from_json(content | {"cells": [*content["cells"], broken]}))
    assert "Worst case over all attacks" in words_of(drawn)
    for threat, (x, y) in curves(drawn).items():
        old = before[threat][1]
        assert all(np.diff(y) <= 0)
        lowered = threat in ("bpda", "adaptive")
        assert list(y) == [0 if lowered and size >= 4 else high for size, high in zip(x, old, strict=True)]


def test_curve_of_a_classifier_alone(classifier_only: Evaluation) -> None:
    assert set(curves(figures.accuracy_curve(classifier_only))) == {"undefended"}


def test_curve_needs_a_bounded_attack(content: Content) -> None:
    content["cells"] = [cell for cell in content["cells"] if cell["eps"] is None]
    with pytest.raises(InputError, match="L∞"):
        figures.accuracy_curve(Evaluation.from_json(content | {"settings": {}, "worst_case": []}))


def test_curve_of_l2_has_radii(content: Content) -> None:
    for cell in content["cells"]:
        if cell["eps"]:
            cell |= {"norm": "l2", "eps": 16 * cell["eps"]}
    figure = figures.accuracy_curve(Evaluation.from_json(content))
    x, _ = curves(figure)["adaptive"]
    sizes = sorted({c["eps"] for c in content["cells"] if c["attack"] == "pgd" and c["eps"]})
    np.testing.assert_allclose(x, [0, *sizes], atol=5e-4)
    assert "radius" in words_of(figure) and "/255" not in words_of(figure).replace("16/255", "")
    assert "L2" in figure.axes[0].get_title(loc="left")


def test_curve_counts_what_an_escalated_budget_broke(content: Content) -> None:
    x, before = curves(figures.accuracy_curve(Evaluation.from_json(content)))["adaptive"]
    cell = next(c for c in content["cells"] if c["attack"] == "pgd" and c["threat"] == "adaptive")
    broken = {"outcomes": [0] * 360, "score": Score.share(0, 360).to_json()}
    content["cells"].append({**cell, "raised_from": 20, **broken})
    _, after = curves(figures.accuracy_curve(Evaluation.from_json(content)))["adaptive"]
    # and at every larger eps
    beyond = x >= 255 * cell["eps"] - 1e-6
    assert before[beyond].all() and beyond.any() and not after[beyond].any()
    np.testing.assert_array_equal(after[~beyond], before[~beyond])


def test_waterfall_has_the_heights_of_the_count(evaluation: Evaluation) -> None:
    figure = waterfall(evaluation)
    eps, n = evaluation.budgets[0], evaluation.data.n
    left, right = figure.axes
    wanted = attack_waterfall(evaluation, eps, "adaptive")
    bars = [patch for patch in left.patches if patch.get_x() == 0 and patch.get_alpha() is None]  # type: ignore[attr-defined]
    lengths = [bar.get_width() for bar in bars]  # type: ignore[attr-defined]
    np.testing.assert_allclose(lengths, [100 * stage.robust / n for stage in wanted])
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert "Adaptive" in titles[0] and all("eps 16/255" in " ".join(title.split()) for title in titles)
    names = [tick.get_text() for tick in right.get_yticklabels()]
    assert names == ["clean", "Oblivious", "BPDA", "Adaptive"]
    assert f"12.5%  {round(0.125 * n)} (−" in words_of(figure)


def test_waterfall_of_a_classifier_alone_has_one_panel(classifier_only: Evaluation) -> None:
    (part,) = waterfall(classifier_only).subfigs
    assert "Undefended" in part.get_suptitle()


def test_bars_have_the_heights_of_the_table(evaluation: Evaluation) -> None:
    figure = figures.robustness_bars(evaluation)
    heights = {round(bar.get_height(), 6) for bar in figure.axes[0].patches}  # type: ignore[attr-defined]
    cells = [cell for cell in evaluation.cells if cell.eps in (None, evaluation.budgets[0])]
    assert heights == {round(100 * cell.score.accuracy, 6) for cell in cells}
    assert "eps 16/255" in words_of(figure)


def test_bars_of_a_classifier_alone(classifier_only: Evaluation) -> None:
    assert png(figures.robustness_bars(classifier_only), dpi=40)


def test_a_waterfall_needs_outcomes_and_a_bound(content: Content) -> None:
    bare = {key: value for key, value in content.items() if key != "clean_outcomes"}
    with pytest.raises(InputError, match="clean images were not kept"):
        waterfall(Evaluation.from_json(bare))
    content["cells"] = [cell for cell in content["cells"] if cell["eps"] is None]
    with pytest.raises(InputError, match="bound"):
        waterfall(Evaluation.from_json(content))


def test_spread_keeps_order_and_distance() -> None:
    placed = spread([0.3, 3.1, 21.4, 2.0], 10, 3, 97)
    assert np.argsort(placed).tolist() == [0, 3, 1, 2]
    assert min(np.diff(sorted(placed))) > 9.5
