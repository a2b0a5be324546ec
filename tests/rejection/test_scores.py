"""Every score against a plain loop, and what all scores share: a gradient, and independence of the batch."""

import math

import pytest
import torch
from evaluation.victims import defended, foreign, photographs, spiking
from torch import nn

from purespike.attacks import SignAttack
from purespike.errors import InputError
from purespike.models import Defended, Purified
from purespike.neurons import firing_rates
from purespike.rejection import SCORES, Rejecting, Seen, score
from purespike.rejection.registry import Score

from .planted import Resetting, Sum, images


@pytest.fixture(scope="module")
def sample():
    return photographs(5, seed=7)[0]


@pytest.fixture(scope="module")
def victim():
    """A purifier whose estimator sees something."""
    model = defended()
    model = Defended(Estimating(model.purifier), model.classifier).eval()
    return model


class Estimating(nn.Module):
    def __init__(self, purifier):
        super().__init__()
        self.purifier = purifier

    def forward(self, x):
        return Purified(self.purifier(x).images, 0.1 * (x - 0.3))


def probabilities(logits):
    powers = [math.exp(value - max(logits)) for value in logits]
    return [power / sum(powers) for power in powers]


def expected(name, model, sample):
    found = []
    for image in sample:
        before = image.flatten().double().tolist()
        with torch.no_grad():
            output = model.purifier(image[None])
            bare, purified = (
                model.classifier(each)[0].double().tolist() for each in (image[None], output.images)
            )
        after = output.images.flatten().double().tolist()
        level = output.noise_level.flatten().double().tolist()
        if name == "purification_distance":
            total = sum((a - b) ** 2 for a, b in zip(after, before, strict=True))
            found.append(math.sqrt(total / len(before)))
        elif name == "noise_mean":
            found.append(sum(level) / len(level))
        elif name == "noise_max":
            found.append(max(map(abs, level)))
        else:
            p, q = probabilities(bare), probabilities(purified)
            found.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    return found


@pytest.mark.parametrize("name", ["purification_distance", "noise_mean", "noise_max", "disagreement"])
def test_scores_of_the_purifier_are_those_of_a_plain_loop(name, victim, sample):
    with torch.no_grad():
        found = Score(name)(Seen(victim, sample)).tolist()
    assert found == pytest.approx(expected(name, victim, sample), rel=1e-3, abs=1e-5)


def test_the_firing_rate_is_that_of_the_census(victim, sample):
    rates = [list(firing_rates(victim, image[None]).values()) for image in sample]
    reference = Score("firing_rate").learn([Seen(victim, sample[:3]), Seen(victim, sample[3:])])
    means = [sum(column) / len(rates) for column in zip(*rates, strict=True)]
    assert reference == pytest.approx(means, rel=1e-4)
    plain = [
        math.sqrt(sum((a - b) ** 2 for a, b in zip(row, means, strict=True)) / len(means)) for row in rates
    ]
    with torch.no_grad():
        found = Score("firing_rate")(Seen(victim, sample), reference).tolist()
    assert found == pytest.approx(plain, rel=1e-3, abs=1e-6)


def test_a_prediction_changes_exactly_where_the_attack_inside_changes_it(sample):
    model = foreign()
    with torch.no_grad():
        predicted = model(sample).argmax(1)
    inside = SignAttack(eps=0.1, steps=3, step_size=0.2 / 3)
    moved = inside.perturb(model, sample, predicted)
    with torch.no_grad():
        changed = model(moved).argmax(1) != predicted
        found = Score("prediction_change:eps=0.1:steps=3")(Seen(model, sample))
    assert ((found > 0) == changed).all() and changed.any() and not changed.all()


@pytest.mark.parametrize("name", SCORES)
def test_a_score_has_a_gradient_and_does_not_depend_on_the_batch(name, victim, sample):
    chosen = Score(name)
    reference = chosen.learn([Seen(victim, sample)])
    pixels = sample.clone().requires_grad_()
    values = chosen(Seen(victim, pixels), reference)
    (gradient,) = torch.autograd.grad(values.sum(), pixels)
    assert values.shape == (5,) and (gradient.flatten(1).abs().amax(1) > 0).all()
    with torch.no_grad():
        one = torch.cat([chosen(Seen(victim, image[None]), reference) for image in sample])
    assert torch.allclose(one, values.detach(), rtol=1e-4, atol=1e-6)


def test_images_that_the_purifier_leaves_alone_have_no_infinite_gradient():
    pixels = images()[0].requires_grad_()
    values = Score("purification_distance")(Seen(Defended(nn.Identity(), Sum()), pixels))
    (gradient,) = torch.autograd.grad(values.sum(), pixels)
    assert (values == 0).all() and gradient.isfinite().all()


def test_a_score_that_is_no_number_rejects():
    broken = Rejecting(Defended(Resetting(float("nan")), Sum()), "purification_distance", 1e30)
    assert not broken.accept(images()[0]).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rejecting(Sum(), "noise_men"), "unknown score 'noise_men': did you mean 'noise_mean'"),
        (lambda: Rejecting(Sum(), "noise_mean"), "needs a purifier.*firing_rate, prediction_change"),
        (lambda: Rejecting(Sum(), "prediction_change:step=3"), "unknown setting of score prediction_change"),
        (lambda: Rejecting(Sum(), "prediction_change:steps"), "score: .*name:key=value"),
        (lambda: Rejecting(Sum(), "disagreement,noise_mean"), "one score belongs here"),
        (lambda: Rejecting(Sum(), None), "score: name one of"),
        (lambda: Rejecting(Sum(), "firing_rate").calibrate(images()[0]), "no spiking neurons"),
        (lambda: Rejecting(spiking(), "firing_rate", 0.1).accept(photographs(1, seed=0)[0]), "calibrate"),
        (
            lambda: Rejecting(Defended(Resetting(), Sum()), "noise_max", 1).accept(images()[0]),
            "returns no noise_level",
        ),
        (lambda: Rejecting(Sum(), "prediction_change").accept(images()[0]), "has no threshold yet"),
        (
            lambda: Rejecting(Sum(), "prediction_change:steps=0", 1).accept(images()[0]),
            "steps: ",
        ),
    ],
)
def test_what_cannot_be_is_one_line(make, message):
    with pytest.raises(InputError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_score_of_ones_own(monkeypatch):
    monkeypatch.setattr("purespike.rejection.registry.SCORES", dict(SCORES))
    with pytest.raises(InputError, match="registered twice"):
        score("Another")(SCORES["noise_max"].compute)

    @score("Brightness")
    def brightness(seen, *, power=1):
        return seen.images.flatten(1).mean(1) ** power

    pixels, _ = images()
    model = Rejecting(Sum(), "brightness:power=2")
    assert model.calibrate(pixels, 0.5) and int(model.accept(pixels).sum()) == 3

    @score("Odd")
    def odd(seen):
        return seen.images

    with pytest.raises(InputError, match="score odd: must return one value per image"):
        Rejecting(Sum(), "odd", 1.0).accept(pixels)
