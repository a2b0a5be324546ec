import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from purespike.attacks.objective import cross_entropy, frozen_eval, margin, objective
from purespike.errors import InputError

rows = st.integers(2, 6).flatmap(
    lambda classes: st.tuples(
        st.lists(
            st.lists(st.floats(-100, 100, width=32), min_size=classes, max_size=classes, unique=True),
            min_size=1,
            max_size=5,
        ),
        st.integers(0, classes - 1),
    )
)


@settings(max_examples=100)
@given(rows)
def test_margin_is_positive_exactly_where_misclassified(drawn):
    values, label = drawn
    logits, labels = torch.tensor(values), torch.full((len(values),), label)
    margins = margin(logits, labels)
    assert ((margins > 0) == (logits.argmax(1) != labels)).all()
    for value, logit_row in zip(margins.tolist(), values, strict=True):
        others = [logit for index, logit in enumerate(logit_row) if index != label]
        assert value == pytest.approx(max(others) - logit_row[label], rel=1e-5, abs=1e-5)


@settings(max_examples=50)
@given(rows, st.floats(-50, 50))
def test_losses_do_not_see_a_shift_of_all_logits(drawn, shift):
    values, label = drawn
    logits, labels = torch.tensor(values, dtype=torch.float64), torch.full((len(values),), label)
    for loss in (margin, cross_entropy):
        torch.testing.assert_close(loss(logits + shift, labels), loss(logits, labels), atol=1e-9, rtol=1e-9)


def test_cross_entropy_is_its_formula():
    logits, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    expected = [
        -torch.log(row.exp()[label] / row.exp().sum()) for row, label in zip(logits, labels, strict=True)
    ]
    torch.testing.assert_close(cross_entropy(logits, labels), torch.stack(expected))


def test_margin_s_gradient_does_not_vanish_where_cross_entropy_s_does():
    logits = torch.tensor([[200.0, 0.0, -5.0]], requires_grad=True)
    label = torch.tensor([0])
    (flat,) = torch.autograd.grad(cross_entropy(logits, label).sum(), logits)
    (alive,) = torch.autograd.grad(margin(logits, label).sum(), logits)
    assert not flat.any()
    assert alive.tolist() == [[-1.0, 1.0, 0.0]]


def test_objective_by_name():
    assert objective("ce") is cross_entropy and objective("margin") is margin
    with pytest.raises(InputError, match="did you mean 'margin'"):
        objective("margins")


def test_frozen_eval_freezes_and_restores():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2))).train()
    model[1][0].eval()
    model[0].bias.requires_grad_(False)
    with pytest.raises(ValueError, match="here"), frozen_eval(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        raise ValueError("here")
    assert [module.training for module in model.modules()] == [True, True, True, False, True]
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
