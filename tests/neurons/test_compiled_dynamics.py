"""The loop of any dynamics, compiled, against the eager one; each row costs a C++ compilation."""

from dataclasses import dataclass

import pytest
import torch

from purespike.neurons import Dynamics, SpikingNeuron, surrogate_gradient

from . import looped  # noqa: F401
from .tiers import everything_compiled, graphs, needs_compiler, no_fallback

_everything = pytest.fixture(autouse=True)(everything_compiled)


@dataclass(frozen=True)
class Rich(Dynamics):
    """A parameter per channel, and noise."""

    threshold: float = 0.6
    decay: float = 0.25

    def learnable(self, channels):
        return {"rise": torch.linspace(0.1, 0.5, channels)}

    def drawn(self, current, training):
        return {"noise": 0.1 * torch.randn(current.shape)}

    def run(self, current, spike, state, tensors):
        membrane, raised, spikes = torch.zeros_like(current[0]), torch.zeros_like(current[0]), []
        for x, noise in zip(current, tensors["noise"], strict=True):
            membrane = self.decay * membrane + x + noise
            spikes.append(spike(membrane - self.threshold - tensors["rise"] * raised))
            membrane, raised = membrane * (1 - spikes[-1]), 0.9 * raised + spikes[-1]
        return spikes, (membrane, raised)


@dataclass(frozen=True)
class Branching(Dynamics):
    """A loop that depends on values, which no compiler follows."""

    threshold: float = 0.6

    def run(self, current, spike, state, tensors):
        return [spike(x - self.threshold) if x.sum() > 0 else spike(x - 2) for x in current], ()


def differentiated(model, current, weights, seed=0):
    torch.manual_seed(seed)
    leaf = current.clone().requires_grad_()
    spikes = model(leaf)
    return spikes.detach(), *torch.autograd.grad((spikes * weights).sum(), [leaf, *model.parameters()])


def eagerly(monkeypatch, *given):
    with monkeypatch.context() as patch:
        patch.setenv("PURESPIKE_COMPILE", "0")
        return differentiated(*given)


@needs_compiler
@pytest.mark.parametrize(
    "kind", ["parametriclif", "learnablelif(soft=true)", "rich", "looped(thresholds=[0.6, 1.6])"]
)
def test_equals_the_eager_loop_and_keeps_the_current_alone(monkeypatch, kind):
    model = SpikingNeuron(kind, "atan", channels=3)
    for index, size in enumerate((5, 4)):
        current = torch.randn(2, 6, 3, size, size + 2)
        weights, before = torch.rand_like(current), graphs()
        with no_fallback():
            found = differentiated(model, current, weights)
        # the sizes of images are no part of the code
        assert graphs() - before == (1 if index == 0 else 0)
        eager = eagerly(monkeypatch, model, current, weights)
        assert torch.equal(found[0], eager[0]) and found[0].stride() == current.stride()
        for one, other in zip(found[1:], eager[1:], strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        spikes = model(current.requires_grad_())
    assert sum(kept.values()) <= current.numel() * (2 if kind == "rich" else 1) + 4
    loss = spikes.sum()
    first, second = (torch.autograd.grad(loss, current, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@needs_compiler
def test_a_memory_moves_on_as_in_the_eager_tier(monkeypatch):
    model = SpikingNeuron("adaptivelif(rise=0.3)")
    currents, weights = torch.randn(3, 2, 4, 5), torch.rand(2, 4, 5)
    with surrogate_gradient(model, "assg"), no_fallback():
        found = [differentiated(model, current, weights)[1] for current in currents]
    with surrogate_gradient(model, "assg"):
        for gradient, current in zip(found, currents, strict=True):
            torch.testing.assert_close(gradient, eagerly(monkeypatch, model, current, weights)[1])


@needs_compiler
def test_a_loop_that_cannot_be_compiled_warns_once_and_leaves_others_alone(monkeypatch):
    model, current = SpikingNeuron("branching"), torch.randn(2, 3, 4)
    weights = torch.rand_like(current)
    with pytest.warns(RuntimeWarning, match="dynamics branching cannot be compiled"):
        found = differentiated(model, current, weights)
    with no_fallback():
        again = differentiated(model, current, weights)
        before = graphs()
        differentiated(SpikingNeuron("adaptivelif(rise=0.7)"), current, weights)
        assert graphs() > before
    for one, other in zip(found, again, strict=True):
        assert torch.equal(one, other)


def test_the_eager_loop_keeps_the_current_alone(monkeypatch):
    monkeypatch.setenv("PURESPIKE_COMPILE", "0")
    current, kept = torch.randn(2, 3, 4, requires_grad=True), []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        SpikingNeuron("adaptivelif")(current)
    assert kept == [current.numel()]
