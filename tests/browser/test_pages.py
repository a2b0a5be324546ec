"""Reports and leaderboard are legible at a desk, on a phone, in the dark and on paper."""

import io
import re
from typing import Any

import pytest

from .conftest import PICTURES, REPORTS

DESK, PHONE = 1280, 390
SMALLEST = 11  # pixels of a letter
VIEWS = pytest.mark.parametrize(
    ("width", "scheme"), [(width, scheme) for width in (DESK, PHONE) for scheme in ("light", "dark")]
)
PAGES = pytest.mark.parametrize("name", [*REPORTS, "leaderboard"])


@pytest.fixture
def page(look: Any, reports: dict[str, str], board: str, name: str, width: int, scheme: str) -> Any:
    """One page in one view."""
    return look(reports.get(name, board), name, width, scheme)


@PAGES
@VIEWS
def test_nothing_needs_scrolling_sideways_but_tables(page: Any, name: str, width: int, scheme: str) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert (PICTURES / f"{name.replace('/', '-')}-{width}-{scheme}.png").stat().st_size > 10_000


@PAGES
@VIEWS
def test_every_word_can_be_read(page: Any) -> None:
    words = page.evaluate("measure.words()")
    assert len(words) > 30
    assert not [word for word in words if word["size"] < SMALLEST or word["contrast"] < 3]


@PAGES
@VIEWS
def test_no_ground_is_glaring(page: Any, scheme: str) -> None:
    grounds = page.evaluate("measure.grounds()")
    assert grounds
    assert not [one for one in grounds if (one["luminance"] < 0.5) != (scheme == "dark")]


@pytest.mark.parametrize("name", REPORTS)
@VIEWS
def test_words_of_a_figure_are_inside_it_and_apart(page: Any) -> None:
    figures = page.evaluate("measure.figures()")
    assert figures and page.evaluate("document.images.length") == 0
    for figure in figures:
        assert len(figure["words"]) > 5
        for index, word in enumerate(figure["words"]):
            assert inside(word, figure["box"]), word
            assert not [other for other in figure["words"][:index] if overlap(word, other) > 2], word


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light")])
def test_the_adaptive_column_stays_in_view_on_a_phone(page: Any) -> None:
    for share in (0, 0.5, 1):
        page.evaluate(f"measure.scroll({share})")
        seen = page.evaluate("measure.shown('.robustness .adaptive')")
        assert len(seen) > 2 and all(seen), share
    # and the names of the attacks beside it
    assert all(page.evaluate("measure.shown('.robustness tbody th[scope=row]')"))
    page.evaluate("measure.scroll(0)")


@pytest.mark.parametrize("name", ["made"])
@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (PHONE, "light")])
def test_a_comparison_is_seen_whole(page: Any) -> None:
    """Every model with its clean and adaptive accuracy and its verdict, without scrolling sideways."""
    box = "document.querySelector('#comparison .scroll')"
    assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")
    for part in ("tbody th", "td", "thead th", ".judged"):
        seen = page.evaluate(f"measure.shown('.comparison {part}')")
        assert len(seen) >= 4 and all(seen), part


@pytest.mark.parametrize(
    ("name", "width", "scheme", "column"),
    [
        ("leaderboard", DESK, "light", "verdict"),
        ("leaderboard", DESK, "light", "adaptive_acc"),
        ("leaderboard", PHONE, "light", "adaptive_acc"),
    ],
)
def test_the_columns_to_judge_by_are_in_view(page: Any, column: str) -> None:
    for share in (0, 1):
        page.evaluate(f"measure.scroll({share})")
        seen = page.evaluate(f"measure.shown('.board .of_{column}')")
        assert len(seen) >= 9 and all(seen), share
    page.evaluate("measure.scroll(0)")


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light")])
def test_every_section_has_content(page: Any) -> None:
    for section in page.query_selector_all("section"):
        heading = section.query_selector("h2").inner_text()
        assert section.query_selector("svg, td, dd") and len(section.inner_text()) > len(heading) + 20
    assert page.query_selector_all(".absent") == []


@PAGES
@pytest.mark.parametrize(("width", "scheme"), [(DESK, "dark")])
def test_print_is_short_and_no_heading_ends_a_page(page: Any) -> None:
    import pypdf

    printed = pypdf.PdfReader(io.BytesIO(page.pdf(format="A4", prefer_css_page_size=True)))
    assert 1 <= len(printed.pages) <= 6
    heads = {squeezed(head.text_content()) for head in page.query_selector_all("h1, h2, h3, h4, caption")}
    heads |= {squeezed(head.text_content()) for head in page.query_selector_all("thead tr, p.caption")}
    for number, sheet in enumerate(printed.pages):
        text = squeezed(sheet.extract_text())
        assert len(text) > 50, number
        assert not [head for head in heads if text.endswith(head)], number


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def inside(word: dict[str, float], box: dict[str, float]) -> bool:
    within = all(word[side] >= box[side] - 1 for side in ("left", "top"))
    return within and all(word[side] <= box[side] + 1 for side in ("right", "bottom"))


def overlap(one: dict[str, float], other: dict[str, float]) -> float:
    """Pixels by which two boxes overlap, the smaller of width and height."""
    width = min(one["right"], other["right"]) - max(one["left"], other["left"])
    height = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
    return min(width, height)
