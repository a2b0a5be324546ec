"""The compiled tier against the eager one; each setting costs a C++ compilation, so the rows are few."""

import math
import multiprocessing
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader

from purespike.neurons import MultiLevelFiring, compiled, multi_level_firing, parse_surrogate

from .tiers import everything_compiled, graphs, needs_compiler, no_fallback

needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")


_everything = pytest.fixture(autouse=True)(everything_compiled)


def fire(current, weights, settings):
    leaf = current.detach().requires_grad_()
    spikes = multi_level_firing(leaf, **settings)
    (gradient,) = torch.autograd.grad((spikes * weights).sum(), leaf)
    return spikes.detach(), gradient


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@needs_compiler
@pytest.mark.parametrize(
    ("thresholds", "time_steps", "decay", "surrogate", "dtypes"),
    [
        ((0.6,), 2, 0.25, "rectangle", [torch.float32, torch.float64]),
        ((0.6, 1.6, 2.6), 4, 0.25, "atan", [torch.float32, torch.bfloat16]),
        ((0.5, 1.0), 3, 0.9, "triangle(width=2)", [torch.float32]),
    ],
    ids=["K=1", "K=3", "K=2"],
)
def test_equals_the_eager_tier(monkeypatch, thresholds, time_steps, decay, surrogate, dtypes):
    settings = {"thresholds": thresholds, "decay": decay, "surrogate": parse_surrogate(surrogate)}
    for dtype in dtypes:
        for index, size in enumerate((500, 37, 1024)):
            current = (torch.randn(time_steps, size, 3) * 1.5).to(dtype)
            weights = torch.rand_like(current)
            before = graphs()
            with no_fallback():
                spikes, gradient = fire(current, weights, settings)
            # forward and backward compile once, whatever sizes follow
            assert graphs() - before == (2 if index == 0 else 0)
            with monkeypatch.context() as patch:
                patch.setenv("PURESPIKE_COMPILE", "0")
                eager, eager_gradient = fire(current, weights, settings)
            assert torch.equal(spikes, eager)
            assert spikes.dtype == gradient.dtype == dtype
            tolerance = 1e-2 if dtype is torch.bfloat16 else 1e-6
            torch.testing.assert_close(gradient, eager_gradient, atol=tolerance, rtol=tolerance)


def refuse(*_, **__):
    raise RuntimeError("no compiler here\nand a long trace")


def test_falls_back_with_one_warning(monkeypatch):
    monkeypatch.setattr(torch, "compile", refuse)
    current, weights = torch.randn(2, 100), torch.rand(2, 100)
    settings = {"thresholds": (0.61,), "decay": 0.123}
    with pytest.warns(RuntimeWarning) as caught:
        results = [fire(current, weights, settings) for _ in range(3)]
    assert [str(warning.message) for warning in caught if "purespike" in str(warning.message)] == [
        "purespike: compiled neurons are unavailable, using the slower eager ones (no compiler here); "
        "is a C++ compiler installed?"
    ]
    assert not compiled.enabled()
    monkeypatch.setenv("PURESPIKE_COMPILE", "0")
    for actual in results:
        for a, b in zip(actual, fire(current, weights, settings), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("reason", ["switched off", "small", "over too soon"])
def test_the_compiler_is_left_alone_when(monkeypatch, reason):
    monkeypatch.setattr(torch, "compile", refuse)
    passes = math.inf
    if reason == "small":
        monkeypatch.setattr(compiled, "SMALLEST", 201)
    elif reason == "switched off":
        monkeypatch.setenv("PURESPIKE_COMPILE", "0")
    else:
        monkeypatch.setitem(compiled.WORTH, "cpu", 200 * 11)
        passes = 10
    with warnings.catch_warnings(), compiled.expecting(passes):
        warnings.simplefilter("error")
        fire(torch.randn(2, 100), torch.rand(2, 100), {"thresholds": (0.62,), "decay": 0.123})


@needs_compiler
def test_it_is_called_where_the_passes_to_come_pay_for_it(monkeypatch):
    monkeypatch.setitem(compiled.WORTH, "cpu", 200 * 11)
    given = torch.randn(2, 100), torch.rand(2, 100), {"thresholds": (0.63,), "decay": 0.123}
    for passes, expected in ((10, 0), (11, 2), (10, 0)):
        before = graphs()
        with no_fallback(), compiled.expecting(3), compiled.expecting(passes):
            fire(*given)
        assert graphs() - before == expected


def outcome(neurons, norm, current, mode):
    """Spikes, and where ``mode`` has gradients those of input, weight and bias."""
    if mode == "inference":
        with torch.inference_mode():
            return (neurons(current.clone(), norm=norm).clone(), neurons(current, norm=norm).clone())
    if mode == "no gradient":
        with torch.no_grad():
            return (neurons(current, norm=norm),)
    leaves = [leaf for leaf in (current.requires_grad_(), *norm.parameters()) if leaf.requires_grad]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "autocast"):
        spikes = neurons(current, norm=norm)
    weights = torch.linspace(0, 1, spikes.numel()).view_as(spikes)
    return (spikes.detach(), *torch.autograd.grad((spikes * weights).sum(), leaves))


