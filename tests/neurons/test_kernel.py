import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from purespike.neurons import multi_level_firing, parse_surrogate
from purespike.neurons.compiled import run
from purespike.neurons.dynamics import MLF
from purespike.neurons.kernel import (
    AT_ONCE,
    all_input_gradients,
    all_spikes,
    input_gradient,
    run_input_gradient,
    run_spikes,
    spikes,
)
from purespike.neurons.surrogate import Surrogate

from .reference import SLOPES, loop, loop_gradient

LEVELS = [(0.6,), (0.6, 1.6), (0.6, 1.6, 2.6)]
DTYPES = [pytest.param(torch.float32, 1e-6, id="float32"), pytest.param(torch.float64, 1e-12, id="float64")]


def drawn(*shape, seed=0, dtype=torch.float32, scale=1.5):
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(*shape, generator=generator) * scale
    return current.to(dtype), torch.rand(*shape, generator=generator).to(dtype)


def fire(current, weights, thresholds, decay=0.25, surrogate="rectangle"):
    leaf = current.detach().requires_grad_()
    spikes = multi_level_firing(
        leaf, thresholds=thresholds, decay=decay, surrogate=parse_surrogate(surrogate)
    )
    (gradient,) = torch.autograd.grad((spikes * weights).sum(), leaf)
    return spikes.detach(), gradient


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("surrogate", SLOPES)
@pytest.mark.parametrize("time_steps", range(1, 9))
@pytest.mark.parametrize("thresholds", LEVELS, ids=lambda levels: f"K={len(levels)}")
def test_agrees_with_the_loop(thresholds, time_steps, surrogate, dtype, tolerance):
    current, weights = drawn(time_steps, 40, seed=time_steps, dtype=dtype)
    spikes, gradient = fire(current, weights, thresholds, surrogate=surrogate)
    counts, expected = loop_gradient(current, weights, thresholds, 0.25, SLOPES[surrogate])
    assert torch.equal(spikes.double(), counts)
    assert spikes.dtype == gradient.dtype == dtype
    torch.testing.assert_close(gradient.double(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("decay", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("surrogate", ["rectangle(width=1)", "atan(alpha=2)"])
def test_agrees_with_the_loop_at_other_decays(decay, surrogate):
    current, weights = drawn(6, 50, seed=3, dtype=torch.float64, scale=1.0)
    spikes, gradient = fire(current, weights, (0.5, 1.1), decay, surrogate)
    counts, expected = loop_gradient(current, weights, (0.5, 1.1), decay, SLOPES[surrogate])
    assert torch.equal(spikes, counts)
    torch.testing.assert_close(gradient, expected, atol=1e-12, rtol=1e-12)


@settings(max_examples=60)
@given(
    current=st.lists(
        # multiples of the thresholds put membranes exactly on the edge
        st.sampled_from([0.6, 1.6, 1.2, 0.45, -0.6, 0.0]) | st.floats(-4, 4, allow_subnormal=False),
        min_size=1,
        max_size=8,
    ),
    decay=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    surrogate=st.sampled_from(sorted(SLOPES)),
)
def test_any_current_agrees_with_the_loop(current, decay, surrogate):
    values = torch.tensor(current, dtype=torch.float64)[:, None]
    weights = torch.linspace(1, 2, len(values), dtype=torch.float64)[:, None]
    spikes, gradient = fire(values, weights, (0.6, 1.6), decay, surrogate)
    counts, expected = loop_gradient(values, weights, (0.6, 1.6), decay, SLOPES[surrogate])
    assert torch.equal(spikes, counts)
    torch.testing.assert_close(gradient, expected, atol=1e-9, rtol=1e-9)


def test_fires_at_exactly_the_threshold():
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0)).item()
    current = torch.tensor([[0.5, below, 0.25], [0.0, 0.0, 0.375]])
    spikes = multi_level_firing(current, thresholds=(0.5,), decay=0.5)
    # the last neuron reaches 0.5 * 0.25 + 0.375 = 0.5 at its second step
    assert spikes.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


def test_gradient_flows_through_the_reset():
    current, weights = drawn(4, 200, seed=1, dtype=torch.float64)
    slope = SLOPES["rectangle(width=1)"]
    _, gradient = fire(current, weights, (0.6,))
    _, through = loop_gradient(current, weights, (0.6,), 0.25, slope)
    _, detached = loop_gradient(current, weights, (0.6,), 0.25, slope, detach_reset=True)
    assert not torch.allclose(through, detached, atol=1e-3)
    torch.testing.assert_close(gradient, through, atol=1e-12, rtol=1e-12)


def test_bfloat16_keeps_its_state_in_float32():
    current, weights = drawn(6, 4000, dtype=torch.bfloat16)
    spikes, gradient = fire(current, weights, (0.6, 1.6))
    wide, wide_gradient = fire(current.float(), weights.float(), (0.6, 1.6))
    assert spikes.dtype == gradient.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), wide)
    assert torch.equal(gradient, wide_gradient.bfloat16())
    # the comparison has teeth: a bfloat16 state fires differently on this current
    narrow = loop(current, (0.6, 1.6), 0.25, SLOPES["rectangle(width=1)"])
    assert not torch.equal(narrow.float(), wide)


def transposed(current):
    return current.transpose(1, 2).contiguous().transpose(1, 2)


def channels_last(current):
    return current.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, current.shape[:2])


def strided(current):
    return torch.stack((current, -current), -1)[..., 0]


def time_inside(current):
    return current.movedim(0, -1).contiguous().movedim(-1, 0)


