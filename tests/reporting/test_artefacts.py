"""Everything that can be made of an evaluation is written, and agrees with it."""

import json
from pathlib import Path

import pytest

from purespike.reporting import section, tables
from purespike.reporting.artefacts import write_artefacts
from purespike.results import Evaluation, read_outcomes

ROOT = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("name", ["digits", "mnist-small", "cifar10-small"])
def test_a_committed_evaluation_leaves_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(section, "png", lambda figure: b"")
    monkeypatch.setattr(section, "svg", lambda figure, name: f"<svg {name}>")
    evaluation = Evaluation.read(ROOT / name / "evaluation.json")
    report = write_artefacts(evaluation, tmp_path / "out", name=name)
    (card,) = report.parent.glob("card-*.json")
    names = ("outcomes.npz", "evaluation.json", "report.html", "figures")
    tables_ = ("robustness.md", "robustness.tex", "robustness.csv")
    assert {path.name for path in report.parent.iterdir()} == {*names, *tables_, card.name}
    assert (report.parent / "evaluation.json").read_bytes() == (ROOT / name / "evaluation.json").read_bytes()
    assert (report.parent / "robustness.md").read_text(encoding="utf-8") == tables.markdown_table(evaluation)
    text = report.read_text(encoding="utf-8")
    figures = ("waterfall", "accuracy_curve")
    assert all(f"<svg {figure}>" in text and f"<svg {figure}-narrow>" in text for figure in figures)
    found = json.loads(card.read_text(encoding="utf-8"))
    robust = read_outcomes(report.parent / "outcomes.npz")
    for case in evaluation.worst_case:
        assert found[f"{case.threat}_acc"] == f"{100 * case.score.accuracy:.2f}"
        assert robust[f"worst/{case.threat}/{card.stem[5:]}"].sum() == case.score.correct
