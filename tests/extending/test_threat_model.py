"""A threat model from outside: its words and its routes, registered once, are attacked, told and drawn."""

import pytest
import torch
from torch import nn

import purespike
from purespike.attacks.routes import direct
from purespike.evaluation.threat import THREATS as ATTACKERS
from purespike.evaluation.threat import threat_model
from purespike.leaderboard.ranking import leaderboard
from purespike.leaderboard.rendering import markdown_leaderboard
from purespike.reporting.artefacts import write_artefacts
from purespike.reporting.figures import accuracy_curve
from purespike.results import Evaluation, Score
from purespike.results.vocabulary import THREATS, ThreatWords

WORDS = ThreatWords(
    name="decision",
    title="Decision",
    short="labels only",
    definition="The attacker sees the label and nothing else.",
    color="#336600",
    marker="h",
    knowledge=2,
)


class LabelsOnly(nn.Module):
    """The model as an attacker sees it who is told the label and nothing else."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        logits = self.model(images)
        return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).float()


def decision(scene, attack):
    return [] if attack.differentiates else [direct(LabelsOnly(scene.model).eval(), name="labels")]


@pytest.fixture(autouse=True)
def registered():
    threat_model(WORDS, knows="the label", gradient="nothing")(decision)
    yield
    del THREATS[WORDS.name], ATTACKERS[WORDS.name]


def make() -> Evaluation:
    """Two budgets of one attack under two threat models; the worst case is their common robust images."""
    outcomes = {("adaptive", 4): [1, 0, 1, 1], ("adaptive", 8): [1, 0, 0, 1]}
    outcomes |= {("decision", 4): [1, 1, 1, 0], ("decision", 8): [1, 1, 0, 0]}
    about = {"attack": "pgd", "norm": "linf", "settings": {"steps": 20}}
    cells = [
        {**about, "threat": threat, "eps": eps / 255, "outcomes": bits, "score": Score.of(bits)}
        for (threat, eps), bits in outcomes.items()
    ]
    return Evaluation(
        schema=1,
        model={"classifier": {}, "purifier": {}},
        data={"source": "digits", "n": 4},
        settings={"eps": [8 / 255]},
        clean={"undefended": Score.share(4, 4), "defended": Score.share(4, 4)},
        clean_outcomes={"undefended": [1] * 4, "defended": [1] * 4},
        cells=cells,
    )


def test_it_is_in_tables_page_card_and_leaderboard(tmp_path):
    page = write_artefacts(make(), tmp_path, name="ours").read_text(encoding="utf-8")
    assert "<small>labels only</small>" in page and WORDS.definition in page
    assert ".decision { --tone: #336600; }" in page
    table = (tmp_path / "robustness.md").read_text(encoding="utf-8")
    assert "decision (labels only)" in table and "| Decision |" in table and "50.0 [15.0, 85.0] |" in table
    (line,) = leaderboard(tmp_path).groups[0].lines
    assert line.field("decision_acc").text == "50.00" and line.field("worst_case").text == "25.00"
    assert "Decision (labels only)" in markdown_leaderboard(leaderboard(tmp_path))


def test_it_is_drawn_in_its_colour():
    lines = [line for line in accuracy_curve(make()).axes[0].lines if line.get_marker() == "h"]
    assert [line.get_color() for line in lines] == ["#336600"]
    assert lines[0].get_ydata().tolist() == [100, 75, 50]


def test_it_attacks_by_its_own_routes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).eval()
    images = torch.rand(12, 3, 8, 8)
    labels = model(images).argmax(1)
    chosen = {"attacks": ["fgsm", "square:queries=40"], "eps": "32/255", "diagnose": 0}
    found = purespike.evaluate(model, (images, labels), threat="all", **chosen)
    assert {cell.threat for cell in found.cells if cell.attack == "square"} == {"undefended", "decision"}
    assert {cell.threat for cell in found.cells if cell.attack == "fgsm"} == {"undefended", "adaptive"}
    cell = found.cell("square", "decision")
    assert [part.surrogate for part in cell.components] == ["labels"] and cell.components[0].attacked == 12
    # labels alone tell Square less than logits do
    assert cell.score.correct >= found.cell("square", "undefended").score.correct
