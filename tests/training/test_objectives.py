"""The ways to train: right formulas on the right images, and nothing touched that is not trained."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from purespike import InputError
from purespike.attacks import create_attack
from purespike.ball import Linf
from purespike.models import create
from purespike.seeding import generator
from purespike.training.objectives import Batch, create_objective
from purespike.training.objectives.trades import divergence, diverging

EPS = 0.1
STEPS = {"eps": EPS, "steps": 3, "step_size": 0.04}
OBJECTIVES = {
    "none": {"name": "none"},
    "fgsm": {"name": "fgsm", "eps": EPS},
    "pgd": {"name": "pgd", **STEPS},
    "pgd l2": {"name": "pgd", "norm": "l2", "eps": 1.0, "steps": 2},
    "trades": {"name": "trades", **STEPS, "beta": 2.5},
    "rfgsm": {"name": "trades", "attack": "rfgsm", "eps": EPS, "start": 0.03},
}


def step_of(settings, model, images, labels, **given):
    """The one step of a batch."""
    (step,) = create_objective(settings).steps(Batch(model, images, labels, **given))
    return step


@pytest.fixture
def smooth():
    """A network of doubles, whose numbers a formula can be compared with."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4)).double()


@pytest.fixture
def normalised():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 4)
    )


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(2)
    return torch.rand((6, 3, 2, 2), generator=draw), torch.tensor([0, 1, 2, 3, 0, 1])


def log_softmax(logits):
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def plain_divergence(clean, adversarial):
    p, q = log_softmax(clean), log_softmax(adversarial)
    return np.array(
        [
            sum(np.exp(a) * (a - b) for a, b in zip(row, other, strict=True))
            for row, other in zip(p, q, strict=True)
        ]
    )


def plain_cross_entropy(logits, labels):
    return np.mean([-row[label] for row, label in zip(log_softmax(logits), labels, strict=True)])


# ---- the formulas


def test_plain_training_is_cross_entropy_on_the_images(smooth, batch):
    images, labels = batch[0].double(), batch[1]
    step = step_of("none", smooth, images, labels)
    logits = smooth(images).detach().numpy()
    assert step.loss.item() == pytest.approx(plain_cross_entropy(logits, labels.numpy()), rel=1e-12)
    assert {k: int(v) for k, v in step.right.items()} == {"accuracy": sum(logits.argmax(1) == labels.numpy())}


@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd l2"])
def test_adversarial_training_replaces_the_images(smooth, batch, name):
    images, labels = batch[0].double(), batch[1]
    step = step_of(OBJECTIVES[name], smooth, images, labels, seed=5)
    crafted = create_attack(**OBJECTIVES[name], seed=5).perturb(smooth, images, labels)
    logits = smooth(crafted).detach().numpy()
    assert step.loss.item() == pytest.approx(plain_cross_entropy(logits, labels.numpy()), rel=1e-12)
    assert step.loss > functional.cross_entropy(smooth(images), labels), "and they are harder"
    assert {k: int(v) for k, v in step.right.items()} == {
        "adversarial_accuracy": sum(logits.argmax(1) == labels.numpy())
    }


def test_trades_is_its_formula(smooth, batch):
    images, labels = batch[0].double(), batch[1]
    step = step_of(OBJECTIVES["trades"], smooth, images, labels, seed=5)
    crafted = diverging(smooth, images, attack=create_attack("pgd", **STEPS, seed=5))
    clean, moved = (smooth(x).detach().numpy() for x in (images, crafted))
    expected = plain_cross_entropy(clean, labels.numpy()) + 2.5 * plain_divergence(clean, moved).mean()
    # the adversary's own clean prediction is a float32, as that of any network of ours
    assert step.loss.item() == pytest.approx(expected, rel=1e-9)
    assert {k: int(v) for k, v in step.right.items()} == {
        "accuracy": sum(clean.argmax(1) == labels.numpy()),
        "adversarial_accuracy": sum(moved.argmax(1) == labels.numpy()),
    }


def test_the_gradient_of_trades_flows_through_both_predictions(smooth, batch, monkeypatch):
    images, labels = batch[0].double(), batch[1]
    crafted = (images + 0.1).clamp(0, 1)
    monkeypatch.setattr("purespike.training.objectives.trades.diverging", lambda *_, **__: crafted)
    objective = partial(step_of, OBJECTIVES["trades"], smooth, images, labels)
    objective().loss.backward()
    weight, h = smooth[1].weight, 1e-6
    for place in [(0, 0), (3, 5), (7, 11)]:
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                weight[place] += sign * h
                values.append(objective().loss.item())
                weight[place] -= sign * h
        assert weight.grad[place].item() == pytest.approx(
            (values[0] - values[1]) / (2 * h), rel=1e-6, abs=1e-9
        )


