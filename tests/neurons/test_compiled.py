"""The compiled tier against the eager one; each setting costs a C++ compilation, so the rows are few."""

import shutil
import warnings

import pytest
import torch

from purespike.neurons import compiled, multi_level_firing, parse_surrogate

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def _everything_goes_through_the_compiler(monkeypatch):
    monkeypatch.setenv("PURESPIKE_COMPILE", "1")
    monkeypatch.setattr(compiled, "SMALLEST", 0)
    monkeypatch.setattr(compiled, "_broken", [])


def fire(current, weights, settings):
    leaf = current.detach().requires_grad_()
    spikes = multi_level_firing(leaf, **settings)
    (gradient,) = torch.autograd.grad((spikes * weights).sum(), leaf)
    return spikes.detach(), gradient


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


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
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "purespike", RuntimeWarning)
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


@pytest.mark.parametrize("reason", ["switched off", "small"])
def test_the_compiler_is_left_alone_when(monkeypatch, reason):
    monkeypatch.setattr(torch, "compile", refuse)
    if reason == "small":
        monkeypatch.setattr(compiled, "SMALLEST", 201)
    else:
        monkeypatch.setenv("PURESPIKE_COMPILE", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fire(torch.randn(2, 100), torch.rand(2, 100), {"thresholds": (0.62,), "decay": 0.123})
