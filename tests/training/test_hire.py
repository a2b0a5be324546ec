"""HIRE-SNN: periods against loops written out, and the plain training that one period is."""

import pytest
import torch
from torch.nn import functional

import purespike.training.classifier as module
from purespike import InputError
from purespike.data import load_data
from purespike.experiment import share_of
from purespike.models import create
from purespike.models.steps import time_steps
from purespike.neurons import carrying, spiking_neurons
from purespike.training import accelerator, train_classifier
from purespike.training.objectives import Batch, create_objective
from training.test_loop import equal, stopped_after
from training.tiny import history, recipe

SETTINGS = {"dynamics": "learnablelif(decay=0.9, soft=true)", "surrogate": "triangle(width=1)"}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create("resnet14_snn", width=0.05, time_steps=4, **SETTINGS).double().train()


@pytest.fixture
def shown():
    draw = torch.Generator().manual_seed(1)
    return torch.rand((4, 3, 16, 16), generator=draw, dtype=torch.float64), torch.arange(4)


def trained(parts, model, images, labels):
    """Losses and weights after plain steps of SGD."""
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    steps = []
    for step in create_objective(parts).steps(Batch(model, images, labels)):
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
        steps.append(step)
    return steps, [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize(("periods", "eps"), [(2, 0.0), (2, 0.1), (4, "8/255")])
def test_periods_are_steps_on_carried_membranes(model, shown, periods, eps):
    """With eps 0 that is truncated backpropagation through time."""
    images, labels = shown
    before = {k: v.clone() for k, v in model.state_dict().items()}
    steps, weights = trained({"name": "hire", "periods": periods, "eps": eps}, model, images, labels)

    model.load_state_dict(before)
    optimiser, losses, outputs, seen = torch.optim.SGD(model.parameters(), 0.1), [], [], images
    with time_steps(model, 4 // periods), carrying(model) as carried:
        for period in range(periods):
            leaf = seen.clone().requires_grad_()
            logits = model(leaf)
            loss = functional.cross_entropy((sum(outputs) + logits) / (period + 1), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            carried.detach()
            outputs.append(logits.detach())
            losses.append(loss.detach())
            size = 8 / 255 if eps == "8/255" else eps
            seen = (images + size * leaf.grad.sign()).clamp(0, 1)
    assert torch.equal(torch.stack(losses), torch.stack([step.loss.detach() for step in steps]))
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert sum(step.passes for step in steps) == 1 and set(steps[-1].right) == {"accuracy"}
    assert (sum(outputs) / periods).argmax(1).eq(labels).sum() == steps[-1].right["accuracy"]


def test_the_noise_counts(model, shown):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = []
    for eps in (0, 0.1):
        model.load_state_dict(before)
        found.append(trained({"name": "hire", "eps": eps}, model, *shown)[0])
    assert torch.equal(found[0][0].loss, found[1][0].loss) and found[0][1].loss < found[1][1].loss


@pytest.fixture(scope="module")
def data():
    return share_of(recipe(), load_data("digits"))


def made(data, folder, **changes):
    settings = recipe(classifier=changes).classifier
    return train_classifier(settings, data, folder=folder, seed=3, accelerator=accelerator(device="cpu"))


def test_one_period_is_plain_training(data, tmp_path):
    """Bit for bit, also of multi-level firing, whose kernel starts from rest."""
    plain = made(data, tmp_path / "none", epochs=1, objective="none")
    alone = made(data, tmp_path / "hire", epochs=1, objective={"name": "hire", "periods": 1})
    assert equal(plain, alone)


def test_a_resumed_training_ends_as_one_never_stopped(data, tmp_path, monkeypatch):
    def train(folder):
        return made(data, folder, **SETTINGS, objective={"name": "hire", "eps": "4/255"})

    stopped_after(tmp_path / "stopped", 1, train, monkeypatch, module)
    assert equal(train(tmp_path / "stopped"), train(tmp_path / "straight"))
    rows = history(tmp_path / "straight")
    assert history(tmp_path / "stopped") == rows
    assert [row["passes"] for row in rows[1:]] == [60, 60], "one pass an image"


def test_penalties_without_images_of_their_own_go_along(data, tmp_path):
    """The prior of gates acts before the forward, and asks for no images there."""
    parts = ["hire", {"name": "gate_prior", "weight": 0.01}]
    model = made(data, tmp_path, epochs=1, gates="channel", objective=parts)
    assert all((neurons.gates.probability < 1).all() for neurons in spiking_neurons(model))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": {"name": "hire", "periods": 3}}, "hire: periods: must divide time_steps, 2, got 3"),
        ({"objective": {"name": "hire", "periods": 0}}, r"classifier\.objective: hire: periods: .*got 0"),
        ({"objective": {"name": "hire", "eps": 8}}, r"hire: eps: .*8"),
        ({"objective": "hire", "coding": "poisson"}, "hire: .* leave out coding"),
        (
            {"objective": "hire", "dynamics": "dlif(steps=2)"},
            "hire: dynamics dlif has a value for each of 2 steps",
        ),
        ({"objective": ["hire", "input_gradient"]}, "hire: input_gradient needs further images"),
        ({"objective": ["hire", "overlap"]}, "hire: overlap computes membranes from rest"),
    ],
)
def test_settings_without_meaning_are_one_line(changes, message, data, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        made(data, tmp_path, **changes)
    assert "\n" not in str(error.value)
