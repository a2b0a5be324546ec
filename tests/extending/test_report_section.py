"""A section of the report from outside the package: one function."""

import html
import re
import shutil
from pathlib import Path

import pytest
from markupsafe import Markup

from purespike.errors import Absent, InputError
from purespike.reporting.page import write_report
from purespike.reporting.section import SECTIONS, Report, section
from purespike.results import Evaluation

ROOT = Path(__file__).parents[2] / "results"


@pytest.fixture(autouse=True)
def sections_as_before():
    before = list(SECTIONS)
    yield
    SECTIONS[:] = before


def hardest(report: Report) -> str:
    """Images that no attack on the defended model breaks."""
    evaluation = report.evaluation
    robust = evaluation.worst_case_at(evaluation.budgets[0], evaluation.end_to_end_threats)
    return f"{robust.sum()} of {robust.size} images < all others."


def written(tmp_path: Path) -> str:
    tmp_path.joinpath("run").mkdir()
    shutil.copy(ROOT / "digits" / "evaluation.json", tmp_path / "run")
    return write_report(tmp_path / "run").read_text(encoding="utf-8")


def test_a_section_of_text_is_on_the_page_in_its_place(tmp_path):
    section("hardest", "Images that no attack breaks", before="cost")(hardest)
    page = written(tmp_path)
    evaluation = Evaluation.read(ROOT / "digits" / "evaluation.json")
    count = sum(
        all(
            cell.outcomes[image]
            for cell in evaluation.cells
            if cell.eps == 16 / 255 and cell.threat != "undefended"
        )
        for image in range(80)
    )
    assert (
        '<section id="hardest">\n<h2>Images that no attack breaks</h2>\n'
        f"<p>{count} of 80 images &lt; all others.</p>\n</section>"
    ) in page
    assert page.index('id="run"') < page.index('id="hardest"') < page.index('id="cost"')


def test_a_section_may_be_html_a_figure_or_missing(tmp_path):
    @section("html", "HTML")
    def marked_up(report: Report) -> str:
        return Markup("<b>{}</b>").format("<i>")

    @section("drawn", "Drawn")
    def drawn(report: Report) -> str:
        from matplotlib.figure import Figure

        return report.figure("drawn", "An empty figure", "Nothing.", lambda: Figure(figsize=(1, 1)))

    @section("missing", "Missing")
    def missing(report: Report) -> str:
        raise InputError("nothing was measured")

    @section("absent", "Absent")
    def absent(report: Report) -> str:
        raise Absent("nothing is wrong")

    @section("empty", "Empty")
    def empty(report: Report) -> str:
        return ""

    page = written(tmp_path)
    assert 'id="missing"' in page and 'id="absent"' not in page and 'id="empty"' not in page
    assert "<b>&lt;i&gt;</b>" in page
    assert (tmp_path / "run" / "figures" / "drawn.png").is_file() and 'aria-label="An empty figure"' in page
    assert '<p class="absent">Left out: nothing was measured.</p>' in page


def stops(report: Report) -> str:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (lambda report: {}["<best>"], "KeyError: '<best>'"),
        (lambda report: report.evaluation.worst, "AttributeError: .*'worst'"),
        (lambda report: None, "TypeError: it returned NoneType, not text"),
        (stops, "SystemExit: 0"),
    ],
)
def test_a_section_that_fails_costs_only_itself(tmp_path, capsys, body, says):
    section("own", "Own", before="cost")(body)
    page = html.unescape(written(tmp_path))
    (left_out,) = re.findall(r'<section id="own">\n<h2>Own</h2>\n<p class="absent">(.*)</p>\n', page)
    assert re.match(rf"Left out: section 'own' failed, {says}", left_out)
    assert page.index('id="own"') < page.index('id="cost"') and "PGD-20" in page
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"purespike: warning: report: section 'own' failed, {says}.*without it$", line)


def test_names_are_checked():
    with pytest.raises(InputError, match="section 'cost' is registered twice"):
        section("cost", "Cost")(hardest)
    with pytest.raises(InputError, match="no section 'price'; there are comparison, robustness, "):
        section("hardest", "Hardest", before="price")(hardest)
