"""An objective, a penalty and a projection of one's own: defined here, named in a recipe, seen in the run."""

from typing import Annotated

import pytest
import torch
import yaml
from pydantic import Field
from torch import nn
from torch.nn import functional
from training.tiny import RECIPE, history

from purespike import InputError
from purespike.experiment import Run
from purespike.recipe import parse_recipe
from purespike.training import accelerator
from purespike.training.objectives import (
    Batch,
    Step,
    View,
    count_correct,
    create_objective,
    objective,
    penalty,
    projection,
)


@objective("noisy")
def noisy(batch: Batch, *, std: Annotated[float, Field(gt=0)] = 0.1) -> Step:
    """Cross-entropy on images with Gaussian noise."""
    (view,) = batch.forward((batch.images + std * torch.randn_like(batch.images)).clamp(0, 1))
    right = {"noisy_accuracy": count_correct(view.logits, batch.labels)}
    return Step(batch.criterion(view.logits, batch.labels), right)


@penalty("near_threshold", layers=True)
def near_threshold(view: View, *, margin: float = 0.1) -> torch.Tensor:
    """Mean closeness of the input currents to the first threshold."""
    gaps = [(layer.current - layer.neurons.thresholds[0]).abs() for layer in view.layers]
    return torch.stack([functional.relu(margin - gap).mean() for gap in gaps]).mean()


@projection("max_norm")
def max_norm(model: nn.Module, *, limit: Annotated[float, Field(gt=0)] = 1.0) -> None:
    """No filter longer than ``limit``."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(module.weight.renorm(2, 0, limit))


OBJECTIVE = [
    {"name": "noisy", "std": 0.05},
    {"name": "near_threshold", "weight": 0.5},
    {"name": "max_norm", "limit": 0.3},
]


def test_they_train_a_network_and_are_seen_in_its_run(tmp_path):
    values = {
        **RECIPE,
        "data": {"source": "digits", "train_limit": 40, "test_limit": 10},
        "classifier": {**RECIPE["classifier"], "width": 0.0625, "epochs": 1, "objective": OBJECTIVE},
        "purifier": {**RECIPE["purifier"], "epochs": 1, "objective": ["near_threshold", "max_norm"]},
        "evaluation": {**RECIPE["evaluation"], "attacks": [{"name": "fgsm"}], "diagnose": 0},
    }
    run = Run(parse_recipe(values), tmp_path / "run", accelerator(device="cpu"))
    _, report = run()
    classifier = run.classifier(run.data())
    filters = [m.weight.flatten(1).norm(dim=1) for m in classifier.modules() if isinstance(m, nn.Conv2d)]
    assert max(norms.max() for norms in filters) <= 0.3 + 1e-5
    rows = {row["stage"]: row for row in history(tmp_path / "run") if row["epoch"] == 1}
    assert rows["classifier"]["near_threshold"] > 0 and 0 <= rows["classifier"]["noisy_accuracy"] <= 1
    assert rows["purifier"]["near_threshold"] > 0 and rows["purifier"]["reconstruction"] > 0
    written = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert written["classifier"]["objective"] == OBJECTIVE
    page = report.read_text()
    assert all(part["name"] in page for part in OBJECTIVE)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("noissy", r"classifier\.objective: unknown objective 'noissy': did you mean 'noisy'"),
        ({"name": "noisy", "std": 0}, r"classifier\.objective: noisy: std: .*greater than 0, got 0"),
        (
            {"name": "near_threshold", "margins": 1},
            "unknown setting of near_threshold 'margins': did you mean 'margin'",
        ),
    ],
)
def test_their_settings_are_checked_like_ours(part, message):
    with pytest.raises(InputError, match=message):
        create_objective(part)
