"""Every link of every page leads to a file of the repository and, where it names one, to a heading in it."""

import re
import sys

import pytest

from .pages import PAGES, ROOT, read

sys.path.insert(0, str(ROOT))

from docsite.places import external, links, place_of, relative, rewrite, site_place

# pages that the project expects and others write; the navigation shows them once they are there
EXPECTED = {"demo.md", "zoo.md", "events.md", "exporting.md"}
ALL = [*PAGES, "CHANGELOG.md"]


def anchors(text):
    """Anchors of the headings of a page, as GitHub and Python-Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {re.sub(r"\s+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", ALL)
def test_links_lead_somewhere(page):
    for target in links(read(page)):
        if external(target):
            continue
        path, fragment = place_of(target, page=page)
        assert (ROOT / path).exists(), f"{page}: {target}"
        if fragment and path.endswith(".md"):
            assert fragment[1:] in anchors(read(path)), f"{page}: {target} has no such heading"


def test_no_page_is_out_of_reach():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r": ([\w/-]+\.md)$", nav, re.MULTILINE))
    there = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    made = {
        "commands.md",
        "api/index.md",
        "examples/purespike.md",
        "readme.md",
        "contributing.md",
        "changelog.md",
    }
    assert there - named <= EXPECTED, "pages that the navigation puts under More: name them in mkdocs.yml"
    assert named - there - made <= EXPECTED


def test_a_dead_link_would_be_found():
    text = "[a](there.md) `[b](code.md)` ![c](../results/x.png#y)\n```\n[d](fence.md)\n```\n[`e`](f.md)"
    assert links(text) == ["there.md", "../results/x.png#y", "f.md"]
    assert place_of("../results/x.png#y", page="docs/howto/a.md") == ("docs/results/x.png", "#y")
    assert not (ROOT / "docs/there.md").exists()


def test_links_of_the_site_are_those_of_the_repository():
    text = "[a](../evaluating.md#x) `[b](c.md)` [`d`](../../results/digits/) [e](https://example.org) [f](#g)"
    changed = rewrite(text, lambda target: target if external(target) else "new")
    assert changed == "[a](new) `[b](c.md)` [`d`](new) [e](https://example.org) [f](#g)"
    assert site_place("docs/howto/verdict.md") == "howto/verdict.md"
    assert site_place("results/digits") == "repository/results/digits/index.md"
    assert site_place("README.md") == "readme.md"
    assert relative("evaluating.md", page="howto/verdict.md") == "../evaluating.md"
