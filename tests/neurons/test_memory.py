"""ASSG over the iterations of an attack, against float64 loops that keep M and D as its paper says."""

import copy
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from purespike.models.layers import Layers
from purespike.neurons import (
    LIF,
    Memory,
    MultiLevelFiring,
    Surrogate,
    compiled,
    membrane_census,
    multi_level_firing,
    parse_surrogate,
    surrogate_gradient,
)

from .reference import Sharpness, check, drawn, expected_gradient
from .tiers import needs_compiler, no_fallback

LEVELS = pytest.mark.parametrize("thresholds", [(0.6,), (0.6, 1.6, 2.6)], ids=["K=1", "K=3"])


def differentiated(model, current, weights):
    leaf = current.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad((model(leaf) * weights).sum(), leaf)
    return gradient


def iterates(count, *shape, dtype=torch.float64):
    """Currents of an attack, each near the one before."""
    current, weights = drawn(*shape, seed=9, dtype=dtype)
    return [current + step * drawn(*shape, seed=step, dtype=dtype)[0] / 4 for step in range(count)], weights


@LEVELS
@pytest.mark.parametrize("time_steps", [1, 2, 4])
@pytest.mark.parametrize("text", ["assg", "assg(coverage=0.95)"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (7, 6)], ids=["images", "features"])
def test_runs_over_the_iterations_of_an_attack(shape, text, time_steps, thresholds):
    currents, weights = iterates(6, time_steps, *shape)
    model = MultiLevelFiring(thresholds)
    reference = Sharpness(parse_surrogate(text).coverage)
    with surrogate_gradient(model, text):
        for current in currents:
            check(
                differentiated(model, current, weights),
                reference.gradient(current, weights, thresholds),
                1e-11,
            )


@LEVELS
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "learning"])
def test_runs_over_iterations_behind_a_norm(frozen, training, thresholds):
    currents, weights = iterates(5, 3 * 2, 4, 3, 5)
    norm = nn.BatchNorm2d(4, dtype=torch.float64).train(training).requires_grad_(not frozen)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.uniform_(norm.bias, 0.2, 0.7)
    model, apart = Layers(norm, MultiLevelFiring(thresholds, time_steps=3)), copy.deepcopy(norm)
    reference = Sharpness()
    with surrogate_gradient(model, "assg"):
        for current in currents:
            gradient = differentiated(model, current, weights)
            leaf = current.clone().requires_grad_()
            normalised = apart(leaf)
            in_time = normalised.detach().unflatten(0, (3, 2))
            inner = reference.gradient(in_time, weights.unflatten(0, (3, 2)), thresholds)
            (expected,) = torch.autograd.grad(normalised, leaf, inner.flatten(0, 1))
            check(gradient, expected, 1e-11)


@pytest.mark.parametrize("text", [*Surrogate.known])
def test_says_whether_it_remembers(text):
    (current, other), weights = iterates(2, 2, 3, 20)
    model = MultiLevelFiring()
    with surrogate_gradient(model, text):
        gradients = [differentiated(model, x, weights) for x in (current, other, current)]
    same = torch.equal(gradients[0], gradients[2])
    assert same != parse_surrogate(text).remembers
    assert parse_surrogate(text).remembers == (text == "assg")


def test_every_gradient_is_the_first_outside_of_a_block():
    (current, other), weights = iterates(2, 3, 4, 5)
    model = MultiLevelFiring(surrogate="assg")
    first = expected_gradient("assg", current, weights, model.thresholds, 0.25)
    for _ in range(3):
        check(differentiated(model, current, weights), first, 1e-11)
        with surrogate_gradient(model, "assg(coverage=0.7)"):
            differentiated(model, other, weights)
    assert model.memory is None


def test_each_block_begins_afresh_and_gives_back_what_was():
    currents, weights = iterates(4, 3, 4, 5)
    model = MultiLevelFiring((0.6, 1.6))
    outer, inner = Sharpness(), Sharpness(0.9)
    with surrogate_gradient(model, "assg"):
        for current in currents[:2]:
            check(
                differentiated(model, current, weights), outer.gradient(current, weights, (0.6, 1.6)), 1e-11
            )
        with pytest.raises(KeyboardInterrupt), surrogate_gradient(model, "assg(coverage=0.9)"):
            for current in currents[:2]:
                check(
                    differentiated(model, current, weights),
                    inner.gradient(current, weights, (0.6, 1.6)),
                    1e-11,
                )
            raise KeyboardInterrupt
        with surrogate_gradient(model, "atan"):
            assert model.memory is None
            differentiated(model, currents[2], weights)
        check(
            differentiated(model, currents[3], weights),
            outer.gradient(currents[3], weights, (0.6, 1.6)),
            1e-11,
        )
    assert model.memory is None
    with surrogate_gradient(model, "assg"):
        first = expected_gradient("assg", currents[3], weights, (0.6, 1.6), 0.25)
        check(differentiated(model, currents[3], weights), first, 1e-11)


