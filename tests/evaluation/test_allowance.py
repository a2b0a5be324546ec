"""An examination costs no more than the attacks it examines, unless more is asked for."""

import pytest
import torch
from torch import nn

import purespike
from evaluation.victims import foreign, photographs
from purespike.evaluation.allowance import affordable, counted
from purespike.models import Defended


@pytest.mark.parametrize(
    ("taken", "spent", "expected"),
    [(10_000, 400, 32), (2_000, 400, 16), (2_399, 400, 19), (400, 400, 4), (0, 400, 4), (0, 0, 32)],
)
def test_the_trial_counts_as_well(taken, spent, expected):
    found = affordable(taken, spent, 4)
    assert found == expected
    assert found in (4, 32) or (4 + found) * spent / 4 <= taken


def test_passes_are_counted_whichever_way_they_come():
    model = Defended(nn.AvgPool2d(3, 1, 1), foreign()).eval()
    images = photographs(3, seed=1)[0]
    with counted(model) as passes:
        model(images)
        model.classifier(images[:2])
    model(images)
    assert passes.count == 5


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.passed = foreign(), 0

    def forward(self, images):
        self.passed += len(images)
        return self.inner(images)


@pytest.mark.parametrize(("steps", "diagnose"), [(10, None), (1, None), (1, 12)])
def test_an_evaluation_spends_at_most_twice_its_attacks(steps, diagnose, capsys):
    torch.manual_seed(0)
    model = Counting().eval()
    given = photographs(200, seed=7)
    settings = {"eps": 4 / 255, "threat": "adaptive", "max_cost": 1}
    attacks = [{"name": "pgd", "steps": steps, "stop_early": False, "restarts": 3}]
    purespike.evaluate(model, given, attacks=attacks, diagnose=0, **settings)
    alone, model.passed = model.passed, 0
    purespike.evaluate(model, given, attacks=attacks, diagnose=diagnose, **settings)
    said = capsys.readouterr().err
    if diagnose is not None:
        assert "examination of 12 images" in said and "trial" not in said
        return
    images = int(said.rpartition("examination of ")[2].split()[0])
    assert images == 4 or (4 < images < 32 and model.passed <= 2 * alone)
    assert (steps == 1) == (images == 4)
    assert f"{images} images are examined, which costs no more than the attacks" in said
