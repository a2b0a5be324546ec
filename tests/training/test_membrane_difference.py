"""MPPD: its formula on clean and adversarial images, and the gap of the membranes."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional

from purespike import InputError
from purespike.attacks import create_attack
from purespike.models import create
from purespike.neurons import Dynamics, SpikingNeuron, surrogate_gradient
from purespike.training.objectives import Batch, create_objective
from purespike.training.objectives.layers import Layer
from purespike.training.objectives.membrane_difference import gap_of_membranes
from training import parts  # noqa: F401
from training.stops import assert_same, train
from training.tiny import history, recipe

NAME = "membrane_difference"
EPS = 0.1


class Repeated(nn.Module):
    def forward(self, images):
        return torch.cat([images] * 3)


class Rates(nn.Module):
    def forward(self, spikes):
        return spikes.unflatten(0, (3, -1)).mean(0).flatten(1)


@pytest.fixture
def model():
    """Without batch norms, so that the images of a batch do not meet; in float64."""
    torch.manual_seed(0)
    neurons = SpikingNeuron("mlf(thresholds=[0.6], decay=0.5)", "atan", 3)
    return nn.Sequential(
        Repeated(), nn.Conv2d(3, 4, 3, padding=1), neurons, Rates(), nn.Linear(16, 4)
    ).double()


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(2)
    return torch.rand((6, 3, 2, 2), generator=draw, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])


def step_of(settings, model, images, labels, **given):
    torch.manual_seed(7)
    (step,) = create_objective({"name": NAME, **settings}).steps(Batch(model, images, labels, **given))
    return step


def crafted(model, images, labels, noise=0.001):
    """One step from a little noise, back in the ball: written out."""
    torch.manual_seed(7)
    start = (images + noise * torch.randn_like(images)).clamp(0, 1)
    leaf = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(model(leaf), labels), leaf)
    found = (start + EPS * gradient.sign()).clamp(0, 1)
    return found, torch.max(torch.min(found, images + EPS), images - EPS)


def layers_of(clean, moved, kind="mlf(thresholds=[0.6], decay=0.5)"):
    neurons = SpikingNeuron(kind).double()
    return tuple(Layer("here", neurons, current, current) for current in (clean, moved))


def currents(seed=0):
    return torch.randn((4, 2, 3, 4, 5), generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize(("difference", "power"), [("l1", 1), ("l2", 2)])
def test_it_is_its_formula(model, batch, difference, power):
    images, labels = batch
    settings = {"eps": EPS, "kappa": 0.3, "alpha": 0.7, "difference": difference}
    step = step_of(settings, model, images, labels)
    moved = crafted(model, images, labels)[1]
    gap = torch.zeros(6, 4, 2, 2, dtype=torch.float64)
    for _ in range(3):
        gap = 0.5 * gap + model[1](images) - model[1](moved)
    clean, adversarial = (functional.cross_entropy(model(x), labels) for x in (images, moved))
    expected = (gap.abs() ** power).mean()
    torch.testing.assert_close(step.terms[NAME], expected)
    torch.testing.assert_close(step.loss, 0.3 * clean + 0.7 * adversarial + 0.7 * expected)
    assert {name: int(count) for name, count in step.right.items()} == {
        name: int((model(x).argmax(1) == labels).sum())
        for name, x in (("accuracy", images), ("adversarial_accuracy", moved))
    }


def test_images_stay_in_the_ball_unless_it_is_faithful(model, batch):
    images, labels = batch
    seen = []
    model.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    outside, inside = crafted(copy.deepcopy(model), images, labels, noise=0.01)
    for faithful, expected in ((False, inside), (True, outside)):
        step_of({"eps": EPS, "noise": 0.01, "faithful": faithful}, model, images, labels)
        assert torch.equal(seen[-1][:6], images)
        torch.testing.assert_close(seen[-1][6:], expected)
    assert (inside - images).abs().max() <= EPS + 1e-12 < (outside - images).abs().max() - 0.001


def test_clean_images_alone_are_plain_training_bit_for_bit():
    torch.manual_seed(0)
    spiking = create("resnet14_snn", width=0.05, time_steps=2).train()
    images, labels = torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(1)), torch.arange(4)
    made = []
    for part in ({"name": NAME, "kappa": 1, "alpha": 0}, {"name": "none"}):
        network = copy.deepcopy(spiking)
        (step,) = create_objective(part).steps(Batch(network, images, labels))
        step.loss.backward()
        made.append((step, network))
    (one, first), (other, second) = made
    assert torch.equal(one.loss, other.loss) and one.passes == other.passes == 1
    assert one.right.keys() == other.right.keys() and not one.terms
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_adversarial_images_alone_are_adversarial_training(model, batch):
    images, labels = batch
    step = step_of({"eps": EPS, "kappa": 0, "alpha": 0, "noise": 0}, model, images, labels)
    (plain,) = create_objective({"name": "fgsm", "eps": EPS}).steps(Batch(model, images, labels))
    assert torch.equal(step.loss, plain.loss) and step.passes == plain.passes == 2
    several = step_of({"eps": EPS, "kappa": 0, "alpha": 0, "noise": 0, "steps": 3}, model, images, labels)
    attack = create_attack("pgd", eps=EPS, steps=3, step_size=EPS / 3, random_start=False)
    expected = functional.cross_entropy(model(attack.perturb(model, images, labels)), labels)
    torch.testing.assert_close(several.loss, expected)


def test_the_cost_is_the_passes_that_were_made(model, batch):
    for settings, expected in (({}, 3), ({"steps": 4}, 6), ({"kappa": 0}, 3), ({"kappa": 0, "alpha": 0}, 2)):
        images = []
        hook = model.register_forward_hook(lambda _, inputs, __, images=images: images.append(len(inputs[0])))
        step = step_of(settings, model, *batch)
        hook.remove()
        assert step.passes == expected and step.passes * 6 == sum(images)


# ---- the gap


def test_equal_currents_have_no_gap_and_no_gradient(model, batch):
    step = step_of({"eps": 0, "noise": 0, "kappa": 1}, model, *batch)
    plain = functional.cross_entropy(model(batch[0]), batch[1])
    found = torch.autograd.grad(step.loss, list(model.parameters()))
    expected = torch.autograd.grad(plain, list(model.parameters()))
    assert step.terms[NAME] == 0
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_gap_is_a_leaky_sum_that_no_gradient_of_the_clean_current_flows_through():
    clean, moved = currents().requires_grad_(), currents(1).requires_grad_()
    gap = gap_of_membranes(*layers_of(clean, moved))
    expected = sum(0.5 ** (3 - t) * (clean[t] - moved[t]) for t in range(4))
    torch.testing.assert_close(gap.movedim(-1, 1), expected)
    gap.square().mean().backward()
    assert clean.grad is None and moved.grad.abs().min() > 0
    back = gap_of_membranes(*layers_of(moved, clean))
    torch.testing.assert_close(back, -gap)


@pytest.mark.parametrize(("difference", "factor"), [("l1", 3.0), ("l2", 9.0)])
def test_it_scales_with_the_gap_of_the_currents(model, batch, difference, factor):
    """Currents of thrice the weights are three times as far apart; so is Y."""
    values = []
    for scale in (1, 3):
        scaled = copy.deepcopy(model)
        with torch.no_grad():
            scaled[1].weight.mul_(scale)
            scaled[1].bias.mul_(scale)
        images, labels = batch
        objective = create_objective({"name": NAME, "difference": difference}).objective
        objective.attacked = lambda batch: (batch.images + 0.05).clamp(0, 1)
        values.append(objective(Batch(scaled, images, labels)).terms[NAME])
    torch.testing.assert_close(values[1], factor * values[0])


def test_without_a_leak_the_last_step_alone_counts():
    clean, moved = currents(), currents(1)
    gap = gap_of_membranes(*layers_of(clean, moved, "mlf(thresholds=[0.6], decay=0)"))
    torch.testing.assert_close(gap.movedim(-1, 1), clean[-1] - moved[-1])


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_it_is_bounded_by_the_leak(decay):
    """Below 1 / (1 − d) of a constant gap, however long, and so of any gap of that size."""
    for steps in (8, 40):
        constant = torch.ones(steps, 2, 3, dtype=torch.float64)
        kind = f"mlf(thresholds=[0.6], decay={decay})"
        gap = gap_of_membranes(*layers_of(constant, 0 * constant, kind))
        torch.testing.assert_close(gap, torch.full_like(gap, (1 - decay**steps) / (1 - decay)))
        draw = torch.rand(steps, 2, 3, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
        assert gap_of_membranes(*layers_of(draw, 0 * draw, kind)).abs().max() < gap.max() < 1 / (1 - decay)


def test_the_last_neurons_are_compared():
    torch.manual_seed(0)
    spiking = create("resnet14_snn", width=0.05, time_steps=2).train()
    images, labels = torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(1)), torch.arange(4)
    step = step_of({"kappa": 1, "alpha": 1e6}, spiking, images, labels)
    gradients = torch.autograd.grad(step.loss, list(spiking.body.parameters()))
    assert step.terms[NAME] > 0
    assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in gradients)


def test_surrogates_give_different_finite_gradients(model, batch):
    found = []
    for surrogate in ("rectangle", "triangle(width=3)"):
        with surrogate_gradient(model, surrogate):
            step = step_of({"eps": EPS}, model, *batch)
            found.append(torch.autograd.grad(step.loss, list(model.parameters())))
    assert all(gradient.isfinite().all() for each in found for gradient in each)
    assert found[0][0].abs().max() > 0 and not torch.equal(found[0][0], found[1][0])


# ---- combinations


@dataclass(frozen=True)
class Forgetful(Dynamics):
    """No share of the membrane is kept."""

    threshold: float = 0.6

    def run(self, current, spike, state, tensors):
        return [spike(x - self.threshold) for x in current], ()


def test_what_it_cannot_do_is_one_line(model, batch):
    model[2] = SpikingNeuron("forgetful", "atan", 3)
    bare = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()
    for network, message in (
        (model, "membrane_difference: needs a constant decay, but dynamics forgetful has none"),
        (bare, "membrane_difference: needs layers of purespike's neurons"),
    ):
        with pytest.raises(InputError, match=message) as error:
            step_of({}, network, *batch)
        assert "\n" not in str(error.value)
    assert step_of({"alpha": 0}, bare, *batch).loss.isfinite()


def test_it_composes_with_penalties(model, batch):
    listed = [{"name": NAME, "eps": EPS}, {"name": "sparse_gradient"}, {"name": "overlap"}]
    (step,) = create_objective(listed).steps(Batch(model, *batch))
    assert set(step.terms) == {NAME, "sparse_gradient", "overlap"} and step.passes == 3 + 2
    step.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_learned_gains_stopped_end_as_never_stopped(tmp_path, monkeypatch):
    settings = {
        "architecture": "shallow_snn",
        "epochs": 2,
        "dynamics": "dlif(steps=2, decay=0.99)",
        "objective": NAME,
        "optimiser": {"weight_decay": 0.1, "groups": [{"pattern": r"learned\.gain", "weight_decay": 0}]},
    }
    tiny, folder, whole = recipe(classifier=settings), tmp_path / "run", tmp_path / "whole"
    train(tiny, folder, monkeypatch, 5)
    found = train(tiny, whole, monkeypatch)
    assert_same(folder, whole)
    gain = found.body.learned["gain"]
    assert (gain != 1).all() and gain[0] != gain[1], "each step has its own"
    last = history(whole)[-1]
    assert last["passes"] == 3 * 60 and {NAME, "accuracy", "adversarial_accuracy"} <= last.keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kappa": 1.5}, "membrane_difference: kappa: .*got 1.5"),
        ({"alpha": -1}, "membrane_difference: alpha: .*got -1"),
        ({"difference": "linf"}, "membrane_difference: difference: .*got 'linf'"),
        ({"noise": -0.1}, "membrane_difference: noise: .*got -0.1"),
        ({"eps": 4}, "membrane_difference: eps: .*write 8/255"),
        ({"steps": 0}, "membrane_difference: steps"),
        ({"random_start": True}, "unknown setting of membrane_difference 'random_start'"),
    ],
)
def test_bad_settings_are_one_clear_line(settings, message):
    with pytest.raises(InputError, match=message) as error:
        create_objective({"name": NAME, **settings})
    assert "\n" not in str(error.value)
