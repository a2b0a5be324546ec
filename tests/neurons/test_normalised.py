"""Batch norm and neurons as one step, against the batch norm of the textbook and the loop, in float64."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from purespike.neurons import MultiLevelFiring, neuron

from .reference import SLOPES, loop

LEVELS = [(0.6,), (0.6, 1.6), (0.6, 1.6, 2.6)]
DTYPES = [pytest.param(torch.float32, 1e-5, id="float32"), pytest.param(torch.float64, 1e-11, id="float64")]
MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def drawn(*shape, seed=0, dtype=torch.float32, offset=0.3):
    """Currents, and weights for the loss."""
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(*shape, generator=generator) * 1.5 + offset
    return current.to(dtype), torch.rand(*shape, generator=generator).to(dtype)


def norm_for(channels, *, seed=0, dtype=torch.float32, training=True, cls=nn.BatchNorm2d, **options):
    """A batch norm that has seen something already."""
    generator = torch.Generator().manual_seed(seed)
    norm = cls(channels, dtype=dtype, **options).train(training)
    for tensor, spread, least in [
        (norm.weight, 1.0, 0.5),
        (norm.bias, 0.5, 0.2),
        (norm.running_mean, 1.0, -0.3),
        (norm.running_var, 2.0, 0.5),
    ]:
        if tensor is not None:
            tensor.detach().copy_(torch.rand(channels, generator=generator) * spread + least)
    return norm


def forbid_fusion(monkeypatch):
    def refuse(*_):
        raise AssertionError("fused")

    monkeypatch.setattr(neuron, "normalise_and_fire", refuse)


def fused(current, weights, norm, neurons):
    """Spikes, and the gradients of their weighted sum by input, weight and bias."""
    leaf = current.detach().requires_grad_()
    spikes = neurons(leaf, norm=norm)
    return spikes.detach(), torch.autograd.grad((spikes * weights).sum(), (leaf, norm.weight, norm.bias))


def expected(current, weights, norm, neurons, slope):
    """The same in float64: normalised by hand, fired by the loop."""
    leaves = [tensor.detach().double().requires_grad_() for tensor in (current, norm.weight, norm.bias)]
    x, weight, bias = leaves
    if norm.training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    else:
        mean, variance = norm.running_mean.double(), norm.running_var.double()
    mean, variance, weight, bias = (value[:, None, None] for value in (mean, variance, weight, bias))
    normalised = (x - mean) / (variance + norm.eps).sqrt() * weight + bias
    in_time = normalised.unflatten(0, (neurons.time_steps, -1))
    counts = loop(in_time, neurons.thresholds, neurons.decay, slope).flatten(0, 1)
    return counts.detach(), torch.autograd.grad((counts * weights.double()).sum(), leaves)


def check(actual, reference, tolerance):
    (spikes, gradients), (counts, wanted) = actual, reference
    assert torch.equal(spikes.double(), counts)
    for gradient, value in zip(gradients, wanted, strict=True):
        # the gradients of a channel are sums over all of its pixels
        scale = value.abs().max().item() + 1
        torch.testing.assert_close(gradient.double(), value, atol=tolerance * scale, rtol=0)


@MODES
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("surrogate", SLOPES)
@pytest.mark.parametrize("time_steps", range(1, 5))
@pytest.mark.parametrize("thresholds", LEVELS, ids=lambda levels: f"K={len(levels)}")
def test_agrees_with_norm_then_loop(thresholds, time_steps, surrogate, dtype, tolerance, training):
    current, weights = drawn(time_steps * 3, 4, 3, 5, seed=time_steps, dtype=dtype)
    norm = norm_for(4, dtype=dtype, training=training)
    neurons = MultiLevelFiring(thresholds, surrogate=surrogate, time_steps=time_steps)
    reference = expected(current, weights, norm, neurons, SLOPES[surrogate])
    spikes, gradients = fused(current, weights, norm, neurons)
    assert spikes.dtype == gradients[0].dtype == dtype
    check((spikes, gradients), reference, tolerance)


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    time_steps=st.integers(1, 4),
    offset=st.sampled_from([0.0, -2.0, 100.0]),
    factor=st.sampled_from([1.0, -1.0, 0.0, 3.0]),
    eps=st.sampled_from([1e-5, 0.1]),
    decay=st.sampled_from([0.0, 0.25, 1.0]),
    surrogate=st.sampled_from(sorted(SLOPES)),
    training=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_size_and_setting_agrees_with_norm_then_loop(
    shape, time_steps, offset, factor, eps, decay, surrogate, training, seed
):
    images, channels, height, width = shape
    training = training and time_steps * images * height * width > 1
    size = (time_steps * images, channels, height, width)
    current, weights = drawn(*size, seed=seed, dtype=torch.float64, offset=offset)
    norm = norm_for(channels, seed=seed, dtype=torch.float64, training=training, eps=eps)
    norm.weight.detach().mul_(factor)
    neurons = MultiLevelFiring((0.6, 1.6), decay, surrogate, time_steps)
    reference = expected(current, weights, norm, neurons, SLOPES[surrogate])
    check(fused(current, weights, norm, neurons), reference, 1e-9)


@MODES
def test_bfloat16_is_normalised_and_fired_in_float32(training):
    current, weights = drawn(6, 8, 16, 16, dtype=torch.bfloat16)
    norm, neurons = norm_for(8, training=training), MultiLevelFiring(time_steps=2)
    reference = expected(current, weights, norm, neurons, SLOPES["rectangle(width=1)"])
    # the comparison has teeth: rounded in between, the normalised current fires differently
    rounded = neurons(copy.deepcopy(norm)(current))
    assert not torch.equal(rounded.double(), reference[0])
    spikes, gradients = fused(current, weights, norm, neurons)
    assert [value.dtype for value in (spikes, *gradients)] == [torch.bfloat16] * 2 + [torch.float32] * 2
    check((spikes, gradients), reference, 1e-2)


def strided(images):
    return torch.stack((images, -images), -1)[..., 0]


def channels_last(images):
    return images.contiguous(memory_format=torch.channels_last)


@MODES
@pytest.mark.parametrize("layout", [torch.clone, channels_last, strided], ids=lambda layout: layout.__name__)
@pytest.mark.parametrize(
    "shape", [(4, 3, 5, 6), (4, 1, 5, 6), (4, 3, 1, 1), (4, 1, 1, 1), (2, 3, 1, 4), (4, 30, 1, 1)], ids=str
)
def test_neither_layout_nor_shape_matters(shape, layout, training):
    current, weights = drawn(*shape, dtype=torch.float64)
    norm = norm_for(shape[1], dtype=torch.float64, training=training)
    neurons = MultiLevelFiring(time_steps=2, surrogate="atan(alpha=2)")
    reference = expected(current, weights, norm, neurons, SLOPES["atan(alpha=2)"])
    spikes, gradients = fused(layout(current), layout(weights), norm, neurons)
    assert spikes.is_contiguous(memory_format=torch.channels_last)
    check((spikes, gradients), reference, 1e-11)


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0])
@pytest.mark.parametrize("layout", [torch.clone, channels_last], ids=lambda layout: layout.__name__)
def test_statistics_move_as_those_of_batch_norm(layout, momentum):
    norm = norm_for(4, dtype=torch.float64, momentum=momentum)
    theirs, neurons = copy.deepcopy(norm), MultiLevelFiring(time_steps=2)
    for seed, training in enumerate([True, True, False, True]):
        current = layout(drawn(6, 4, 5, 3, seed=seed, dtype=torch.float64)[0])
        neurons(current, norm=norm.train(training))
        theirs.train(training)(current)
        assert norm.num_batches_tracked.equal(theirs.num_batches_tracked)
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(getattr(norm, name), getattr(theirs, name), atol=1e-14, rtol=1e-14)


@MODES
@pytest.mark.parametrize(
    "wanted", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)], ids=lambda wanted: str([*wanted])
)
def test_only_the_gradients_that_are_wanted(wanted, training):
    current, weights = drawn(4, 3, 5, 5, dtype=torch.float64)
    norm, neurons = norm_for(3, dtype=torch.float64, training=training), MultiLevelFiring(time_steps=2)
    _, reference = expected(current, weights, norm, neurons, SLOPES["rectangle(width=1)"])
    leaves = (current, norm.weight, norm.bias)
    for index, leaf in enumerate(leaves):
        leaf.requires_grad_(index in wanted)
    (neurons(current, norm=norm) * weights).sum().backward()
    for index, leaf in enumerate(leaves):
        if index in wanted:
            torch.testing.assert_close(leaf.grad, reference[index], atol=1e-11, rtol=1e-11)
        else:
            assert leaf.grad is None


@MODES
@pytest.mark.parametrize("layout", [torch.clone, channels_last], ids=lambda layout: layout.__name__)
def test_one_image_is_saved_for_backward(layout, training):
    current = layout(drawn(4, 3, 5, 5)[0]).requires_grad_()
    norm, neurons = norm_for(3, training=training), MultiLevelFiring(time_steps=2)
    saved = []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        neurons(current, norm=norm)
    (image,) = [tensor for tensor in saved if tensor.numel() > 3]
    assert image.shape == current.shape
    shared = image.untyped_storage().data_ptr() == current.untyped_storage().data_ptr()
    assert shared == (layout is channels_last)


@pytest.mark.parametrize("change", ["current", "weight"])
def test_backward_refuses_what_was_changed_since(change):
    current = channels_last(drawn(4, 3, 5, 5)[0]).requires_grad_() * 1
    norm = norm_for(3)
    spikes = MultiLevelFiring(time_steps=2)(current, norm=norm)
    {"current": current, "weight": norm.weight}[change].detach().add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        spikes.sum().backward()


@MODES
def test_a_later_forward_leaves_an_earlier_backward_alone(training):
    current, weights = drawn(4, 3, 5, 5, dtype=torch.float64)
    later, _ = drawn(4, 3, 5, 5, seed=1, dtype=torch.float64, offset=3)
    norm, neurons = norm_for(3, dtype=torch.float64, training=training), MultiLevelFiring(time_steps=2)
    _, (reference, *_) = expected(current, weights, norm, neurons, SLOPES["rectangle(width=1)"])
    leaf = current.requires_grad_()
    spikes = neurons(leaf, norm=norm)
    neurons(later, norm=norm.train())
    (gradient,) = torch.autograd.grad((spikes * weights).sum(), leaf)
    torch.testing.assert_close(gradient, reference, atol=1e-11, rtol=1e-11)


def outcome(function, norm, current):
    """What comes of ``function``: the error's type and text, else values and statistics."""
    norm, leaf = copy.deepcopy(norm), current.detach().requires_grad_()
    try:
        spikes = function(norm, leaf)
    except Exception as error:
        return type(error), str(error)
    (spikes * torch.arange(spikes.numel()).view_as(spikes)).sum().backward()
    tensors = {"spikes": spikes, "input": leaf.grad}
    tensors |= {name: parameter.grad for name, parameter in norm.named_parameters()}
    return tensors | {f"buffer {name}": buffer for name, buffer in norm.named_buffers()}