def test_the_divergence_of_certain_predictions_stays_finite():
    p = torch.tensor([[200.0, 0.0], [200.0, 0.0]], requires_grad=True)
    q = torch.tensor([[0.0, 200.0], [200.0, 0.0]], requires_grad=True)
    found = divergence(p, q)
    assert found.tolist() == pytest.approx([200.0, 0.0])
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(found.sum(), (p, q)))


def test_the_adversary_of_trades_climbs_the_divergence(smooth, batch):
    """PGD on PyTorch's own divergence, written out."""
    smooth, images = smooth.float(), batch[0]
    found = diverging(smooth, images, attack=create_attack("pgd", **STEPS, seed=9))
    with torch.no_grad():
        target = smooth(images).softmax(1)
    expected = Linf(EPS).sample(images, seed=9)
    for _ in range(STEPS["steps"]):
        leaf = expected.clone().requires_grad_()
        distance = functional.kl_div(smooth(leaf).log_softmax(1), target, reduction="sum")
        (gradient,) = torch.autograd.grad(distance, leaf)
        moved = expected + STEPS["step_size"] * gradient.sign()
        expected = torch.min(torch.max(moved, images - EPS), images + EPS).clamp(0, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)

    def away(x):
        return functional.kl_div(smooth(x).log_softmax(1), target, reduction="sum").item()

    assert away(found) > 2 * away(Linf(EPS).sample(images, seed=9)) > 0


def test_rfgsm_is_a_random_and_a_gradient_step(smooth, batch):
    images, eps, start = batch[0].clamp(0.2, 0.8), 8 / 255, 1 / 255
    smooth = smooth.float()
    attack = create_objective({"name": "trades", "attack": "rfgsm"}).objective.attack
    found = diverging(smooth, images, attack=attack, start=start)
    noise = torch.randn(images.shape, generator=generator(0, "start"))
    leaf = (images + start * noise.sign()).requires_grad_()
    target = smooth(images).detach().softmax(1)
    functional.kl_div(smooth(leaf).log_softmax(1), target, reduction="sum").backward()
    torch.testing.assert_close(found, leaf.detach() + (eps - start) * leaf.grad.sign())
    away = ((found - images) * 255).abs()
    assert set(away.round().unique().tolist()) == {6, 8}, "with the random step or against it"


def test_the_criterion_meets_what_is_classified(smooth, batch):
    """Smoothed labels go with any way to train: of TRADES, the clean term is theirs."""
    met = []

    def criterion(logits, labels):
        met.append(logits.detach())
        return logits.square().mean()

    images, labels = batch
    smooth = smooth.float()
    clean, crafted = (
        smooth(images),
        create_attack(**OBJECTIVES["pgd"], seed=3).perturb(smooth, images, labels),
    )
    for name, expected in (("none", clean), ("pgd", smooth(crafted)), ("trades", clean)):
        step_of(OBJECTIVES[name], smooth, images, labels, seed=3, criterion=criterion)
        torch.testing.assert_close(met.pop(), expected.detach())
        assert not met


# ---- what every way to train has in common


@pytest.fixture(params=OBJECTIVES.values(), ids=OBJECTIVES.keys())
def settings(request):
    return request.param


def test_crafting_touches_neither_parameters_nor_statistics(normalised, batch, settings):
    normalised.train()
    normalised[0].weight.requires_grad_(False)
    before = copy.deepcopy(normalised.state_dict())
    loss = step_of(settings, normalised, *batch).loss
    for name, parameter in normalised.named_parameters():
        assert torch.equal(parameter, before[name]) and parameter.grad is None
        assert parameter.requires_grad == (name != "0.weight")
    assert all(module.training for module in normalised.modules())
    assert normalised[1].num_batches_tracked == 1, "the training pass alone, and only one"
    loss.backward()
    assert normalised[4].weight.grad.abs().sum() > 0


def test_images_are_crafted_in_evaluation_mode(normalised, batch, settings, monkeypatch):
    seen = []
    normalised.train()
    normalised[1].register_forward_hook(lambda module, *_: seen.append(module.training))
    step_of(settings, normalised, *batch)
    assert seen[-1] and not any(seen[:-1])


