"""The comparison on disk and on the page: its numbers, their threat models, names that are hostile."""

import html
import json
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from purespike.errors import InputError
from purespike.reporting import drawing, section
from purespike.reporting.artefacts import write_artefacts
from purespike.reporting.comparison import comparison_bars, comparison_grid, comparison_title
from purespike.reporting.page import write_report
from purespike.results import Comparison, Evaluation, Verdict

HOSTILE = "a|b<script>alert(1)</script>&amp;$x_1$"


@pytest.fixture(autouse=True)
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank figures: drawing takes seconds."""
    monkeypatch.setattr(section, "png", lambda figure: drawing.png(Figure(figsize=(1, 1)), dpi=10))
    monkeypatch.setattr(section, "svg", lambda figure, name: f'<svg class="{name}"></svg>')


@pytest.fixture
def comparison(evaluation: Evaluation) -> Comparison:
    judged = evaluation.model_copy(update={"verdict": Verdict.of([])})
    return Comparison.of("own", evaluation, {"paper": judged, HOSTILE: evaluation})


def test_every_number_of_the_page_has_its_threat_model_and_bound(
    evaluation: Evaluation, comparison: Comparison, tmp_path: Path
) -> None:
    others = {"paper": evaluation.model_copy(update={"verdict": Verdict.of([])}), HOSTILE: evaluation}
    report = write_artefacts(evaluation, tmp_path / "run", name="own", beside=others)
    text = report.read_text(encoding="utf-8")
    assert text.index('id="comparison"') < text.index('id="robustness"')
    body = text.split('<section id="comparison">')[1].split("</section>")[0]
    found = re.findall(
        r'data-threat="(\w+)" data-condition="([^"]+)"[^>]*><span class="value">([\d.]+)', body
    )
    expected = [
        (threat, "L∞, eps 16/255", score.text)
        for each in comparison.models
        for threat, score in (("oblivious", each.oblivious), (each.threat, each.worst))
        if score
    ]
    assert found == expected and len(found) == 7
    assert "undefended</span>" in body and html.escape(comparison_title(comparison), quote=False) in body
    assert "<script>alert" not in text and html.escape(HOSTILE) in body
    assert re.findall(r'<td class="level [\w-]*">([^<]+)', body) == [
        "–",
        "reliable",
        "not examined",
        "not examined",
    ]
    assert body.count("this report") == 1
    folder = report.parent
    assert Comparison.read(folder / "comparison.json") == comparison
    assert (folder / "figures" / "comparison.png").exists()
    assert (folder / "comparison.md").read_text(encoding="utf-8") == comparison_grid(comparison).markdown()


def test_the_table_in_markdown(comparison: Comparison) -> None:
    lines = comparison_grid(comparison).markdown().splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    assert [cell.strip() for cell in rows[0]] == [
        *("Model", "Clean", "Oblivious", "Adaptive, worst case", "Verdict")
    ]
    assert all(len(row) == 5 for row in rows) and len(rows) == 6
    assert rows[2][3].strip() == "**3.1** [1.7, 5.4] undefended"
    assert rows[3][3].strip() == "**12.5** [9.5, 16.3]"
    assert rows[4][0].startswith(r" a\|b&lt;script&gt;")


def test_a_report_without_others_leaves_no_comparison(evaluation: Evaluation, tmp_path: Path) -> None:
    write_artefacts(evaluation, tmp_path, name="own", beside={"paper": evaluation})
    assert (tmp_path / "comparison.md").exists()
    text = write_artefacts(evaluation, tmp_path, name="own").read_text(encoding="utf-8")
    assert 'id="comparison"' not in text
    assert not list(tmp_path.rglob("comparison.*"))


def test_a_refused_comparison_loses_nothing(evaluation: Evaluation, tmp_path: Path) -> None:
    content = json.loads(json.dumps(evaluation.to_json()))
    content["data"]["fingerprint"] = "other"
    with pytest.raises(InputError, match=r"^beside paper: the pixels differ"):
        write_artefacts(evaluation, tmp_path, name="own", beside={"paper": Evaluation.from_json(content)})
    assert Evaluation.read(tmp_path / "evaluation.json") == evaluation


def test_a_damaged_comparison_is_named_and_the_page_written(run: Path, comparison: Comparison) -> None:
    comparison.save(run / "comparison.json")
    assert 'class="robustness comparison"' in write_report(run).read_text(encoding="utf-8")
    content = comparison.to_json()
    content["models"][0]["worst"]["accuracy"] = 0.9
    (run / "comparison.json").write_text(json.dumps(content), encoding="utf-8")
    text = write_report(run).read_text(encoding="utf-8")
    assert re.search(r"Left out: \S*comparison\.json: malformed comparison: .*models", text)
    assert 'id="robustness"' in text


@pytest.mark.parametrize("narrow", [False, True])
def test_bars_have_the_length_of_their_numbers(comparison: Comparison, narrow: bool) -> None:
    (axes,) = comparison_bars(comparison, narrow=narrow).axes
    expected = [
        100 * score.accuracy
        for each in comparison.models
        for score in (each.clean, each.oblivious, each.worst)
        if score
    ]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(expected)
    assert [text.get_text() for text in axes.texts] == [f"{value:.1f}" for value in expected]
    assert len(axes.get_yticklabels()) == 4
    drawing.lay_out(axes.figure)