def test_only_forwards_that_record_a_graph_count_each_once():
    (current, other), weights = iterates(2, 3, 4, 5)
    model, reference = nn.Sequential(MultiLevelFiring((0.6,))), Sharpness()
    with surrogate_gradient(model, "assg"):
        leaf = current.clone().requires_grad_()
        spikes = model(leaf)
        expected = reference.gradient(current, weights, (0.6,))
        # several backwards, as for the margin to each class
        for _ in range(3):
            (gradient,) = torch.autograd.grad((spikes * weights).sum(), leaf, retain_graph=True)
            check(gradient, expected, 1e-11)
        with torch.no_grad():
            model(other.clone().requires_grad_())
        with torch.inference_mode():
            model(other)
        model(other)
        membrane_census(model, other)
        check(differentiated(model, other, weights), reference.gradient(other, weights, (0.6,)), 1e-11)
        # a backward that comes late is that of its own forward
        (gradient,) = torch.autograd.grad((spikes * weights).sum(), leaf)
        check(gradient, expected, 1e-11)


def test_forwards_without_a_graph_do_not_count_behind_a_norm():
    (current, other), weights = iterates(2, 3 * 2, 4, 3, 5)
    norm = nn.BatchNorm2d(4, dtype=torch.float64).eval().requires_grad_(False)
    model, quiet = (Layers(norm, LIF(time_steps=3)) for _ in range(2))
    with surrogate_gradient(model, "assg"), surrogate_gradient(quiet, "assg"):
        for _ in range(2):
            gradient = differentiated(model, current, weights)
            with torch.no_grad():
                model(other.clone().requires_grad_())
            model(other)
            assert torch.equal(gradient, differentiated(quiet, current, weights))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, :2],
        lambda x: x.reshape(3, 6, 4, 2, 5),
        lambda x: x.float(),
        lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2),
    ],
    ids=["fewer images", "as many numbers", "type", "memory format"],
)
@pytest.mark.parametrize("folded", [True, False])
def test_another_batch_begins_afresh(change, folded):
    (current, other, last), weights = iterates(3, 3, 4, 6, 2, 5)
    model = nn.Sequential(MultiLevelFiring((0.6,), time_steps=3 if folded else None))

    def gradient(x):
        y = weights.to(x.dtype).expand(3, 4, 6, 2, 5)
        y = change(y) if x.shape != current.shape else y
        return differentiated(model, *((x.flatten(0, 1), y.flatten(0, 1)) if folded else (x, y)))

    def first(x):
        y = change(weights) if x.shape != current.shape else weights
        found = expected_gradient("assg", x, y, (0.6,), 0.25)
        return found.flatten(0, 1) if folded else found

    with surrogate_gradient(model, "assg"):
        gradient(current)
        changed = change(other)
        check(gradient(changed), first(changed), 1e-5 if changed.dtype is torch.float32 else 1e-11)
        check(gradient(last), first(last), 1e-11)


@pytest.mark.parametrize("copied", ["deepcopy", "pickle"])
def test_a_copy_made_inside_remembers_nothing(copied):
    (current, other), weights = iterates(2, 3, 4, 5)
    model, reference = nn.Sequential(LIF()), Sharpness()
    with surrogate_gradient(model, "assg"):
        differentiated(model, current, weights)
        reference.gradient(current, weights, (0.6,))
        if copied == "deepcopy":
            twin = copy.deepcopy(model)
        else:
            file = io.BytesIO()
            torch.save(model, file)
            twin = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
        assert str(twin[0].surrogate) == "assg(coverage=0.8)" and twin[0].memory is None
        for _ in range(2):
            first = expected_gradient("assg", other, weights, (0.6,), 0.25)
            check(differentiated(twin, other, weights), first, 1e-11)
        check(differentiated(model, other, weights), reference.gradient(other, weights, (0.6,)), 1e-11)


def test_a_memory_is_no_state_of_the_model():
    (current, other), weights = iterates(2, 3 * 2, 4, 3, 3)
    model = Layers(nn.BatchNorm2d(4, dtype=torch.float64), MultiLevelFiring(time_steps=3)).eval()
    spikes, state = model(other), list(model.state_dict())
    with surrogate_gradient(model, "assg"):
        differentiated(model, current, weights)
        assert list(model.state_dict()) == state
        assert torch.equal(model(other), spikes)
        values = model[1].memory._values
        assert values.grad_fn is None and not values.requires_grad
        # M and D of each threshold, step, channel and pixel
        assert values.numel() == 2 * 3 * current.numel()


