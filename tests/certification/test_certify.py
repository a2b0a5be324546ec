"""Certificates of models: the counts, what they depend on, and what is refused."""

import copy
import itertools
import json

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

import purespike as ps
from certification.scenes import (
    FEW,
    Constant,
    Counting,
    Coupled,
    Drawing,
    Linear,
    Recording,
    labelled,
    pictures,
    rows,
)
from purespike import InputError
from purespike.certification.draws import BLOCK, count_votes, noises
from purespike.models import Defended, Purifier, create


def test_a_constant_classifier_is_certified_as_far_as_the_draws_go():
    """Invariant 1 through the whole."""
    found = ps.certify(Constant(), (pictures(2), torch.tensor([2, 0])), sigma=0.5, n=1_000)
    right, wrong = found.certificates
    assert (right.n_a, right.prediction, right.label) == (1_000, 2, 2)
    assert right.radius == wrong.radius == pytest.approx(0.5 * 2.4633, abs=1e-4)
    assert right.correct and not wrong.correct, "certain, and wrong"
    assert found.accuracy(1.0).correct == 1 and found.average_radius == pytest.approx(right.radius / 2)


def test_no_radius_exceeds_the_distance_of_a_linear_classifier(linear):
    """Invariant 2 through the whole: a false certificate has a probability of 0.1% each."""
    images = pictures(30)
    found = ps.certify(linear, labelled(linear, images), sigma=0.25, n=1_000)
    distances = linear.distance(images).tolist()
    known = [one.radius for one in found.certificates]
    assert all(radius <= distance for radius, distance in zip(known, distances, strict=True))
    # close to what the expected count would give
    for one, distance in zip(found.certificates, distances, strict=True):
        side = 1 if one.selected == one.label else -1
        expected = 1_000 * norm.cdf(side * distance / 0.25)
        assert abs(one.n_a - expected) < 4 * (1_000 * 0.25) ** 0.5
    assert found.accuracy().correct >= 20


@pytest.mark.parametrize("size", [1, 7, 100, 150, 1_000])
def test_counts_do_not_depend_on_the_batch_size(linear, size):
    """Invariant 5."""
    data = labelled(linear, pictures(2))
    found, usual = (ps.certify(linear, data, batch_size=each, n=130, n0=20) for each in (size, 64))
    assert rows(found) == rows(usual)


def test_counts_do_not_depend_on_the_other_images(linear):
    images, labels = labelled(linear, pictures(6))
    every = rows(ps.certify(linear, (images, labels), **FEW))
    assert rows(ps.certify(linear, (images[2:4], labels[2:4]), **FEW)) == every[2:4]
    assert rows(ps.certify(linear, (images, labels), **FEW, seed=1)) != every


def test_counts_sum_to_the_draws_and_go_on_from_the_smaller_number(linear):
    """Invariant 5; a prefix of the draws is the same whatever comes after it."""
    image = pictures(1)[0]
    stated = {"sigma": 0.25, "classes": 2, "size": 64}
    parts = [
        count_votes(linear, image, 0, first=first, count=n, **stated) for first, n in ((0, 100), (100, 70))
    ]
    whole = count_votes(linear, image, 0, first=0, count=170, **stated)
    assert sum(whole) == 170 and whole == [a + b for a, b in zip(*parts, strict=True)]
    other = count_votes(linear, image, 1, first=0, count=170, **stated)
    assert other != whole


def test_the_noise_is_gaussian_new_each_time_and_never_clipped():
    """Invariant 7: raw pixels plus noise reach the model as they are; no draw is used twice."""
    model = Recording(64)
    images, sigma = pictures(1), 0.7
    ps.certify(model, (images, torch.tensor([0])), sigma=sigma, n=1_000, n0=100, batch_size=100)
    noisy = torch.cat([batch for batch in model.seen if batch.shape[0] == 100])
    assert len(noisy) == 1_100
    assert len(torch.unique(noisy.flatten(1), dim=0)) == 1_100, "the n0 draws are others than the n"
    drawn = ((noisy - images) / sigma).double()
    assert noisy.min() < -1 and noisy.max() > 2
    assert drawn.mean().abs() < 4 / drawn.numel() ** 0.5
    assert drawn.std() == pytest.approx(1, abs=0.02)
    flat = drawn.flatten(1)
    assert torch.corrcoef(flat.T).fill_diagonal_(0).abs().max() < 0.2, "pixels are independent"
    assert torch.corrcoef(flat[:200]).fill_diagonal_(0).abs().max() < 0.75, "and draws"