def check_both_tiers(monkeypatch, neurons, current, *, mode="training", frozen=False):
    results = []
    for tier in ("1", "0"):
        norm = nn.BatchNorm2d(current.shape[1], dtype=torch.promote_types(current.dtype, torch.float32))
        norm.train(mode != "evaluation").requires_grad_(not frozen)
        with monkeypatch.context() as patch, no_fallback():
            patch.setenv("PURESPIKE_COMPILE", tier)
            results.append(outcome(neurons, norm, current.detach().clone(), mode))
    assert torch.equal(results[0][0], results[1][0])
    tolerance = 2e-2 if current.dtype is torch.bfloat16 else 1e-5
    for actual, expected in zip(*results, strict=True):
        scale = max([1, *expected.abs().flatten().tolist()])
        torch.testing.assert_close(actual, expected, atol=tolerance * scale, rtol=0)


@needs_compiler
def test_all_that_a_network_does_compiles_a_few_times(monkeypatch, threads):
    neurons = MultiLevelFiring((0.6, 1.6), decay=0.251, time_steps=2)
    sizes = [
        # as many rows as channels, which must not become a condition
        (4, 8, 2, 2),
        (2, 4, 5, 5),
        (8, 7, 3, 9),
        (4, 16, 2, 2),
        (2, 32, 1, 2),
        (10, 3, 8, 8),
        (4, 64, 4, 2),
    ]
    before = graphs()
    for mode in ("training", "evaluation", "no gradient", "inference"):
        for index, size in enumerate(sizes):
            current = torch.randn(size) * 1.5
            if index % 2:
                current = current.contiguous(memory_format=torch.channels_last)
            check_both_tiers(monkeypatch, neurons, current, mode=mode)
    # forward and backward; the forward of inference tensors, and of other tensors in inference mode
    assert graphs() - before <= 4
    for size in sizes:
        current = torch.randn(size) * 1.5
        check_both_tiers(monkeypatch, neurons, current.bfloat16(), mode="autocast")
        check_both_tiers(monkeypatch, neurons, current, mode="autocast")
    # bfloat16 forward and backward; float32 is what it is without autocast
    assert graphs() - before <= 6
    for size in sizes:
        check_both_tiers(monkeypatch, neurons, torch.randn(size), mode="evaluation", frozen=True)
    # the backward that scales the gradient itself
    assert graphs() - before <= 7
    for size in [(4, 1, 5, 5), (6, 1, 3, 7), (2, 4, 1, 1), (2, 9, 1, 1), (2, 1, 1, 1)]:
        check_both_tiers(monkeypatch, neurons, torch.randn(size))
    # one channel, one pixel, or both
    assert graphs() - before <= 13
    for number in (2, 1, 2, 1):
        threads(number)
        for size in sizes:
            check_both_tiers(monkeypatch, neurons, torch.randn(size))
    assert graphs() - before <= 15


@needs_compiler
def test_layout_type_and_emptiness_compiled(monkeypatch):
    neurons = MultiLevelFiring((0.6,), decay=0.252, time_steps=2)
    current = torch.randn(4, 6, 5, 7, 2, dtype=torch.float64)[..., 0]
    assert not current.is_contiguous()
    check_both_tiers(monkeypatch, neurons, current)
    check_both_tiers(monkeypatch, neurons, current.contiguous(memory_format=torch.channels_last))
    check_both_tiers(monkeypatch, neurons, current[:2, ::2, :, 1:4], mode="evaluation")
    check_both_tiers(monkeypatch, neurons, current[:0])
    assert compiled.enabled()