def check_as_unfused(norm, current, neurons):
    apart = outcome(lambda norm, x: neurons(norm(x)), norm, current)
    together = outcome(lambda norm, x: neurons(x, norm=norm), norm, current)
    if isinstance(apart, tuple):
        assert together == apart
    else:
        torch.testing.assert_close(together, apart, atol=1e-11, rtol=1e-11)
    return apart


@MODES
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (4, 3, 0, 4)], ids=["no image", "no pixel"])
def test_empty(shape, training):
    norm, current = norm_for(3, dtype=torch.float64, training=training), drawn(*shape, dtype=torch.float64)[0]
    assert check_as_unfused(norm, current, MultiLevelFiring(time_steps=2))["spikes"].shape == shape


@MODES
def test_one_value_per_channel_is_too_few_to_train_on(training):
    norm = norm_for(3, dtype=torch.float64, training=training)
    current = drawn(1, 3, 1, 1, dtype=torch.float64)[0]
    result = check_as_unfused(norm, current, MultiLevelFiring(time_steps=1))
    assert isinstance(result, tuple) == training


@MODES
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 5, 4, 4), "running_mean should contain 5 elements not 3"),
        ((4, 3, 4), "expected 4D input"),
        ((3, 3, 4, 4), "Provided sizes [2, -1] don't multiply up to the size of dim 0 (3)"),
    ],
    ids=["channels", "dimensions", "time"],
)
def test_bad_current(shape, message, training):
    norm, current = norm_for(3, dtype=torch.float64, training=training), drawn(*shape, dtype=torch.float64)[0]
    _, text = check_as_unfused(norm, current, MultiLevelFiring(time_steps=2))
    assert message in text