def test_draws_come_in_blocks_with_a_generator_each():
    shape = (1, 2, 2)
    whole = torch.cat(list(noises(shape, 0, 3 * BLOCK, "a", size=37)))
    assert len(whole) == 3 * BLOCK
    later = torch.cat(list(noises(shape, BLOCK, BLOCK + 5, "a", size=1_000)))
    assert torch.equal(later, whole[BLOCK : 2 * BLOCK + 5])
    assert all(len(part) <= 37 for part in noises(shape, 0, 3 * BLOCK, "a", size=37))


class Scaled(Linear):
    def forward(self, images):
        return 1_000 * super().forward(images)


def test_only_the_largest_logit_counts(linear):
    """Invariant 4."""
    data = labelled(linear, pictures(4))
    assert rows(ps.certify(Scaled(64), data, **FEW)) == rows(ps.certify(linear, data, **FEW))


class Undecided(nn.Module):
    """A tie above the middle of the first pixel, and NaN above that of the second; else class 1."""

    def forward(self, images):
        first, second = images[:, 0, 0, 0] > 0.5, images[:, 0, 0, 1] > 0.5
        logits = torch.zeros(len(images), 3)
        logits[~first, 1] = 1
        logits[second, 0] = torch.nan
        return logits


def test_a_tie_or_nan_is_in_no_class():
    image = torch.full((1, 8, 8), 0.5)
    votes = count_votes(Undecided(), image, 0, sigma=0.25, classes=3, first=0, count=4_000, size=100)
    assert votes[0] == votes[2] == 0 and votes[1] == pytest.approx(1_000, abs=120) and sum(votes) == 4_000
    found = ps.certify(Undecided(), (image[None], torch.tensor([1])), n=1_000)
    assert found.certificates[0].prediction is None and found.first.abstained == 1


class Selecting(nn.Module):
    """Class 0 for the draws that select, class 1 for all others."""

    def __init__(self):
        super().__init__()
        self.draws = 0

    def forward(self, images):
        return nn.functional.one_hot(torch.ones(len(images), dtype=torch.long), 2).float()


def test_the_class_that_is_estimated_is_the_selected_one(monkeypatch):
    """A published code counts the most frequent class of the second draws, whichever was selected."""
    monkeypatch.setattr(
        "purespike.certification.smoothed.count_votes",
        lambda model, image, seed, stage, *_, count, **__: (
            [count, 0, 0] if stage == "select" else [0, count, 0]
        ),
    )
    (one,) = ps.certify(Selecting(), (pictures(1), torch.tensor([1])), **FEW).certificates
    assert (one.selected, one.n_a, one.prediction, one.radius) == (0, 0, None, 0)


def test_a_stochastic_model_draws_anew_for_every_draw():
    found = ps.certify(Drawing(), (pictures(2), torch.tensor([0, 1])), n=3_000, batch_size=50)
    assert found.first.stochastic and found.first.abstained == 2
    # were the numbers of a forward those of the one before, a class would have 0 or all of them
    assert all(800 < one.n_a < 1_200 for one in found.certificates)
    again = ps.certify(Drawing(), (pictures(2), torch.tensor([0, 1])), n=3_000, batch_size=50)
    assert rows(found) == rows(again)


@pytest.fixture(scope="module")
def spiking():
    """A defended model of spiking parts, the purifier no identity."""
    torch.manual_seed(0)
    purifier = Purifier(width=0.05, time_steps=2)
    nn.init.normal_(purifier.denoiser.last.weight, std=0.2)
    classifier = create("resnet14_snn", width=0.05, time_steps=2)
    return Defended(purifier, classifier).eval()


def test_a_defended_model_is_certified_beside_its_bare_classifier(spiking):
    data = pictures(2, channels=3, size=12), torch.tensor([0, 1])
    found = ps.certify(spiking, data, n=60, n0=10, compare={"other": spiking.classifier})
    assert list(found.models) == ["defended model", "bare classifier", "other"]
    assert rows(found, "bare classifier") == rows(found, "other"), "the same draws"
    assert found.first.model.purifier.architecture == "purifier"
    alone = ps.certify(spiking, data, n=60, n0=10, alone=True, name="mine")
    assert list(alone.models) == ["mine"] and rows(alone) == rows(found)
    assert spiking.training is False


