"""A new attack from outside the package: one mechanism and one preset, registered where they are defined."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from training.tiny import recipe

import purespike as ps
from purespike.attacks import Attack, AttackResult, attack, create_attack, list_attacks, registry
from purespike.ball import Ball
from purespike.evaluation.diagnostics.invariants import Measured, check_table
from purespike.experiment import Run
from purespike.reporting.tables import markdown_table
from purespike.results import vocabulary
from purespike.seeding import generator
from purespike.training import accelerator


def define():
    """What a user writes."""

    @attack(title="Corner search", order=105, norms=("linf",))
    @dataclass(frozen=True, kw_only=True)
    class CornerSearch(Attack):
        """Tries random corners of the ball, and keeps the first that is misclassified."""

        name: str = "corners"
        eps: float = 8 / 255
        corners: int = 4
        seed: int = 0

        @property
        def differentiates(self):
            return False

        @property
        def passes(self):
            return self.corners + 1

        @torch.no_grad()
        def __call__(self, model, images, labels):
            ball, draw = Ball.parse(self.eps), generator(self.seed, "corners")
            found, step = images.clone(), torch.zeros_like(labels)
            success = model(images).argmax(1) != labels
            for corner in range(1, self.corners + 1):
                tried = ball.project(images + ball.size * ball.boundary(images.shape, draw), images)
                wrong = (model(tried).argmax(1) != labels) & ~success
                found[wrong], step[wrong], success[wrong] = tried[wrong], corner, True
            forwards = len(images) * self.passes
            return AttackResult(found, success, step, torch.zeros(1, len(images)), forwards, 0)

    @attack(title="Double PGD", order=45, rank=2)
    def double_pgd(**settings):
        """PGD of four steps from two starts."""
        return create_attack("pgd", **{"steps": 4, "restarts": 2, **settings})

    return double_pgd


@pytest.fixture
def double_pgd(monkeypatch):
    """The new attack's function; other tests see none of it."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.setattr(vocabulary, "ATTACKS", dict(vocabulary.ATTACKS))
    return define()


def test_an_evaluation_and_its_table_know_it(double_pgd):
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(27, 4)), torch.rand(8, 3, 3, 3)
    labels = model(images).argmax(1)
    found = ps.evaluate(
        model,
        (images, labels),
        attacks=["pgd", {"name": "corners", "corners": 9}, {"name": "double_pgd", "loss": "margin"}],
        threat=["undefended"],
        eps="64/255",
    )
    table = markdown_table(found)
    places = [table.index(title) for title in ("| PGD-7", "| Double PGD-4", "| Corner search")]
    assert places == sorted(places)
    alone = double_pgd(model, images, labels, eps=64 / 255, step_size=0.1)
    assert alone.success.any() and (alone.config["name"], alone.config["restarts"]) == ("double_pgd", 2)
    assert found.cell("double_pgd", "undefended").settings.to_json()["loss"] == "margin"
    assert found.cell("corners", "undefended").settings.to_json()["corners"] == 9
    assert {"corners", "double_pgd"} <= set(list_attacks())


def test_invariants_respect_its_rank_and_that_it_queries(double_pgd):
    weak = Measured("pgd", "adaptive", 0.2, eps=0.1, steps=4)
    strong = Measured("double_pgd", "adaptive", 0.6, eps=0.1, steps=4)
    (finding,) = check_table([weak, strong])
    assert finding.name == "an iterated attack is at least as strong"
    queries = Measured("corners", "query", 0.1, eps=0.1)
    (finding,) = check_table([weak, queries])
    assert finding.name == "gradients are at least as strong as queries"


def test_a_recipe_runs_it_to_the_report(double_pgd, tmp_path):
    settings = {"attacks": [{"name": "corners"}, {"name": "double_pgd", "steps": 2}], "surrogates": ["atan"]}
    evaluation, report = Run(recipe(evaluation=settings), tmp_path / "run", accelerator(device="cpu"))()
    assert {cell["attack"] for cell in evaluation.content["cells"]} == {"corners", "double_pgd"}
    assert "Corner search" in report.read_text() and "Double PGD-2" in report.read_text()


def test_an_attack_is_registered_once(double_pgd):
    with pytest.raises(ps.InputError, match="'corners' is registered twice"):
        define()
