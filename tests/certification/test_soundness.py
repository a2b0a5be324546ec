"""Nobody breaks a certificate: attacks inside every certified radius, on real scans; memory is flat."""

import functools
import os
import subprocess
import sys

import pytest
import torch
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional

import purespike as ps
from certification.scenes import digits, noise_trained
from purespike.models import Defended, Purifier, create
from purespike.modes import mode

SIGMA, COUNT = 0.25, 50


def smooth_adversarial(model, images, labels, radii, *, steps=20, copies=8):
    """SmoothAdv (Salman et al. 2019): L2 PGD on −log of the mean softmax over noisy copies, new each step."""
    draw = torch.Generator().manual_seed(11)
    radii = radii.view(-1, 1, 1, 1)
    offset = torch.zeros_like(images)
    for _ in range(steps):
        leaf = (images + offset).requires_grad_()
        noise = SIGMA * torch.randn((copies, *images.shape), generator=draw)
        logits = model((leaf + noise).flatten(0, 1)).view(copies, len(images), -1)
        loss = functional.nll_loss(logits.softmax(2).mean(0).clamp_min(1e-12).log(), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        norms = torch.linalg.vector_norm(gradient, dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        offset = offset + 2.5 * radii / steps * gradient / norms
        lengths = torch.linalg.vector_norm(offset, dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        offset = offset * (radii / lengths).clamp(max=1)
    return images + 0.9999 * offset


@torch.no_grad()
def changed(model, images, classes, *, draws=1_000):
    """Whether the smoothed prediction of each image is, significantly, another one than the class."""
    draw = torch.Generator().manual_seed(12)
    found = []
    for image, wanted in zip(images, classes.tolist(), strict=True):
        noisy = image + SIGMA * torch.randn((draws, *image.shape), generator=draw)
        votes = torch.cat([model(part).argmax(1) for part in noisy.split(500)]).bincount(minlength=10)
        others = votes.clone()
        others[wanted] = 0
        most, own = int(others.max()), int(votes[wanted])
        found.append(most > own and binomtest(most, most + own).pvalue < 0.001)
    return found


@functools.cache
def certified():
    images, labels = (part[1200 : 1200 + COUNT] for part in digits())
    return ps.certify(noise_trained(), (images, labels), sigma=SIGMA, n=1_000), images, labels


def test_no_attack_inside_a_certified_radius_changes_the_prediction():
    """Invariant 6, and that the attack works: outside it does."""
    found, images, _ = certified()
    rows = [row for row, one in enumerate(found.certificates) if one.prediction is not None]
    assert len(rows) > 40
    radii = torch.tensor([found.certificates[row].radius for row in rows])
    classes = torch.tensor([found.certificates[row].prediction for row in rows])
    inside = smooth_adversarial(noise_trained(), images[rows], classes, radii)
    assert ((inside - images[rows]).flatten(1).norm(dim=1) <= radii).all()
    assert not any(changed(noise_trained(), inside, classes))
    outside = smooth_adversarial(noise_trained(), images[rows], classes, 4 * radii)
    assert sum(changed(noise_trained(), outside, classes)) > len(rows) / 4


@pytest.mark.parametrize("radius", [0.2, 0.5])
def test_certified_accuracy_is_at_most_that_under_attack(radius):
    """Invariant 8: at the same L2 radius, of the same smoothed classifier."""
    found, images, labels = certified()
    attacked = smooth_adversarial(noise_trained(), images, labels, torch.full((COUNT,), radius))
    robust = COUNT - sum(changed(noise_trained(), attacked, labels))
    assert 0 < found.accuracy(radius).correct <= robust
    assert found.accuracy(radius).correct <= found.accuracy(0).correct <= COUNT


def train(model, loss_of, *, steps, rate):
    images, labels = (part[:1200] for part in digits())
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        rows = torch.randint(1200, (64,))
        loss = loss_of(images[rows], labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@pytest.mark.slow
def test_no_attack_breaks_a_certificate_of_a_spiking_denoiser():
    """A spiking purifier trained by the objective `denoise`, before a frozen spiking classifier."""
    from purespike.training.objectives import Batch, create_objective

    torch.manual_seed(0)
    classifier = create("resnet14_snn", width=0.125, time_steps=2, in_channels=1)
    train(classifier.train(), lambda x, y: functional.cross_entropy(classifier(x), y), steps=250, rate=5e-3)
    purifier = Purifier(in_channels=1, width=0.125, time_steps=2)
    objective = create_objective({"name": "denoise", "loss": "stability", "pixel_share": 0}, stage="purifier")

    def loss(images, labels):
        batch = Batch(purifier, images, labels, classifier=classifier, recipe=nn.Module())
        batch.recipe.epochs = 1
        (step,) = objective.steps(batch)
        return step.loss

    with mode(classifier, training=False):
        train(purifier.train(), loss, steps=250, rate=2e-3)
    model = Defended(purifier, classifier).eval()
    images, labels = (part[1200:1230] for part in digits())
    found = ps.certify(model, (images, labels), sigma=SIGMA, n=500)
    gain = [each.accuracy(0.1).correct for each in found.models.values()]
    assert gain[0] > gain[1], "the denoiser is what makes the classifier certifiable"
    rows = [row for row, one in enumerate(found.certificates) if one.prediction is not None]
    radii = torch.tensor([found.certificates[row].radius for row in rows])
    classes = torch.tensor([found.certificates[row].prediction for row in rows])
    inside = smooth_adversarial(model, images[rows], classes, radii, steps=10, copies=8)
    assert len(rows) >= 10 and not any(changed(model, inside, classes, draws=500))


PROGRAM = """
import resource, torch, purespike as ps
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2)).eval()
data = torch.rand(1, 3, 16, 16), torch.tensor([0])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
ps.certify(model, data, n=1_000)
before = peak()
ps.certify(model, data, n=25_000)
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_draws():
    """24,000 more draws are 70 MiB of noise, were they kept."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 16
