"""A reproduction's table and figure show its cells, the printed ones apart, and say what is missing."""

import re

import pytest

from purespike.reporting.drawing import png
from purespike.reporting.sheet_figures import sheet_figure
from purespike.reporting.sheet_tables import latex_sheet, markdown_sheet, number


def cell(mean, *, n=None, low=None, high=None, deviation=None):
    return {
        "values": [mean],
        "mean": mean,
        "deviation": deviation,
        "n": n,
        "low": low,
        "high": high,
        "threat": None,
    }


def column(title, attacker="", unit="%"):
    return {"title": title, "attacker": attacker, "unit": unit, "key": f"{title}|{attacker}"}


def sheet(**changes):
    return {
        "experiment": "table2",
        "title": "Table 2: robustness, L∞ eps 8/255",
        "kind": "dots",
        "columns": [column("Clean"), column("PGD", "alone"), column("PGD", "adaptive")],
        "rows": [
            {
                "group": "CIFAR-10",
                "method": "Ours",
                "origin": "measured",
                "cells": {
                    "Clean|": cell(0.5, n=1000, low=0.47, high=0.53),
                    "PGD|alone": cell(0.333, n=100, low=0.25, high=0.43),
                    "PGD|adaptive": cell(0.0, n=100, low=0.0, high=0.037),
                },
            },
            {
                "group": "CIFAR-10",
                "method": "Ours, paper",
                "origin": "paper",
                "cells": {"PGD|alone": cell(0.7416)},
            },
            {
                "group": "CIFAR-10",
                "method": "A_B",
                "origin": "quoted",
                "cells": {"PGD|alone": cell(0.091)},
            },
            {"group": "SVHN", "method": "Ours", "origin": "missing", "reason": "no images", "cells": {}},
        ],
        "notes": ["The paper attacks the classifier alone."],
        "scale": {"images": 100, "about": "small networks"},
        "seeds": [0],
        **changes,
    }


def test_markdown():
    text = markdown_sheet(sheet())
    assert "| CIFAR-10 | Clean | PGD (classifier alone) | PGD (adaptive) |" in text
    assert "| Ours | 50.0 \\[47, 53\\] | 33.3 \\[25, 43\\] | 0.0 \\[0, 4\\] |" in text
    assert "| *Ours, paper* | – | *74.16* | – |" in text
    assert "| *A\\_B (quoted)* | – | *9.10* | – |" in text
    assert "| Ours | not measured | – | – |" in text
    assert "one seed; attacked were 100 test images. Scale: small networks." in text
    assert "Not measured: SVHN" in text


def test_latex_has_a_row_for_each_and_as_many_cells_as_columns():
    text = latex_sheet(sheet())
    rows = [line for line in text.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
    assert len(rows) == 2 + 4 and {line.count(" & ") for line in rows} == {3}
    assert "\\textit{74.16}" in text and "A\\_B" in text and "$\\infty$" in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "%", "–"),
        (cell(0.12345), "%", "12.35"),
        (cell(0.5, n=10, deviation=0.021), "%", "50.0 ± 2.1"),
        (cell(3.14159), "×", "3.14"),
        (cell(150.0), "count", "150"),
    ],
)
def test_numbers(value, unit, text):
    assert number(value, unit) == text


def test_several_seeds_have_a_deviation_and_no_interval():
    several = sheet(seeds=[0, 1, 2])
    several["rows"][0]["cells"]["Clean|"] = cell(0.5, n=1000, deviation=0.012)
    text = markdown_sheet(several)
    assert "50.0 ± 1.2" in text and "mean ± standard deviation over 3 seeds" in text


def test_every_cell_is_a_mark_at_its_number_on_the_line_of_its_method():
    figure = sheet_figure(sheet())
    clean, pgd = figure.axes[:2]
    marks = {
        (round(line.get_xdata()[0], 6), line.get_ydata()[0], line.get_markerfacecolor() == "white")
        for line in pgd.lines
        if line.get_marker() != "None"
    }
    # what the paper prints of ours stands hollow on our line
    assert marks == {(33.3, 0, False), (0.0, 0, False), (74.16, 0, True), (9.1, 1, True)}
    assert [label.get_text() for label in clean.get_yticklabels()] == ["Ours", "A_B"]
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"CIFAR-10", "SVHN", "not measured"} <= set(words)
    assert [axes.get_title() for axes in figure.axes] == ["Clean", "PGD", "", ""]


def test_curves_by_steps_and_by_size_do_not_mix():
    both = sheet(kind="curves", columns=[column("5 steps"), column("10 steps"), column("eps 1/255")])
    values = {"5 steps|": cell(0.4, n=9), "10 steps|": cell(0.3, n=9), "eps 1/255|": cell(0.6, n=9)}
    both["rows"] = [
        {"group": "CIFAR-10", "method": "Ours, adaptive", "origin": "measured", "cells": values},
        {
            "group": "CIFAR-10",
            "method": "Ours, paper",
            "origin": "paper",
            "cells": {"eps 1/255|": cell(0.59)},
        },
    ]
    steps, size = sheet_figure(both).axes
    (ours,) = steps.lines
    assert list(ours.get_xdata()) == [5, 10] and list(ours.get_ydata()) == [40, 30]
    assert [list(line.get_xdata()) for line in size.lines] == [[1], [1]]
    assert ours.get_linestyle() == "--" and size.lines[1].get_linestyle() == "None"


@pytest.mark.parametrize("kind", ["dots", "curves", "bars"])
def test_every_kind_draws_also_where_nothing_was_measured(kind):
    nothing = sheet(kind=kind)
    nothing["rows"] = [row for row in nothing["rows"] if row["origin"] == "missing"]
    assert re.match(rb"\x89PNG", png(sheet_figure(nothing)))
    assert png(sheet_figure(sheet(kind=kind)))
