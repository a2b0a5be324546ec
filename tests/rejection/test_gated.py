"""Joint detection, rejection, and both on disk."""

import sys

import pytest
import torch
from evaluation.victims import defended, photographs
from torch import nn

import purespike as ps
from purespike.errors import InputError
from purespike.models import Defended
from purespike.neurons import surrogate_gradient
from purespike.rejection import Gated, Rejecting

from .planted import Resetting, Sum, images


@pytest.fixture(scope="module")
def sample():
    return photographs(6, seed=7)[0]


def test_exactly_the_flagged_images_are_purified():
    pixels, _ = images()
    pixels[::2, 0, 0, 0] = 0.9
    purifier, classifier = Resetting(0.45), Sum()
    gated = Gated(purifier, classifier, "purification_distance", 0.1)
    with torch.no_grad():
        assert gated.flagged(pixels).tolist() == [True, False] * 3
        for number, image in enumerate(pixels):
            seen = purifier(image[None]) if number % 2 == 0 else image[None]
            assert torch.equal(gated(pixels)[number], classifier(seen)[0])
            assert torch.equal(gated.purify(pixels)[number], seen[0])


def test_the_criterion_is_the_largest_estimated_noise_by_default(sample):
    model = defended()
    assert Gated(model.purifier, model.classifier).score.text == "noise_max"


@pytest.mark.parametrize("surrogate", ["rectangle", "atan"])
def test_the_two_limits_of_the_threshold_are_the_models_without_a_gate(sample, surrogate):
    """Nothing is flagged: the classifier alone. Everything is: the defended model. Outputs and gradients."""
    model = defended()
    for threshold, plain in ((sys.float_info.max, model.classifier), (-sys.float_info.max, model)):
        gated = Gated(model.purifier, model.classifier, threshold=threshold).eval()
        found = []
        for each in (gated, plain.eval()):
            leaf = sample.clone().requires_grad_()
            with surrogate_gradient(each, surrogate):
                logits = each(leaf)
                found.append((logits.detach(), torch.autograd.grad(logits.logsumexp(1).sum(), leaf)[0]))
        assert torch.equal(found[0][0], found[1][0])
        torch.testing.assert_close(found[0][1], found[1][1], atol=1e-6, rtol=1e-5)


def test_calibrating_leaves_that_share_unpurified(sample):
    model = defended()
    gated = Gated(model.purifier, model.classifier, "purification_distance")
    with pytest.raises(InputError, match="Gated: has no threshold yet"):
        gated(sample)
    gated.calibrate(sample, 0.5)
    assert int(gated.flagged(sample).sum()) == 3


@pytest.mark.parametrize("score", ["purification_distance", "disagreement"])
def test_a_decision_is_the_model_and_the_score(score, sample):
    model = defended()
    gated = Gated(model.purifier, model.classifier, "purification_distance")
    gated.calibrate(sample, 0.5)
    for inner in (model, gated):
        rejecting = Rejecting(inner, score)
        rejecting.calibrate(sample, 0.5)
        with torch.no_grad():
            logits, accept, scores = rejecting.decide(sample)
            assert torch.equal(logits, inner(sample)) and torch.equal(logits, rejecting(sample))
            assert torch.equal(scores, rejecting.scores(sample))
            assert accept.tolist() == [value <= rejecting.threshold for value in scores.tolist()]
        assert int(accept.sum()) == 3
        # raising the threshold accepts more
        rejecting.threshold *= 1.5
        assert (rejecting.accept(sample) >= accept).all()


def test_both_come_back_from_disk(tmp_path, sample):
    model = defended()
    model.classifier.class_names = ("a", "b", "c", "d")
    gated = Gated(model.purifier, model.classifier, "noise_max", 0.01)
    rejecting = Rejecting(gated, "firing_rate")
    rejecting.calibrate(sample, 0.5)
    for number, kept in enumerate((gated, rejecting, Rejecting(model.classifier, "prediction_change", 0.5))):
        path = tmp_path / f"{number}.safetensors"
        ps.save(kept, path, class_names=("a", "b", "c", "d"))
        back = ps.load(path)
        assert type(back) is type(kept) and back.config == kept.config and not back.training
        with torch.no_grad():
            assert torch.equal(back(sample), kept.eval()(sample))
            if number == 1:
                assert torch.equal(back.accept(sample), kept.accept(sample))
        with pytest.raises(InputError, match="2 names, but the model has 4 classes"):
            ps.save(kept, path, class_names=("a", "b"))


def test_a_gate_of_other_parts_cannot_be_saved(tmp_path):
    for model in (
        Gated(Resetting(0.45), Sum(), "purification_distance", 0.1),
        Rejecting(Defended(nn.Identity(), Sum()), "purification_distance", 0.1),
    ):
        with pytest.raises(InputError, match="not made of purespike's own models alone"):
            ps.save(model, tmp_path / "model.safetensors")


def test_a_model_with_a_gate_is_evaluated_as_any_other():
    pixels, labels = images()
    gated = Gated(Resetting(0.45), Sum(), "purification_distance", 0.1)
    found = ps.evaluate(gated, (pixels, labels), attacks="pgd:steps=2", threat="adaptive", diagnose=0)
    assert found.clean.defended.accuracy == 1
    assert found.model.text.startswith("gated Resetting + ")
    assert found.model.purifier.model_extra["gate"]["threshold"] == 0.1
    assert ps.Rejecting is Rejecting and ps.Gated is Gated
