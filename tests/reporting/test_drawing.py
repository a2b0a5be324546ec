"""Figures as a part of a page: words stay text, colours follow the page, nothing reaches outside."""

import re
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from purespike.reporting import figures, sample_grid, training_curves, waterfall
from purespike.reporting.drawing import INK, NARROW, TEXT, WIDE, dress, new_figure, svg
from purespike.results import Epoch, Evaluation, Samples


def drawn(title: str) -> Figure:
    figure = new_figure(2, 2)
    axes = figure.add_subplot()
    dress(axes, title=title)
    axes.plot([0, 1], [0, 1], color="#123456", marker="o", label="mine")
    return figure


def test_an_svg_is_one_element_of_a_page() -> None:
    text = svg(drawn("a < b"), "mine")
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg") and "width" not in root.attrib and "viewBox" in root.attrib
    assert "<style" not in text and "<metadata" not in text
    assert "a < b" in [item.text for item in root.iter("{http://www.w3.org/2000/svg}text")]
    assert all(name.startswith("mine-") for name in re.findall(r' id="(.*?)"', text))
    used = re.findall(r'href="#(.*?)"|url\(#(.*?)\)', text)
    assert used and {first or second for first, second in used} <= set(re.findall(r' id="(.*?)"', text))


def test_colours_of_the_page_are_variables_and_others_stay() -> None:
    text = svg(drawn("title"), "mine")
    assert f"fill: var(--ink, {INK})" in text and "stroke: #123456" in text
    # no ground of its own: neither that of the figure nor that of the axes
    assert "#ffffff" not in text and "white" not in text


def test_markup_in_words_stays_words() -> None:
    text = svg(drawn("<script>alert(1)</script>"), "mine")
    assert "<script" not in text and "&lt;script" in text


def test_the_same_figure_is_the_same_text() -> None:
    assert svg(drawn("title"), "mine") == svg(drawn("title"), "mine")
    assert svg(drawn("title"), "mine") != svg(drawn("title"), "yours")


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("name", ["waterfall", "curve", "samples", "training", "firing"])
def test_every_word_of_a_figure_is_legible(
    name: str, narrow: bool, evaluation: Evaluation, history: list[Epoch], samples: Samples
) -> None:
    draw = {
        "waterfall": lambda: waterfall.waterfall(evaluation, narrow=narrow),
        "curve": lambda: figures.accuracy_curve(evaluation, narrow=narrow),
        "samples": lambda: sample_grid.sample_grid(samples, narrow=narrow),
        "training": lambda: training_curves.training_curves(history, narrow=narrow),
        "firing": lambda: training_curves.firing_rates(history, narrow=narrow),
    }
    figure = draw[name]()
    assert figure.get_size_inches()[0] == (NARROW if narrow else WIDE)
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: [^;\"]*?([\d.]+)px", svg(figure, "mine"))]
    assert sizes and min(sizes) >= TEXT == 11