def test_each_sample_remembers_for_itself():
    currents, weights = iterates(4, 3, 4, 2, 5, 5)
    model = nn.Sequential(LIF())
    with surrogate_gradient(model, "assg"):
        together = [differentiated(model, current, weights) for current in currents]
    for image in range(4):
        part = slice(image, image + 1)
        with surrogate_gradient(model, "assg"):
            for current, whole in zip(currents, together, strict=True):
                alone = differentiated(model, current[:, part].contiguous(), weights[:, part])
                torch.testing.assert_close(alone, whole[:, part], atol=1e-13, rtol=1e-13)


def test_channels_last_images_remember_too():
    currents, weights = iterates(4, 3 * 2, 4, 3, 5)
    reference, model = Sharpness(), LIF(time_steps=3)
    with surrogate_gradient(model, "assg"):
        for current in currents:
            gradient = differentiated(model, current.contiguous(memory_format=torch.channels_last), weights)
            in_time = (x.unflatten(0, (3, 2)) for x in (current, weights))
            check(gradient, reference.gradient(*in_time, (0.6,)).flatten(0, 1), 1e-11)


def test_bfloat16_is_remembered_in_float32():
    currents, weights = iterates(4, 3, 4, 50, dtype=torch.bfloat16)
    narrow, wide = LIF(), LIF()
    with surrogate_gradient(narrow, "assg"), surrogate_gradient(wide, "assg"):
        for current in currents:
            gradient = differentiated(narrow, current, weights)
            assert gradient.dtype == torch.bfloat16
            assert torch.equal(gradient, differentiated(wide, current.float(), weights.float()).bfloat16())


def test_nothing_is_remembered_of_nothing():
    model = nn.Sequential(LIF())
    with surrogate_gradient(model, "assg"):
        for shape in [(3, 0), (3, 0, 2, 4, 4)] * 2:
            assert differentiated(model, torch.zeros(shape), torch.zeros(shape)).shape == shape


def memories(monkeypatch, tier, currents, weights, normalised, elements=None):
    """Gradients of an attack's iterations under one tier."""
    with monkeypatch.context() as patch:
        patch.setenv("PURESPIKE_COMPILE", tier)
        patch.setattr(compiled, "SMALLEST", 0)
        patch.setattr(compiled, "_broken", [])
        if elements:
            patch.setattr(compiled, "CACHED", elements)
        norm = nn.BatchNorm2d(currents[0].shape[1], dtype=currents[0].dtype).eval().requires_grad_(False)
        neurons = MultiLevelFiring((0.6, 1.6), time_steps=2)
        model = Layers(norm, neurons) if normalised else nn.Sequential(neurons)
        with surrogate_gradient(model, "assg"), no_fallback():
            return [differentiated(model, current, weights) for current in currents]


@needs_compiler
def test_compiled_equals_eager(monkeypatch):
    graphs = [torch._dynamo.utils.counters["stats"]["unique_graphs"]]
    for shape in [(4, 3, 5, 6), (6, 5, 4, 4)]:
        currents, weights = iterates(3, *shape, dtype=torch.float32)
        results = [memories(monkeypatch, tier, currents, weights, True) for tier in ("1", "0")]
        for gradient, expected in zip(*results, strict=True):
            check(gradient, expected.double(), 1e-5)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    # forward, memory and backward compile once, whatever sizes follow
    assert graphs[0] < graphs[1] == graphs[2]


@settings(max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    cached=st.integers(1, 60),
    normalised=st.booleans(),
)
def test_eager_in_pieces_is_eager_in_one_piece(shape, cached, normalised):
    currents, weights = iterates(3, 2 * shape[0], *shape[1:])
    with pytest.MonkeyPatch.context() as patch:
        results = [memories(patch, "0", currents, weights, normalised, each) for each in (cached, 1 << 30)]
    torch.testing.assert_close(*results, atol=1e-12, rtol=1e-12)


def test_a_memory_may_be_held_by_hand():
    currents, weights = iterates(3, 3, 4, 5)
    memory, reference = Memory(), Sharpness()
    for current in currents:
        leaf = current.clone().requires_grad_()
        spikes = multi_level_firing(leaf, thresholds=(0.6,), surrogate=parse_surrogate("assg"), memory=memory)
        (gradient,) = torch.autograd.grad((spikes * weights).sum(), leaf)
        check(gradient, reference.gradient(current, weights, (0.6,)), 1e-11)
