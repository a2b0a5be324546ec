"""The site: what is checked of it finds what it is for, and the numbers of the tutorial are the measured "
"ones."""

import json
import re
import sys

import pytest

from purespike.results.vocabulary import percent

from .pages import ROOT, read

sys.path.insert(0, str(ROOT))

from docsite import api, commands
from docsite.check import dead_links, requests


@pytest.mark.parametrize(
    ("head", "body", "loads"),
    [
        ("<script src='https://unpkg.com/x.js'></script>", "", "https://unpkg.com/x.js"),
        ("<link rel='stylesheet' href='//fonts.example/x.css'>", "", "//fonts.example/x.css"),
        ("<link rel='preconnect' href='https://fonts.gstatic.com'>", "", "https://fonts.gstatic.com"),
        ("", "<img src='https://img.shields.io/x.svg'>", "https://img.shields.io/x.svg"),
        ("", "<p style='background: url(https://a.example/b.png)'>x</p>", "https://a.example/b.png"),
        ("", "<pre class='mermaid'>graph</pre>", "script from elsewhere"),
    ],
)
def test_a_request_to_elsewhere_is_found(tmp_path, head, body, loads):
    (tmp_path / "index.html").write_text(f"<html><head>{head}</head><body>{body}</body></html>")
    (found,) = requests(tmp_path)
    assert loads in found


def test_links_to_elsewhere_are_no_requests_and_dead_ones_are_found(tmp_path):
    text = (
        "<a href='https://arxiv.org'>a</a><a href='b.html#c'>b</a><a href='#d'>d</a><a href='/b.html'>e</a>"
    )
    (tmp_path / "a.html").write_text(f"<h1 id='d'></h1>{text}")
    (tmp_path / "b.html").write_text("<h2 id='c'></h2>")
    assert not list(requests(tmp_path)) and not list(dead_links(tmp_path))
    (tmp_path / "b.html").write_text("<a href='gone.html'>x</a>")
    assert sorted(dead_links(tmp_path)) == ["a.html: b.html#c has no such anchor", "b.html: gone.html"]
    (tmp_path / "style.css").write_text("@import 'https://fonts.example/a.css'; a { src: url(local.woff) }")
    (tmp_path / "theme.js").write_text("fetch('https://unpkg.com/x.js'); const home = 'https://example.org/'")
    assert list(requests(tmp_path)) == [
        "theme.js: loads https://unpkg.com/x.js",
        "style.css: loads https://fonts.example/a.css",
    ]


def test_every_command_and_public_module_has_its_place():
    page = commands.page()
    for name in ("run", "train classifier", "evaluate", "recipe", "leaderboard"):
        assert f"\n## {name}\n" in page
    assert "| `--images` |" in page and "| `RECIPE` |" in page
    assert all(__import__(module) for module in api.MODULES)


def test_docstrings_become_markdown():
    docstrings = pytest.importorskip("docsite.docstrings", exc_type=ImportError)
    text = docstrings.markdown(
        "See :class:`~purespike.ball.Ball` and ``x``.\n\n.. math:: a \\le b\n\nExample:\n    >>> 1\n"
    )
    assert '<autoref optional identifier="purespike.ball.Ball"><code>Ball</code></autoref> and `x`' in text
    assert "<math" in text and "Examples:\n" in text and "`" + "`" not in text


def test_the_tutorial_quotes_what_was_measured():
    evaluation = json.loads((ROOT / "results/digits16-holding/evaluation.json").read_text(encoding="utf-8"))
    cells = {cell["threat"]: cell["score"] for cell in evaluation["cells"]}
    clean = evaluation["clean_whole"]
    (row,) = (line for line in read("docs/tutorial.md").splitlines() if line.startswith("| PGD-40"))
    threats = ("undefended", "oblivious", "bpda", "adaptive")
    expected = [clean["undefended"]["accuracy"], clean["defended"]["accuracy"]]
    expected += [cells[threat]["accuracy"] for threat in threats]
    assert re.findall(r"\d+\.\d", row) == [percent(value) for value in expected]
    low, high = (percent(cells["adaptive"][bound]) for bound in ("low", "high"))
    assert f"interval of {low} to {high}" in " ".join(read("docs/tutorial.md").split())
    assert evaluation["verdict"]["level"] == "suspicious"
