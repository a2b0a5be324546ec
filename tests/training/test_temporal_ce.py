"""Cross-entropy after each time step: its weights, its gradient, and plain training as its limit."""

import copy

import pytest
import torch
from torch.nn import functional

from purespike.errors import InputError
from purespike.models import create
from purespike.training.objectives import Batch, create_objective
from purespike.training.objectives.temporal_ce import TemporalCE

T = 3


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create("resnet14_snn", width=0.05, time_steps=T).train()


@pytest.fixture
def batch():
    return torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(1)), torch.arange(4)


def step_of(parts, model, images, labels):
    (step,) = create_objective(parts).steps(Batch(model, images, labels))
    return step


@pytest.mark.parametrize(
    ("rho", "weights"),
    [
        (0.0, [1, 0, 0]),
        (0.5, [4 / 7, 2 / 7, 1 / 7]),
        (1.0, [1 / 3] * 3),
        (2.0, [1 / 7, 2 / 7, 4 / 7]),
        (1e200, [0, 1e-200, 1]),
    ],
)
def test_the_loss_is_the_weighted_one_of_means_of_logits(model, batch, rho, weights):
    assert TemporalCE(rho=rho).weights(T) == pytest.approx(weights)
    images, labels = batch
    step = step_of({"name": "temporal_ce", "rho": rho}, model, images, labels)
    per_step = model.readout(model.features(images)).unflatten(0, (T, -1))
    expected = sum(
        w * functional.cross_entropy(per_step[: t + 1].mean(0), labels) for t, w in enumerate(weights)
    )
    torch.testing.assert_close(step.loss, expected)
    assert step.passes == 1 and not model.head._forward_hooks


def test_all_weight_on_the_last_step_is_plain_training_bit_for_bit(model, batch):
    made = []
    for parts in ("none", {"name": "temporal_ce", "rho": 1e200}):
        copied = copy.deepcopy(model)
        step = step_of(parts, copied, *batch)
        step.loss.backward()
        made.append((step, copied))
    assert torch.equal(made[0][0].loss, made[1][0].loss)
    for one, other in zip(*(each.parameters() for _, each in made), strict=True):
        assert torch.equal(one.grad, other.grad)
    for one, other in zip(*(each.buffers() for _, each in made), strict=True):
        assert torch.equal(one, other)


def test_penalties_go_along(model, batch):
    """Their further images are in the same forward, and in no loss of a step."""
    images, labels = batch
    seen = []
    model.head.register_forward_hook(lambda head, given, features: seen.append(features))
    step = step_of([{"name": "temporal_ce", "rho": 0.5}, "input_gradient"], model, images, labels)
    cuts = model.cuts(seen[-1])[:, :4]
    assert seen[-1].shape[0] == T * 8 and step.passes == 3
    expected = sum(
        w * functional.cross_entropy(cut, labels) for w, cut in zip((4 / 7, 2 / 7, 1 / 7), cuts, strict=True)
    )
    torch.testing.assert_close(step.loss - step.terms["input_gradient"], expected)
    step.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("rho", [-1, float("nan"), float("inf"), "early"])
def test_bad_rho_is_one_clear_line(rho):
    with pytest.raises(InputError, match=r"classifier\.objective: temporal_ce: rho: ") as error:
        create_objective({"name": "temporal_ce", "rho": rho})
    assert "\n" not in str(error.value)
