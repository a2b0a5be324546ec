import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from purespike.errors import InputError
from purespike.models import Defended
from purespike.neurons import (
    LIF,
    ATan,
    MultiLevelFiring,
    Rectangle,
    Triangle,
    multi_level_firing,
    surrogate_gradient,
)


@settings(max_examples=50)
@given(
    thresholds=st.lists(st.floats(0.1, 5), min_size=1, max_size=4, unique=True).map(sorted),
    decay=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_is_the_sum_of_its_single_thresholds(thresholds, decay, seed):
    current = torch.randn(5, 20, generator=torch.Generator().manual_seed(seed)) * 3
    spikes = multi_level_firing(current, thresholds=thresholds, decay=decay)
    single = [multi_level_firing(current, thresholds=[value], decay=decay) for value in thresholds]
    assert torch.equal(spikes, sum(single))
    assert set(spikes.unique().tolist()) <= set(range(len(thresholds) + 1))


@settings(max_examples=25)
@given(steps=st.integers(1, 6), cut=st.integers(1, 6), seed=st.integers(0, 1000))
def test_the_past_does_not_see_the_future(steps, cut, seed):
    current = torch.randn(steps, 20, generator=torch.Generator().manual_seed(seed)) * 2
    cut = min(cut, steps)
    assert torch.equal(multi_level_firing(current)[:cut], multi_level_firing(current[:cut]))


@pytest.mark.parametrize(
    "thresholds",
    [(), (0.0,), (-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (math.nan,), (1.0, math.nan), (math.inf,)],
    ids=str,
)
@pytest.mark.parametrize(
    "make", [lambda t: multi_level_firing(torch.zeros(1, 1), thresholds=t), MultiLevelFiring]
)
def test_bad_thresholds(make, thresholds):
    with pytest.raises(InputError, match="thresholds"):
        make(thresholds)


@pytest.mark.parametrize("decay", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize(
    "make", [lambda d: multi_level_firing(torch.zeros(1, 1), decay=d), lambda d: LIF(decay=d)]
)
def test_bad_decay(make, decay):
    with pytest.raises(InputError, match="decay"):
        make(decay)


@pytest.mark.parametrize(
    "current",
    [torch.zeros(2, 2, dtype=torch.long), torch.tensor(1.0), torch.zeros(0, 3)],
    ids=["integers", "no dimension", "no step"],
)
def test_bad_current(current):
    with pytest.raises(InputError, match="current"):
        multi_level_firing(current)


def test_time_folded_into_the_batch():
    current = torch.randn(4, 3, 2, 5, 5)
    folded = MultiLevelFiring(time_steps=4)(current.flatten(0, 1))
    assert torch.equal(folded.unflatten(0, (4, 3)), MultiLevelFiring()(current))
    assert torch.equal(MultiLevelFiring()(current), multi_level_firing(current))


def test_channels_last_stays_so_through_a_layer():
    current = torch.randn(8, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    assert LIF(time_steps=4)(current).is_contiguous(memory_format=torch.channels_last)


def test_lif_is_one_threshold():
    current = torch.randn(4, 50) * 2
    layer = LIF(0.7, decay=0.5, surrogate="atan")
    assert torch.equal(layer(current), multi_level_firing(current, thresholds=(0.7,), decay=0.5))
    assert "0.7" in repr(layer) and "atan" in repr(layer)


def small(surrogate="rectangle"):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Sequential(LIF(0.2, surrogate=surrogate)), nn.Linear(8, 3))


def outputs_and_gradient(model, images):
    images = images.detach().requires_grad_()
    outputs = model(images)
    (gradient,) = torch.autograd.grad(outputs.square().sum(), images)
    return outputs.detach(), gradient


def surrogates(model):
    return [module.surrogate for module in model.modules() if isinstance(module, MultiLevelFiring)]


def test_surrogate_gradient_changes_the_gradient_and_not_the_spikes():
    images = torch.randn(4, 5, 6)
    model, trained_otherwise = small(), small("atan(alpha=3)")
    own, own_gradient = outputs_and_gradient(model, images)
    with surrogate_gradient(model, "atan(alpha=3)"):
        swapped, gradient = outputs_and_gradient(model, images)
    assert torch.equal(own, swapped)
    assert not torch.allclose(own_gradient, gradient)
    assert torch.equal(gradient, outputs_and_gradient(trained_otherwise, images)[1])
    assert torch.equal(own_gradient, outputs_and_gradient(model, images)[1])


def test_backward_after_the_block_still_uses_the_swapped_surrogate():
    images = torch.randn(4, 5, 6)
    model = small()
    leaf = images.clone().requires_grad_()
    with surrogate_gradient(model, ATan(3)):
        outputs = model(leaf)
    outputs.square().sum().backward()
    assert torch.equal(leaf.grad, outputs_and_gradient(small("atan(alpha=3)"), images)[1])


def test_surrogate_gradient_reaches_into_a_nested_defended():
    model = Defended(nn.Sequential(LIF()), Defended(nn.Sequential(LIF(surrogate="triangle")), small()))
    before = surrogates(model)
    with surrogate_gradient(model, "atan"):
        assert surrogates(model) == [ATan()] * 3
        with surrogate_gradient(model.classifier, Triangle(2)):
            assert surrogates(model) == [ATan(), Triangle(2), Triangle(2)]
        assert surrogates(model) == [ATan()] * 3
    assert surrogates(model) == before == [Rectangle(), Triangle(), Rectangle()]


def test_surrogate_comes_back_after_an_exception():
    model = small()
    with pytest.raises(KeyboardInterrupt), surrogate_gradient(model, "atan"):
        raise KeyboardInterrupt
    assert surrogates(model) == [Rectangle()]
    with pytest.raises(InputError, match="rectangle"), surrogate_gradient(model, "rectangel"):
        pass
    assert surrogates(model) == [Rectangle()]


RECTANGLE_LIKE = [(0.6,), (0.6, 1.6), (0.6, 1.6, 2.6)]


@pytest.mark.parametrize("thresholds", RECTANGLE_LIKE, ids=lambda levels: f"K={len(levels)}")
def test_equals_a_sum_of_spikingjelly_neurons(thresholds):
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")

    class Rect(surrogate.SurrogateFunctionBase):
        def __init__(self):
            super().__init__(alpha=1.0, spiking=True)

        @staticmethod
        def spiking_function(x, alpha):
            return _Rect.apply(x)

    class _Rect(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return (x >= 0).to(x)

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return gradient * (x.abs() < 0.5).to(x)

    current = torch.randn(4, 3, 2, 8, 8) * 2
    weights = torch.rand_like(current)
    theirs = current.clone().requires_grad_()
    counts = 0
    for threshold in thresholds:
        node = neuron.LIFNode(
            tau=4 / 3,
            decay_input=False,
            v_threshold=threshold,
            v_reset=0.0,
            surrogate_function=Rect(),
            detach_reset=False,
            step_mode="m",
        )
        counts = counts + node(theirs)
    (counts * weights).sum().backward()
    ours = current.clone().requires_grad_()
    spikes = multi_level_firing(ours, thresholds=thresholds)
    (spikes * weights).sum().backward()
    assert torch.equal(spikes, counts)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-5)