class Shifted(nn.BatchNorm2d):
    def forward(self, images):
        return super().forward(images) + 1


@MODES
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Shifted, {}),
        (nn.SyncBatchNorm, {}),
        (nn.BatchNorm2d, {"affine": False}),
        (nn.BatchNorm2d, {"track_running_stats": False}),
        (nn.BatchNorm2d, {"momentum": None}),
    ],
    ids=["subclass", "synchronised", "not affine", "without statistics", "cumulative"],
)
def test_other_norms_run_apart(monkeypatch, cls, options, training):
    forbid_fusion(monkeypatch)
    norm = norm_for(3, cls=cls, dtype=torch.float64, training=training, **options)
    current = drawn(4, 3, 5, 5, dtype=torch.float64)[0]
    check_as_unfused(norm, current, MultiLevelFiring(time_steps=2))


def test_time_outside_the_batch_runs_apart(monkeypatch):
    forbid_fusion(monkeypatch)
    norm = norm_for(3, dtype=torch.float64)
    check_as_unfused(norm, drawn(4, 3, 5, 5, dtype=torch.float64)[0], MultiLevelFiring())


def test_fusion_is_what_these_tests_are_about(monkeypatch):
    forbid_fusion(monkeypatch)
    with pytest.raises(AssertionError, match="fused"):
        MultiLevelFiring(time_steps=2)(drawn(4, 3, 5, 5)[0], norm=norm_for(3))


def test_no_gradient_of_the_gradient():
    current = drawn(4, 3, 5, 5)[0].requires_grad_()
    loss = (MultiLevelFiring(time_steps=2)(current, norm=norm_for(3)) * current).sum()
    (gradient,) = torch.autograd.grad(loss, current, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
