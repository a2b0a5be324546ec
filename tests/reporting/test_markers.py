"""What is put between markers is found there, and nothing else changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purespike.errors import InputError
from purespike.reporting.markers import fill, held, names

PAGE = "# Title\n\n<!-- one -->\nold\n<!-- /one -->\n\ntext\n<!-- two -->\n<!-- /two -->\nend\n"
LINES = st.text(st.characters(exclude_characters="<>\r", exclude_categories=["Cs"]))


@given(first=LINES, second=LINES)
def test_each_part_is_filled_by_itself(first, second):
    page = fill(fill(PAGE, "one", first), "two", second)
    assert (held(page, "one"), held(page, "two")) == (first.strip(), second.strip())
    assert names(page) == ["one", "two"]
    assert fill(fill(page, "one", "old"), "two", "").split() == PAGE.split()
    assert fill(page, "one", first) == page


@pytest.mark.parametrize(
    "page", ["no markers", "<!-- one -->", "<!-- /one --><!-- one -->", PAGE + "<!-- one --><!-- /one -->"]
)
def test_a_page_without_its_markers_is_refused(page):
    with pytest.raises(InputError, match="<!-- /one -->, once"):
        fill(page, "one", "new")
