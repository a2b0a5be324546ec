"""Membranes carried from call to call: T steps at once are as many in parts."""

import copy

import pytest
import torch

from purespike.models import create
from purespike.models.steps import time_steps
from purespike.neurons import SpikingNeuron, carrying

from .reference import drawn

KINDS = (
    "mlf(thresholds=[0.6, 1.6], decay=0.3)",
    "adaptivelif(rise=0.4)",
    "parametriclif(decay=0.3)",
    "learnablelif(decay=0.5)",
    "learnablelif(decay=0.5, soft=true)",
)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_two_halves_are_the_whole(kind, detached):
    current, weights = drawn(6, 2, 3, 4, 4)
    found = {}
    for name, parts in (("whole", [6]), ("halves", [3, 3])):
        layer, leaf = SpikingNeuron(kind).double(), current.clone().requires_grad_()
        with carrying(layer) as carried:
            spikes = []
            for part in leaf.split(parts):
                spikes.append(layer(part))
                if detached:
                    carried.detach()
        spikes = torch.cat(spikes)
        tensors = [leaf, *layer.parameters()]
        found[name] = spikes, *torch.autograd.grad((spikes * weights).sum(), tensors)
    assert torch.equal(found["whole"][0], found["halves"][0]) and found["whole"][0].sum() > 0
    for one, other in zip(found["whole"][1:], found["halves"][1:], strict=True):
        if detached:
            assert not torch.allclose(one, other)
        else:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", [None, "learnablelif(decay=0.9, soft=true)"], ids=str)
def test_a_network_goes_on(kind):
    """Of multi-level firing too, whose kernel starts from rest; the context leaves nothing behind."""
    settings = {"decay": 0.9} if kind is None else {"dynamics": kind}
    torch.manual_seed(0)
    model = create("senet18_snn", width=0.05, time_steps=4, **settings).double()
    images = torch.rand((2, 3, 16, 16), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for _ in range(20):
        # untrained statistics leave the last layers silent
        model.train()(images)
    model.eval()
    plain = model(images)
    with carrying(model):
        whole = model(images)
    with time_steps(model, 2), carrying(model) as carried:
        first, second = model(images), model(images)
        kept = carried.membranes()
        copied = copy.deepcopy(model)
    torch.testing.assert_close(whole, (first + second) / 2)
    torch.testing.assert_close(whole, plain)
    assert not torch.equal(first, second) and all(kept.values())
    with time_steps(model, 2):
        assert torch.equal(model(images), copied(images)), "neither carries anything"
        with carrying(model, kept):
            third = model(images)
        with carrying(model):
            torch.testing.assert_close(model(images), first)
            model(images)
            assert torch.equal(model(images), third)
    assert torch.equal(model(images), plain)