def test_the_purifier_takes_what_noise_makes_of_images():
    """Values far outside [0, 1], and any size: needed for smoothing."""
    purifier = Purifier(width=0.05, time_steps=2)
    for size in ((1, 1), (30, 31)):
        images = 3 * torch.randn(2, 3, *size)
        assert purifier(images).images.shape == images.shape


def test_modes_buffers_and_the_generators_are_left_as_they_were(linear):
    model = nn.Sequential(nn.BatchNorm2d(1), linear).eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    ps.certify(model, (pictures(2), torch.tensor([0, 1])), **FEW)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


REFUSED = {
    "training mode": (
        lambda: nn.Sequential(nn.BatchNorm2d(1), Linear(64)),
        {},
        r"model: is in training mode \(0\)",
    ),
    "state": (Counting, {}, "model: keeps state between calls .*Resetting"),
    "a batch": (Coupled, {}, "model: an image alone and in a batch gives logits"),
    "too few draws": (lambda: Linear(64), {"n": 9}, "^n: 9 draws certify nothing"),
    "alpha": (lambda: Linear(64), {"alpha": 2}, "^alpha: "),
    "a name twice": (lambda: Linear(64), {"compare": {"model": Linear(64)}}, "the name 'model' is taken"),
    "no mapping": (lambda: Linear(64), {"compare": [Linear(64)]}, "compare: give a mapping"),
    "no model": (lambda: 3, {}, "not an nn.Module nor a function"),
    "another size": (lambda: Linear(9), {}, r"model \(Linear\) fails .* on images of shape \[2, 1, 8, 8\]"),
    "no batch": (lambda: Linear(64), {"batch_size": 0}, "batch_size: must be a whole number of at least 1"),
    "a seed": (lambda: Linear(64), {"seed": -1}, "seed: "),
}


def test_a_batch_that_couples_draws_is_found_with_one_image_too():
    with pytest.raises(InputError, match="an image alone and in a batch"):
        ps.certify(Coupled(), (pictures(1), torch.tensor([0])), **FEW)


@pytest.mark.parametrize(("model", "given", "says"), REFUSED.values(), ids=REFUSED)
def test_models_and_settings_without_a_certificate_are_one_line(model, given, says):
    with pytest.raises(InputError, match=says) as refused:
        ps.certify(model(), (pictures(3), torch.tensor([0, 1, 0])), **{**FEW, **given})
    assert "\n" not in str(refused.value)


def test_no_images_are_refused(linear):
    with pytest.raises(InputError, match="certify: no images"):
        ps.certify(linear, (pictures(0), torch.zeros(0, dtype=torch.long)))


# ---- the result


def test_the_result_is_read_back_as_it_was_written(linear, tmp_path):
    found = ps.certify(linear, labelled(linear, pictures(4)), **FEW)
    found.save(tmp_path / "certification.json")
    assert ps.Certification.read(tmp_path / "certification.json") == found
    content = json.loads((tmp_path / "certification.json").read_text())
    assert content["provenance"]["versions"]["torch"] and content["seed"] == 0
    assert content["smoothing"] == {"sigma": 0.25, "n": 200, "n0": 20, "alpha": 0.001}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"radius": 0.7}, "image 1: radius 0.7 is not that of"),
        ({"n_a": 201}, "image 1: 201 of 200 draws"),
        ({"p_lower": 1.5}, "less than or equal to 1"),
        ({"prediction": None, "n_a": 200}, "image 1"),
    ],
)
def test_certificates_that_contradict_themselves_are_refused(linear, change, says):
    content = ps.certify(linear, labelled(linear, pictures(2)), **FEW).to_json()
    content["models"]["model"]["certificates"][1] |= change
    with pytest.raises(InputError, match=says):
        ps.Certification.from_json(content, source="file")


def test_certified_accuracy_falls_with_the_radius(linear):
    """Invariant 8, and each value is a plain count."""
    found = ps.certify(linear, labelled(linear, pictures(20)), **FEW)
    curve = [found.accuracy(radius).correct for radius in np.linspace(0, 1, 50)]
    assert all(a >= b for a, b in itertools.pairwise(curve)) and curve[-1] == 0
    for radius in (0, 0.1, 0.2):
        by_hand = sum(one["label"] == one["prediction"] and one["radius"] >= radius for one in rows(found))
        assert found.accuracy(radius).correct == by_hand
    assert found.accuracy(0).correct + found.first.abstained <= 20
    assert found.linf(0.8) == pytest.approx(0.1), "64 values"
    assert found.radii == pytest.approx([0.1 * k for k in range(5)]), "0.4540 at most"
