"""A sheet's text and figure show its cells, the printed ones apart, and say what is missing."""

import re

import pytest

from purespike.reporting.drawing import lay_out, png
from purespike.reproduction.sheet import Column, Sheet, SheetCell, SheetRow, SheetScale
from purespike.reproduction.sheet_figures import sheet_figure
from purespike.reproduction.sheet_text import number, sheet_grid
from purespike.results import Provenance

CLEAN, ALONE, ADAPTIVE = Column("Clean"), Column("PGD", "alone"), Column("PGD", "adaptive")


def cell(*values, n=None, interval=None):
    return SheetCell.of(values, n=n, interval=interval)


def row(group, method, origin, cells, **more):
    return SheetRow(group=group, method=method, origin=origin, cells=cells, **more)


OURS = {
    CLEAN: cell(0.5, n=1000, interval=(0.47, 0.53)),
    ALONE: cell(0.333, n=100, interval=(0.25, 0.43)),
    ADAPTIVE: cell(0.0, n=100, interval=(0.0, 0.037)),
}
ROWS = (
    row("CIFAR-10", "Ours", "measured", OURS),
    row("CIFAR-10", "Ours, paper", "paper", {ALONE: cell(0.7416)}),
    row("CIFAR-10", "A_B", "quoted", {ALONE: cell(0.091)}),
    row("SVHN", "Ours", "missing", {}, reason="no images"),
)


def sheet(**changes):
    content = {
        "schema_version": 1,
        "experiment": "table2",
        "title": "Table 2: robustness, L∞ eps 8/255",
        "kind": "dots",
        "columns": (CLEAN, ALONE, ADAPTIVE),
        "rows": ROWS,
        "notes": ("The paper attacks the classifier alone.",),
        "scale": SheetScale(images=100, about="small networks"),
        "seeds": (0,),
        "provenance": Provenance(),
    }
    return Sheet(**{**content, **changes})


def test_markdown():
    text = sheet_grid(sheet()).markdown("**{}**")
    assert "| CIFAR-10 | Clean | PGD (classifier alone) | PGD (adaptive) |" in text
    assert "| Ours | 50.0 \\[47, 53\\] | 33.3 \\[25, 43\\] | 0.0 \\[0, 4\\] |" in text
    assert "| *Ours, paper* | – | *74.16* | – |" in text
    assert "| *A\\_B (quoted)* | – | *9.10* | – |" in text
    assert "| Ours | not measured | – | – |" in text
    assert "one seed; 100 test images attacked. Scale: small networks." in text
    assert "Not measured: SVHN" in text


def test_latex_has_a_row_for_each_and_as_many_cells_as_columns():
    text = sheet_grid(sheet()).latex()
    rows = [line for line in text.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
    assert len(rows) == 2 + 4 and {line.count(" & ") for line in rows} == {3}
    assert "\\textit{74.16}" in text and "A\\_B" in text and "$\\infty$" in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "%", "–"),
        (cell(0.12345), "%", "12.35"),
        (cell(0.479, 0.521, n=10), "%", "50.0 ± 3.0"),
        (cell(3.14159), "×", "3.14"),
        (cell(150.0), "count", "150"),
        (cell(1080.4), "thousands", "1,080"),
    ],
)
def test_numbers(value, unit, text):
    assert number(value, unit) == text


def test_several_seeds_have_a_deviation_and_no_interval():
    several = row("CIFAR-10", "Ours", "measured", {CLEAN: cell(0.488, 0.5, 0.512, n=1000)})
    text = sheet_grid(sheet(seeds=(0, 1, 2), rows=(several,))).markdown()
    assert "50.0 ± 1.2" in text and "mean ± standard deviation over 3 seeds" in text


def test_much_that_is_said_of_a_row_stands_below_the_table():
    rows = [
        row("CIFAR-10", name, "measured", {CLEAN: cell(0.5, n=100)}, remark=said)
        for name, said in (("one", "short"), ("two", "long " * 10 + "a"), ("three", "long " * 10 + "b"))
    ]
    text = sheet_grid(sheet(rows=tuple(rows))).markdown()
    assert all(part in text for part in ("| one (short) |", "| two (note 1) |", "| three (note 2) |"))
    assert f"Note 2, three: {'long ' * 10}b." in text and text.count("long") == 20


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


@pytest.mark.parametrize("name", ["Ours", "the guess, where the encoder learns from nothing but that guess"])
def test_panels_are_as_wide_beside_long_names_as_beside_short_ones(name):
    figure = lay_out(sheet_figure(sheet(rows=(row("CIFAR-10", name, "measured", OURS),))))
    assert all(axes.get_position().width * figure.get_figwidth() > 1.9 for axes in figure.axes)


def test_what_is_no_share_has_no_panel():
    """A gap in points or thousands of passes have no place on an axis from 0 to 100%."""
    passes = Column("passes", unit="thousands")
    cells = {**OURS, passes: cell(11.5)}
    given = sheet(
        columns=(CLEAN, ALONE, ADAPTIVE, passes), rows=(row("CIFAR-10", "Ours", "measured", cells),)
    )
    figure = sheet_figure(given)
    assert [axes.get_title() for axes in figure.axes] == ["Clean", "PGD"]
    assert all(0 <= x <= 100 for axes in figure.axes for line in axes.lines for x in line.get_xdata())


def test_curves_by_steps_and_by_size_do_not_mix():
    five, ten, small = Column("5 steps"), Column("10 steps"), Column("eps 1/255")
    values = {
        column: SheetCell.of([value], n=9, threat="adaptive")
        for column, value in {five: 0.4, ten: 0.3, small: 0.6}.items()
    }
    rows = (
        row("CIFAR-10", "Ours, adaptive", "measured", values),
        row("CIFAR-10", "Ours, paper", "paper", {small: cell(0.59)}),
    )
    steps, size = sheet_figure(sheet(kind="curves", columns=(five, ten, small), rows=rows)).axes
    (ours,) = steps.lines
    assert list(ours.get_xdata()) == [5, 10] and list(ours.get_ydata()) == [40, 30]
    assert [list(line.get_xdata()) for line in size.lines] == [[1], [1]]
    assert ours.get_linestyle() == "--" and size.lines[1].get_linestyle() == "None"


@pytest.mark.parametrize("kind", ["dots", "curves", "bars"])
def test_every_kind_draws_also_where_nothing_was_measured(kind):
    nothing = sheet(kind=kind, rows=ROWS[-1:])
    assert re.match(rb"\x89PNG", png(sheet_figure(nothing)))
    columns = (Column("5 steps"), Column("eps 1/255")) if kind == "curves" else (CLEAN, ALONE)
    rows = (row("CIFAR-10", "Ours", "measured", {column: cell(0.5, n=10) for column in columns}),)
    assert png(sheet_figure(sheet(kind=kind, columns=columns, rows=rows)))
