"""Slopes of a prediction in the image: the loss's (input_gradient) and the margin's probability (SR)."""

import pytest
import torch
from torch import nn

from purespike import InputError
from purespike.models import create
from purespike.neurons import surrogate_gradient
from purespike.training.objectives import Batch, create_objective

LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.fixture
def images():
    return torch.rand((6, 3, 2, 2), generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def linear(seed=0, classes=4, scale=1.0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, classes)).double()
    with torch.no_grad():
        model[1].weight.mul_(scale)
        model[1].bias.mul_(scale)
    return model


def value(part, model, images, labels=LABELS):
    (step,) = create_objective(part).steps(Batch(model, images, labels))
    return step.terms[part["name"]]


def probability(logits, labels):
    """exp / (exp + exp) of the label and the best other class, as its authors write it."""
    exponentials = logits.exp()
    true = exponentials.gather(1, labels[:, None]).squeeze(1)
    return true / (true + exponentials.scatter(1, labels[:, None], 0).amax(1))


def norms(model, images, labels):
    """L1 norm of the gradient of the probability of each image, by autograd."""
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(probability(model(leaf), labels).sum(), leaf)
    return gradient.abs().flatten(1).sum(1)


@pytest.mark.parametrize("classes", [2, 4])
def test_sr_tends_to_the_squared_l1_norm(images, classes):
    """Ten times closer with a tenth of the step; of two classes, p is the softmax."""
    model, labels = linear(classes=classes), LABELS % classes
    expected = norms(model, images, labels).square().mean()
    found = [value({"name": "sparse_gradient", "step": h}, model, images, labels) for h in (1e-2, 1e-3, 1e-4)]
    errors = [abs(each - expected).item() for each in found]
    assert errors[0] < 0.05 * expected and errors[1] < 0.2 * errors[0] and errors[2] < 0.2 * errors[1]
    if classes == 2:
        leaf = images.clone().requires_grad_()
        chosen = model(leaf).softmax(1).gather(1, labels[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, leaf)
        torch.testing.assert_close(gradient.abs().flatten(1).sum(1), norms(model, images, labels))


def test_sr_is_the_difference_to_the_rival_of_the_image_itself(images):
    """Written out: at a long step another class may be the best rival, which does not count."""
    model, h = linear(scale=6), 0.5
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(probability(model(leaf), LABELS).sum(), leaf)
    here, there = model(images), model(images + h * gradient.sign())
    rivals = [
        max((z, k) for k, z in enumerate(row) if k != y)[1] for row, y in zip(here, LABELS, strict=True)
    ]
    rows = torch.arange(6)
    p = [1 / (1 + (z[rows, rivals] - z[rows, LABELS]).exp()) for z in (here, there)]
    moved = probability(there, LABELS)
    assert not torch.allclose(moved, p[1]), "a rival has changed"
    found = value({"name": "sparse_gradient", "step": h}, model, images)
    torch.testing.assert_close(found, ((p[1] - p[0]) / h).square().mean())


def test_sr_does_not_see_a_constant_added_to_all_logits(images):
    model = linear()
    before = value({"name": "sparse_gradient"}, model, images)
    with torch.no_grad():
        model[1].bias.add_(30)
    torch.testing.assert_close(value({"name": "sparse_gradient"}, model, images), before)


def test_the_other_direction_differs_by_the_step(images, monkeypatch):
    from purespike.training.objectives.sparse_gradient import SparseGradient

    model, gaps = linear(), []
    shift = SparseGradient.shift
    for h in (1e-2, 1e-3):
        part = {"name": "sparse_gradient", "step": h}
        with monkeypatch.context() as patch:
            forward = value(part, model, images)
            patch.setattr(SparseGradient, "shift", lambda self, gradient: -shift(self, gradient))
            gaps.append(abs(value(part, model, images) - forward).item())
    assert 0 < gaps[1] < 0.2 * gaps[0]


def test_sr_of_huge_logits_is_finite(images):
    model = linear().float()
    with torch.no_grad():
        model[1].bias.copy_(torch.tensor([200.0, -200, 200, -200]))
    objective = create_objective(["none", "sparse_gradient"])
    (step,) = objective.steps(Batch(model, images.float(), LABELS))
    step.loss.backward()
    assert step.loss.isfinite() and model[1].weight.grad.isfinite().all()


def test_the_input_gradient_of_a_linear_softmax_is_its_closed_form(images):
    """‖Wᵀ(p − y)‖², up to the step."""
    model = linear()
    p = model(images).softmax(1).detach()
    exact = ((p - nn.functional.one_hot(LABELS, 4)) @ model[1].weight.detach()).square().sum(1).mean()
    for h, close in ((1e-2, 0.02), (1e-3, 0.002)):
        found = value({"name": "input_gradient", "step": h}, model, images)
        assert abs(found - exact) < close * exact


@pytest.mark.parametrize("name", ["input_gradient", "sparse_gradient"])
def test_a_constant_network_has_none_and_images_count_alike(name, images):
    model = linear()
    halves = [value({"name": name}, model, images[rows], LABELS[rows]) for rows in (slice(3), slice(3, 6))]
    torch.testing.assert_close(value({"name": name}, model, images), sum(halves) / 2)
    assert value({"name": name}, linear(scale=0), images) == 0


@pytest.mark.parametrize("name", ["input_gradient", "sparse_gradient"])
def test_surrogates_give_different_finite_gradients_of_the_same_prediction(name):
    torch.manual_seed(0)
    model = create("resnet14_snn", width=0.05, time_steps=2).train()
    shown = torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    found = []
    for surrogate in ("rectangle", "atan"):
        with surrogate_gradient(model, surrogate):
            logits = model(shown)
            (step,) = create_objective({"name": name, "step": 0.1}).steps(
                Batch(model, shown, torch.arange(4))
            )
            gradients = torch.autograd.grad(step.loss, list(model.parameters()))
        assert all(gradient.isfinite().all() for gradient in gradients)
        found.append((logits, gradients[0]))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1].abs().max() > 0 and not torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"name": "sparse_gradient", "weight": -1}, "sparse_gradient: weight: .*got -1"),
        ({"name": "sparse_gradient", "step": 0}, "sparse_gradient: step: .*got 0"),
        ({"name": "sparse_gradient", "norm": "l2"}, "unknown setting of sparse_gradient 'norm'"),
        ({"name": "sparse_gradiant"}, "did you mean 'sparse_gradient'"),
    ],
)
def test_bad_settings_are_one_clear_line(part, message):
    with pytest.raises(InputError, match=message) as error:
        create_objective(part)
    assert "\n" not in str(error.value)