@needs_compiler
def test_settings_share_no_limit_of_compilations():
    current, before = torch.randn(2, 50), graphs()
    with torch._dynamo.config.patch(recompile_limit=2), no_fallback():
        for step in range(4):
            multi_level_firing(current, thresholds=(0.6,), decay=0.253 + step / 1000)
    assert graphs() - before == 4


WORKER = {"thresholds": (0.6, 1.1), "decay": 0.254}


def collate(items):
    return multi_level_firing(torch.stack(items, 1), **WORKER), compiled.enabled()


def work(pipe, current):
    """What a worker of a DataLoader does first, and then neurons."""
    torch.set_num_threads(1)
    compiled.SMALLEST = 0
    spikes = multi_level_firing(torch.from_numpy(current), **WORKER)
    pipe.send((spikes.numpy(), compiled.enabled(), graphs()))


def eager(monkeypatch, current):
    with monkeypatch.context() as patch:
        patch.setenv("PURESPIKE_COMPILE", "0")
        return multi_level_firing(current, **WORKER)


@needs_compiler
@pytest.mark.parametrize("method", [pytest.param("fork", marks=needs_fork), "spawn"])
def test_a_worker_fires_too(monkeypatch, threads, method):
    current = torch.randn(2, 1 << 14)
    threads(2)
    if method == "fork":
        multi_level_firing(current, **WORKER)
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    worker = context.Process(target=work, args=(theirs, current.numpy()), daemon=True)
    worker.start()
    try:
        assert ours.poll(100), "the worker hangs"
        spikes, enabled, compilations = ours.recv()
        worker.join(10)
        assert worker.exitcode == 0
    finally:
        worker.kill()
    assert enabled and compilations > 0
    assert torch.equal(torch.from_numpy(spikes), eager(monkeypatch, current))


@needs_compiler
@needs_fork
def test_neurons_fire_in_the_workers_of_a_data_loader(monkeypatch, threads):
    threads(2)
    images = list(torch.randn(8, 2, 1 << 13))
    with no_fallback():
        multi_level_firing(torch.stack(images[:4], 1), **WORKER)
    loader = DataLoader(
        images, 4, num_workers=2, collate_fn=collate, timeout=100, multiprocessing_context="fork"
    )
    batches = list(loader)
    assert [enabled for _, enabled in batches] == [True, True]
    for (spikes, _), expected in zip(batches, (images[:4], images[4:]), strict=True):
        assert torch.equal(spikes, eager(monkeypatch, torch.stack(expected, 1)))


def test_no_memory_is_no_broken_compiler(monkeypatch):
    def exhausted(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(compiled, "_compiled", exhausted)
    with no_fallback(), pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        multi_level_firing(torch.randn(2, 100))
    assert compiled.enabled()


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    time_steps=st.integers(1, 3),
    cached=st.integers(1, 100),
    normalised=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    seed=st.integers(0, 100),
)
def test_eager_in_pieces_is_eager_in_one_piece(shape, time_steps, cached, normalised, dtype, seed):
    images, channels, *size = shape
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(time_steps * images, channels, *size, generator=generator).mul(1.5).to(dtype)
    neurons = MultiLevelFiring((0.6, 1.6), surrogate="atan", time_steps=time_steps)
    norm = nn.BatchNorm2d(channels, dtype=torch.promote_types(dtype, torch.float32)).eval()
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.2, 1.5, generator=generator)
    results = []
    for elements in (cached, 1 << 30):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PURESPIKE_COMPILE", "0")
            patch.setattr(compiled, "CACHED", elements)
            leaf = current.clone().requires_grad_()
            spikes = neurons(leaf, norm=norm if normalised else None)
            weights = torch.linspace(0, 1, spikes.numel(), dtype=dtype).view_as(spikes)
            spikes.backward(weights)
            results.append((spikes.detach(), leaf.grad))
    (spikes, gradient), (whole, expected) = results
    assert torch.equal(spikes, whole)
    torch.testing.assert_close(gradient, expected)


def test_eager_pieces_are_small(monkeypatch):
    rows = []

    def record(tensors):
        rows.append(tensors[0].shape[1])
        return tensors[0].clone()

    monkeypatch.setenv("PURESPIKE_COMPILE", "0")
    monkeypatch.setattr(compiled, "CACHED", 10)
    current = torch.randn(3, 25)
    assert torch.equal(compiled.run(record, (current,), ()), current)
    assert rows == [10, 10, 5]