def test_the_cost_is_the_passes_that_were_made(normalised, batch, settings):
    images = []
    normalised.register_forward_hook(lambda module, inputs, _: images.append(len(inputs[0])))
    step = step_of(settings, normalised.train(), *batch)
    assert step.passes * len(batch[0]) == sum(images)


def test_adversarial_images_stay_in_the_ball(normalised, batch, settings):
    images, labels = batch
    trained = []
    normalised.register_forward_hook(
        lambda module, inputs, _: trained.append(inputs[0]) if module.training else None
    )
    step_of(settings, normalised.train(), images, labels)
    assert len(trained) == 1
    away = trained[0][-len(images) :] - images
    assert trained[0].min() >= 0 and trained[0].max() <= 1
    if settings.get("norm") == "l2":
        assert torch.linalg.vector_norm(away, dim=(1, 2, 3)).max() <= 1 + 1e-6
    else:
        assert away.abs().max() <= EPS + 1e-6
    assert (away.abs().max() > 0) == (settings["name"] != "none")


@pytest.mark.parametrize("name", ["pgd", "trades"])
def test_the_seed_decides(smooth, batch, name):
    values = []
    for seed in (0, 0, 1):
        torch.rand(3)
        values.append(step_of(OBJECTIVES[name], smooth.float(), *batch, seed=seed).loss.item())
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 1, 8, 8)], ids=["one image", "one channel"])
def test_any_batch_of_a_spiking_network(settings, shape):
    model = create("resnet14_snn", width=0.05, time_steps=2, in_channels=shape[1]).train()
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    step = step_of(settings, model, images, torch.arange(shape[0]))
    step.loss.backward()
    assert step.loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())


# ---- settings


def test_defaults_are_those_of_the_papers():
    attack = create_objective("pgd").objective.attack
    assert (attack.eps, attack.steps, attack.step_size, attack.random_start) == (8 / 255, 7, 2 / 255, True)
    single = create_objective("fgsm").objective.attack
    assert (single.steps, single.step_size, single.random_start) == (1, 8 / 255, False)
    both = create_objective("trades").objective
    assert (both.beta, both.attack.steps, both.attack.random_start) == (6, 10, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"classifier\.objective: unknown objective 'None'"),
        ({"name": "pdg"}, "did you mean 'pgd'"),
        ({"name": "cw"}, "known: .*fgsm, .*input_gradient, .*none, .*parseval, pgd, .*trades"),
        ({"name": ["pgd"]}, "unknown objective"),
        ({"name": "none", "eps": 0.1}, r"classifier\.objective: unknown setting of none 'eps'"),
        ({"name": "pgd", "step": 3}, "did you mean 'steps'"),
        ({"name": "pgd", "restarts": 3}, "'restarts'"),
        ({"name": "pgd", "keep": "best"}, "'keep'"),
        ({"name": "pgd", "beta": 6}, "'beta'"),
        ({"name": "fgsm", "steps": 3}, "'steps'"),
        ({"name": "trades", "random_start": False}, "'random_start'"),
        ({"name": "trades", "loss": "margin"}, "'loss'"),
        ({"name": "pgd", "eps": 8}, r"classifier\.objective: pgd: eps: .*write 8/255"),
        ({"name": "trades", "steps": 0}, r"classifier\.objective: trades: steps"),
        ({"name": "trades", "beta": -1}, r"classifier\.objective: trades: beta: .* got -1"),
        ({"name": "trades", "beta": "six"}, r"classifier\.objective: trades: beta: .* got 'six'"),
        ({"name": "trades", "start": 0.01}, r"trades: start: is for attack: rfgsm"),
        ({"name": "trades", "attack": "rfgsm", "steps": 2}, r"rfgsm is one step .*leave out steps"),
        ({"name": "trades", "attack": "rfgsm", "start": "8/255"}, "start: must be .* less than eps"),
        ({"name": "trades", "attack": "rfgsm", "start": 0}, "start: must be positive"),
        ({"name": "trades", "attack": "fgsm"}, r"trades: attack: .*got 'fgsm'"),
        ({"name": "trades", "beta": float("nan")}, r"classifier\.objective: trades: beta"),
    ],
)
def test_bad_settings_are_one_clear_line(settings, message):
    with pytest.raises(InputError, match=message) as error:
        create_objective(settings)
    assert "\n" not in str(error.value)
