"""A whole attack with a surrogate that remembers, against the same attack written as a float64 loop."""

import torch
from torch import nn

from purespike.neurons import LIF, MultiLevelFiring, surrogate_gradient

from .reference import Sharpness, Spike


def network(time_steps):
    """Two layers of neurons of several thresholds, from images ``[N, 3, 4, 4]`` to logits ``[N, 5]``."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(6)
            self.one = MultiLevelFiring((0.4, 1.2), time_steps=time_steps)
            self.last = nn.Linear(6 * 16, 5)
            self.two = LIF(0.1, decay=0.5, time_steps=time_steps)

        def forward(self, images):
            hidden = self.one(self.first(torch.cat([images] * time_steps)), norm=self.norm)
            return self.two(self.last(hidden.flatten(1))).unflatten(0, (time_steps, -1)).mean(0)

    torch.manual_seed(3)
    model = Network().double().eval().requires_grad_(False)
    nn.init.uniform_(model.norm.weight, 1, 2)
    nn.init.uniform_(model.norm.bias, 0.2, 0.5)
    return model


def looped(model, images, time_steps, sharpness):
    """Logits of ``network``, step by step, each spike differentiated by autograd with its own slope."""
    norm = model.norm
    hidden = nn.functional.batch_norm(
        nn.functional.conv2d(images, model.first.weight, padding=1),
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
    )
    potentials, resets, total = {}, {}, 0

    def fire(name, x, thresholds, decay, t):
        counts = 0
        for threshold in thresholds:
            key = (name, threshold)
            potential = decay * potentials.get(key, 0) * (1 - resets.get(key, 0)) + x
            distance = potential - threshold
            slope = sharpness.slope((*key, t), distance.detach())
            spike = Spike.apply(distance, lambda _, slope=slope: slope)
            potentials[key], resets[key] = potential, spike
            counts = counts + spike
        return counts

    for t in range(time_steps):
        spikes = fire("one", hidden, (0.4, 1.2), 0.25, t)
        total = total + fire("two", model.last(spikes.flatten(1)), (0.1,), 0.5, t)
    return total / time_steps


def test_a_whole_attack_takes_the_steps_of_the_loop():
    """Signed steps on a network; had any M or D been another neuron's or step's, paths would part."""
    time_steps, model = 3, network(3)
    images = torch.rand(4, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    labels = torch.tensor([0, 1, 2, 3])
    ours, theirs, forgetful = images, images, images
    reference = Sharpness()
    with surrogate_gradient(model, "assg"):
        for _ in range(12):
            leaf, other = ours.clone().requires_grad_(), theirs.clone().requires_grad_()
            logits, expected = model(leaf), looped(model, other, time_steps, reference)
            assert torch.equal(logits, expected)
            gradients = [
                torch.autograd.grad(nn.functional.cross_entropy(output, labels), x)[0]
                for output, x in ((logits, leaf), (expected, other))
            ]
            torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-9)
            assert gradients[0].abs().max() > 0
            ours, theirs = (
                (x + 0.02 * gradient.sign()).clamp(0, 1)
                for x, gradient in zip((ours, theirs), gradients, strict=True)
            )
            with surrogate_gradient(model, "assg"):
                leaf = forgetful.clone().requires_grad_()
                loss = nn.functional.cross_entropy(model(leaf), labels)
                forgetful = (forgetful + 0.02 * torch.autograd.grad(loss, leaf)[0].sign()).clamp(0, 1)
    # the comparison has teeth: an attack that forgets goes elsewhere
    assert not torch.equal(ours, forgetful)