LAYOUTS = [transposed, channels_last, strided, time_inside]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 2, 4, 5, 6), (1, 1, 4, 1, 6), (4, 2, 1, 3, 3)], ids=str)
def test_layout_does_not_matter(layout, shape):
    current, weights = drawn(*shape)
    laid_out = layout(current)
    assert torch.equal(laid_out, current)
    for actual, expected in zip(
        fire(laid_out, layout(weights), (0.6, 1.6)), fire(current, weights, (0.6, 1.6)), strict=True
    ):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("layout", [transposed, channels_last])
def test_memory_order_is_kept(layout):
    current = layout(drawn(3, 2, 4, 5, 6)[0])
    assert not current.is_contiguous()
    assert multi_level_firing(current).stride() == current.stride()


def test_expanded_current_gets_the_sum_of_its_gradients():
    current, weights = drawn(4, 2, 3, 5, 5)
    leaf = current[:1, :, :1].clone().requires_grad_()
    spikes = multi_level_firing(leaf.expand(4, 2, 3, 5, 5))
    spikes.backward(weights)
    dense, gradient = fire(leaf.detach().expand(4, 2, 3, 5, 5).clone(), weights, (0.6, 1.6, 2.6))
    assert torch.equal(spikes.detach(), dense)
    torch.testing.assert_close(leaf.grad, gradient.sum((0, 2), keepdim=True))


@pytest.mark.parametrize("shape", [(4, 0), (4, 0, 3, 8, 8), (2, 3, 0, 1)], ids=str)
def test_empty(shape):
    current = torch.zeros(shape, requires_grad=True)
    spikes = multi_level_firing(current)
    spikes.sum().backward()
    assert spikes.shape == current.grad.shape == shape


@pytest.mark.parametrize("thresholds", LEVELS, ids=lambda levels: f"K={len(levels)}")
def test_only_the_current_is_saved_for_backward(thresholds):
    current = drawn(4, 2, 3, 5, 5)[0].requires_grad_()
    saved = []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        multi_level_firing(current, thresholds=thresholds)
    assert [tensor.numel() for tensor in saved] == [current.numel()]


def test_nothing_is_remembered_between_calls():
    (first, a), (second, b) = drawn(4, 30, seed=1), drawn(4, 30, seed=2)
    apart = [fire(first, a, (0.6,)), fire(second, b, (0.6,))]
    x, y = first.clone().requires_grad_(), second.clone().requires_grad_()
    spikes = [multi_level_firing(leaf, thresholds=(0.6,)) for leaf in (x, y)]
    ((spikes[0] * a).sum() + (spikes[1] * b).sum()).backward()
    for leaf, output, (expected, gradient) in zip((x, y), spikes, apart, strict=True):
        assert torch.equal(output, expected)
        assert torch.equal(leaf.grad, gradient)


def test_no_gradient_of_the_gradient():
    current = drawn(2, 5)[0].requires_grad_()
    loss = (multi_level_firing(current) * current).sum()
    (gradient,) = torch.autograd.grad(loss, current, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_nan_fires_nothing():
    current = torch.tensor([[0.7, float("nan")], [float("nan"), 0.7], [0.7, 0.7]])
    counts = loop(current, (0.6, 1.6), 0.25, SLOPES["rectangle(width=1)"])
    assert torch.equal(multi_level_firing(current, thresholds=(0.6, 1.6)), counts)


ELEMENTWISE = sorted(
    name for name, kind in Surrogate.known.items() if kind.input_gradients is Surrogate.input_gradients
)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("surrogate", ELEMENTWISE)
@pytest.mark.parametrize(
    "thresholds", [*LEVELS, (0.3, 0.7, 1.1, 1.9, 2.7)], ids=lambda levels: f"K={len(levels)}"
)
def test_all_thresholds_at_once_give_the_same_bits(thresholds, surrogate, dtype):
    dynamics, chosen = MLF(thresholds=thresholds, decay=0.3), parse_surrogate(surrogate)
    for time_steps in (1, 2, 5):
        current, gradient = drawn(time_steps, 12, 5, seed=time_steps, dtype=dtype, scale=2)
        scale, shift = drawn(2, 5, seed=9, dtype=torch.promote_types(dtype, torch.float32))[0]
        for affine in ((), (scale, shift)):
            forward = (current, *affine), time_steps, dynamics
            assert torch.equal(all_spikes(*forward), spikes(*forward))
            for attached in (True, False):
                for scaled in (False, bool(affine)):
                    backward = (current, gradient, *affine), time_steps, dynamics, chosen, attached, scaled
                    assert torch.equal(all_input_gradients(*backward), input_gradient(*backward))


def test_small_tensors_take_all_thresholds_at_once(monkeypatch):
    called = []
    monkeypatch.setattr(
        "purespike.neurons.kernel.run",
        lambda *given, eager, **more: called.append(eager) or run(*given, **more),
    )
    several, one = MLF(thresholds=(0.6, 1.6)), MLF(thresholds=(0.6,))
    largest = AT_ONCE // 2
    for size, dynamics, surrogate, wanted in (
        (largest, several, "atan", (all_spikes, all_input_gradients)),
        (largest + 1, several, "atan", (spikes, input_gradient)),
        (largest, one, "atan", (spikes, input_gradient)),
        (largest, several, "ratebased", (all_spikes, input_gradient)),
    ):
        current, gradient = drawn(2, size)
        run_spikes((current,), 2, dynamics)
        run_input_gradient((current, gradient), (2, dynamics, parse_surrogate(surrogate), True, False))
        assert tuple(called[-2:]) == wanted
    # what is remembered belongs to a threshold
    current, gradient = drawn(2, 8)
    values = torch.rand(2, 2, 1, 8)
    run_input_gradient((current, gradient, values), (2, several, parse_surrogate("atan"), True, False))
    assert called[-1] is input_gradient
