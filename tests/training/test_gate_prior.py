"""StoG: the prior that closes stochastic gates, and a training with gates."""

import pytest
import torch

from purespike import InputError
from purespike.models import create
from purespike.neurons import Gates
from purespike.training import accelerator, train_classifier
from purespike.training.objectives import Batch, create_objective
from training.test_homeostasis import small
from training.test_loop import equal, stopped_after
from training.tiny import history, recipe

PRIOR = {"name": "gate_prior", "weight": 0.01}


def gates_of(model):
    return [module for module in model.modules() if isinstance(module, Gates)]


def network(per="neuron"):
    torch.manual_seed(0)
    return create("resnet14_snn", width=0.05, time_steps=2, gates=per, image_size=(8, 8)).train()


@pytest.fixture
def shown():
    return torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(1)), torch.arange(4)


@pytest.mark.parametrize("per", ["channel", "neuron"])
def test_the_prior_is_half_the_squared_norm_until_the_gates_are_frozen(per, shown):
    model = network(per)
    for each in gates_of(model):
        torch.nn.init.uniform_(each.probability, 0.2, 1)
    q = [each.probability for each in gates_of(model)]
    # a logit that no gate reaches: what is left is the gradient of the prior
    model.readout.weight.data.zero_()
    for progress in (0.0, 0.49, 0.5):
        (step,) = create_objective(PRIOR).steps(Batch(model, *shown, progress=progress))
        gradients = torch.autograd.grad(step.loss, q)
        if progress < 0.5:
            expected = sum(each.detach().double().square().sum().item() for each in q) / 2
            assert step.terms["gate_prior"].item() == pytest.approx(expected, rel=1e-5)
            for each, gradient in zip(q, gradients, strict=True):
                torch.testing.assert_close(gradient, 0.01 * each.detach())
        else:
            assert step.terms["gate_prior"] == 0 and not any(gradient.any() for gradient in gradients)
    torch.nn.init.normal_(model.readout.weight)
    for progress, moved in ((0.5, False), (0.4, True)):
        (step,) = create_objective(PRIOR).steps(Batch(model, *shown, progress=progress))
        assert any(gradient.any() for gradient in torch.autograd.grad(step.loss, q)) == moved


def test_of_the_faithful_gates_only_the_prior_moves_any(shown):
    """What the loss says of them hardly counts in the authors' code."""
    model = network()
    q = [each.probability for each in gates_of(model)]
    for each in q:
        torch.nn.init.uniform_(each, 0.2, 1)
    (step,) = create_objective({**PRIOR, "faithful": True}).steps(Batch(model, *shown, progress=0.0))
    for each, gradient in zip(q, torch.autograd.grad(step.loss, q), strict=True):
        torch.testing.assert_close(gradient, 0.01 * each.detach())


def test_a_training_with_gates_resumes_bit_for_bit(tmp_path, monkeypatch):
    """Stopped before the gates are frozen, and after; they have a group of their own."""
    import purespike.training.classifier as module

    data = small()
    settings = recipe(
        classifier={
            "epochs": 4,
            "gates": "neuron",
            "objective": ["fgsm", {**PRIOR, "weight": 1.0}],
            "optimiser": {"groups": [{"pattern": "gates", "rate": 2.0, "weight_decay": 0}]},
        }
    ).classifier

    def train(folder):
        cpu = accelerator(device="cpu")
        return train_classifier(settings, data, folder=folder, seed=3, accelerator=cpu)

    for _ in range(3):
        stopped_after(tmp_path / "stopped", 1, train, monkeypatch, module)
    straight = train(tmp_path / "straight")
    assert equal(train(tmp_path / "stopped"), straight)
    rows = history(tmp_path / "straight")[1:]
    assert rows == history(tmp_path / "stopped")[1:]
    assert rows[0]["gate_prior"] > rows[1]["gate_prior"] > 0 == rows[2]["gate_prior"] == rows[3]["gate_prior"]
    assert all((each.probability < 1).any() for each in gates_of(straight))


@pytest.mark.parametrize("until", [0, 1.5])
def test_refuses(until, tmp_path):
    with pytest.raises(InputError, match=r"classifier\.objective: gate_prior: until: "):
        create_objective({**PRIOR, "until": until})
    data = small()
    settings = recipe(classifier={"objective": "gate_prior"}).classifier
    with pytest.raises(InputError, match="gate_prior: the network has no gates"):
        train_classifier(settings, data, folder=tmp_path, seed=3, accelerator=accelerator(device="cpu"))
