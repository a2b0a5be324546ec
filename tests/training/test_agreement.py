"""The divergence between the answers behind a purifier and those on clean images."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from purespike import InputError
from purespike.models import Defended, Purifier
from purespike.recipe import PurifierRecipe
from purespike.training.objectives import Batch, create_objective


@pytest.fixture
def shown():
    draw = torch.Generator().manual_seed(2)
    return torch.rand((4, 3, 8, 8), generator=draw), torch.arange(4)


def test_it_is_pytorchs_divergence_and_trains_the_purifier_alone(shown):
    images, labels = shown
    torch.manual_seed(0)
    purifier = Purifier(width=0.1, time_steps=2).train()
    nn.init.normal_(purifier.denoiser.last.weight, std=0.1)
    classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 4)).requires_grad_(False)
    values = {}
    for weight in (0, 2):
        torch.manual_seed(1)
        objective = create_objective(["paper", {"name": "agreement", "weight": weight}], stage="purifier")
        batch = Batch(
            purifier,
            (images + 0.1).clamp(0, 1),
            labels,
            recipe=PurifierRecipe(),
            clean=images,
            classifier=classifier.eval(),
            network=Defended(purifier, classifier),
        )
        (values[weight],) = objective.steps(batch)
    with torch.no_grad():
        behind = classifier(purifier(batch.images).images).double().log_softmax(1)
        expected = functional.kl_div(behind, classifier(images).double().softmax(1), reduction="batchmean")
    found = values[2].terms["agreement"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-4) and found > 0
    torch.testing.assert_close(values[2].loss, values[0].loss + 2 * found)
    values[2].loss.backward()
    assert purifier.denoiser.last.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_a_classifier_has_no_answer_to_agree_with(shown):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(InputError, match=r"classifier\.objective: agreement is for a purifier"):
        list(create_objective(["none", "agreement"]).steps(Batch(model, *shown)))
