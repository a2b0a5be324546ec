"""The heat map shows the measured numbers, where they belong."""

from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from purespike.errors import InputError
from purespike.reporting.drawing import png
from purespike.reporting.matrix import transfer_heatmap


def score(correct: int) -> dict[str, Any]:
    return {
        "correct": correct,
        "n": 50,
        "accuracy": correct / 50,
        "low": correct / 60,
        "high": correct / 51 + 0.02,
    }


@pytest.fixture
def matrix() -> dict[str, Any]:
    """Two substitutes, three targets, two budgets; every score another."""
    substitutes, targets = ["ours", "a_net_whose_name_is_far_too_long"], ["ours", "guarded", "c$x^2$"]
    cells = []
    for eps in (8 / 255, 16 / 255):
        for substitute in substitutes:
            for target in targets:
                cells.append(
                    {
                        "attack": "pgd",
                        "eps": eps,
                        "norm": "linf",
                        "settings": {"steps": 20},
                        "substitute": substitute,
                        "target": target,
                        "score": score(3 * len(cells)),
                        "white_box": substitute == target,
                    }
                )
    return {
        "substitutes": {name: {} for name in substitutes},
        "targets": {name: {} for name in targets},
        "data": {"source": "digits", "split": "test", "n": 50},
        "clean": {"targets": {name: score(48 + number) for number, name in enumerate(targets)}},
        "cells": cells,
    }


def placed(figure: Figure, panel: int) -> dict[tuple[int, int], str]:
    """Entry texts by row and column."""
    texts = [text for text in figure.axes[panel].texts if "–" not in text.get_text()]
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in texts}


def test_every_number_stands_in_its_row_and_column(matrix: dict[str, Any]) -> None:
    figure = transfer_heatmap(matrix)
    assert len(figure.axes) == 2
    for panel in (0, 1):
        entries = placed(figure, panel)
        assert [entries[0, column] for column in range(3)] == ["96.0", "98.0", "100.0"]
        for row in range(2):
            for column in range(3):
                assert entries[row + 1, column] == f"{6.0 * (6 * panel + 3 * row + column):.1f}"
        names = [label.get_text() for label in figure.axes[panel].get_yticklabels()]
        assert names[:2] == ["clean", "ours"] and names[2].endswith("…")
    assert "eps 16/255" in figure.axes[1].get_title(loc="left")


def test_the_white_box_entry_is_outlined(matrix: dict[str, Any]) -> None:
    for axes in transfer_heatmap(matrix).axes:
        outlines = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        ((x, y),) = [patch.get_xy() for patch in outlines]
        assert x < 0 < x + outlines[0].get_width() and y < 1 < y + outlines[0].get_height()


def test_colour_follows_accuracy(matrix: dict[str, Any]) -> None:
    (image,) = transfer_heatmap(matrix).axes[0].images
    assert image.get_clim() == (0, 100)
    assert image.get_array()[1, 2] == pytest.approx(12.0)
    shades = [to_hex(image.cmap(share)) for share in (0.0, 0.5, 1.0)]
    assert len(set(shades)) == 3 and shades[2] == "#ffffff"


def test_the_same_matrix_gives_the_same_bytes(matrix: dict[str, Any]) -> None:
    assert png(transfer_heatmap(matrix)) == png(transfer_heatmap(matrix))


def test_an_empty_matrix_is_refused(matrix: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="no entries"):
        transfer_heatmap({**matrix, "cells": []})
