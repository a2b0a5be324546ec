"""The matrix shows the measured numbers, where they belong, as a heat map and as Markdown."""

from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from purespike.errors import InputError
from purespike.reporting.drawing import png
from purespike.reporting.matrix import transfer_heatmap
from purespike.reporting.matrix_tables import markdown_matrix
from purespike.results import Score, TransferMatrix


def score(correct: int) -> Score:
    return Score.share(correct, 50)


@pytest.fixture
def matrix() -> TransferMatrix:
    """Two substitutes, three targets, two budgets; every score another."""
    substitutes, targets = ["ours", "a_net_whose_name_is_far_too_long"], ["ours", "guarded", "c$x^2$"]
    cells: list[dict[str, Any]] = []
    for eps in (8 / 255, 16 / 255):
        for substitute in substitutes:
            for target in targets:
                cells.append(
                    {
                        "attack": "pgd",
                        "eps": eps,
                        "norm": "linf",
                        "threat": "transfer",
                        "substitute": substitute,
                        "target": target,
                        "white_box": substitute == target,
                        "settings": {"steps": 20},
                        "outcomes": [],
                        "score": score(3 * len(cells)),
                        "forwards": 1,
                        "backwards": 1,
                        "seconds": 1.0,
                        "mean_l2": 1.0,
                    }
                )
    model = {"classifier": {}, "purifier": None}
    return TransferMatrix(
        schema=1,
        substitutes=dict.fromkeys(substitutes, model),
        targets=dict.fromkeys(targets, model),
        data={"source": "digits", "split": "test", "n": 50},
        training={"ours": {"images": 1200, "attacked": 0, "targets": {"guarded": 1100}}},
        settings={"norm": "linf"},
        clean={
            "substitutes": dict.fromkeys(substitutes, score(50)),
            "targets": {name: score(48 + number) for number, name in enumerate(targets)},
        },
        clean_outcomes={},
        labels=[],
        cells=cells,
        seed=0,
        provenance={},
    )


def placed(figure: Figure, panel: int) -> dict[tuple[int, int], str]:
    """Entry texts by row and column."""
    texts = [text for text in figure.axes[panel].texts if "–" not in text.get_text()]
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in texts}


def test_every_number_stands_in_its_row_and_column(matrix: TransferMatrix) -> None:
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


def test_the_white_box_entry_is_outlined(matrix: TransferMatrix) -> None:
    for axes in transfer_heatmap(matrix).axes:
        outlines = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        ((x, y),) = [patch.get_xy() for patch in outlines]
        assert x < 0 < x + outlines[0].get_width() and y < 1 < y + outlines[0].get_height()


def test_colour_follows_accuracy(matrix: TransferMatrix) -> None:
    (image,) = transfer_heatmap(matrix).axes[0].images
    assert image.get_clim() == (0, 100)
    assert image.get_array()[1, 2] == pytest.approx(12.0)
    shades = [to_hex(image.cmap(share)) for share in (0.0, 0.5, 1.0)]
    assert len(set(shades)) == 3 and shades[2] == "#ffffff"


def test_the_same_matrix_gives_the_same_bytes(matrix: TransferMatrix) -> None:
    assert png(transfer_heatmap(matrix)) == png(transfer_heatmap(matrix))


def test_an_empty_matrix_is_refused(matrix: TransferMatrix) -> None:
    with pytest.raises(InputError, match="no entries"):
        transfer_heatmap(matrix.model_copy(update={"cells": ()}))


def test_markdown_has_a_table_per_budget(matrix: TransferMatrix) -> None:
    lines = markdown_matrix(matrix).splitlines()
    assert [line for line in lines if line.startswith("**")] == [
        f"**PGD-20, L∞, eps {eps}/255**" for eps in (8, 16)
    ]
    rows = [line for line in lines if line.startswith("| ours |")]
    assert [row.count("*") for row in rows] == [2, 2] and rows[0].startswith(
        "| ours | *0.0 [0.0, 7.1]* | 6.0 ["
    )
    assert r"| Substitute | ours | guarded | c\$x^2\$ |" in lines
    assert "*Italic*: substitute and target are the same model (white-box)." in lines[0]
    note = "ours was trained on 1,200 images: none of them attacked here, 1,100 of guarded's."
    assert lines[-1] == note
