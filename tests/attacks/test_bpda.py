"""BPDA: the values of the purifier, the gradient of another function; learned, it points the right way."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from purespike.attacks import create_attack
from purespike.attacks.adaptive import adaptive_routes
from purespike.attacks.bpda import (
    Approximation,
    GuessBackward,
    Guessing,
    IdentityBackward,
    LearnedBackward,
    fit_approximation,
    guess_of,
)
from purespike.errors import InputError
from purespike.models import Defended, Purifier
from purespike.models.draws import KnownDraws

from .conftest import photographs

QUICK = {"steps": 40, "width": 8}


class Blur(nn.Module):
    """A linear purifier: a binomial filter of 5×5."""

    def forward(self, images):
        row = torch.tensor([1.0, 4, 6, 4, 1]) / 16
        kernel = (row[:, None] * row).to(images).expand(images.shape[1], 1, 5, 5)
        return functional.conv2d(images, kernel, padding=2, groups=images.shape[1])


class Rounding(nn.Module):
    """A purifier without any gradient: BPDA's classic case."""

    def forward(self, images):
        return (images * 8).round() / 8


class Noisy(nn.Module):
    def forward(self, images):
        return images + 0.02 * torch.randn_like(images)


PURIFIERS = {
    "blur": Blur,
    "rounding": Rounding,
    "blur, then rounding": lambda: nn.Sequential(Blur(), Rounding()),
}


@pytest.fixture(scope="module")
def fitted():
    """Name to purifier and its approximation."""
    images, _ = photographs(64, 3, seed=3)
    return {
        name: (make(), fit_approximation(make(), images, eps=16 / 255)) for name, make in PURIFIERS.items()
    }


def gradient(model, images, labels):
    leaf = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(functional.cross_entropy(model(leaf), labels), leaf)
    return found


def cosine(one, other):
    return functional.cosine_similarity(one.flatten(1), other.flatten(1)).mean().item()


@pytest.mark.parametrize("name", [*PURIFIERS, "ours"])
def test_logits_are_exactly_the_models(name, fitted, trained, plain):
    classifier, images, _ = plain
    model = trained["defended"] if name == "ours" else Defended(fitted[name][0], classifier)
    approximation = fitted["blur" if name == "ours" else name][1]
    for bypass in (LearnedBackward(model, approximation), IdentityBackward(model)):
        assert torch.equal(bypass(images), model(images))
        with torch.no_grad():
            assert torch.equal(bypass(images), model(images))


@pytest.mark.parametrize("name", PURIFIERS)
def test_gradient_is_that_of_the_approximation_at_the_purifiers_value(name, fitted, plain):
    classifier, images, labels = plain
    purifier, approximation = fitted[name]
    found = gradient(LearnedBackward(Defended(purifier, classifier), approximation), images, labels)
    # in two steps: the classifier's gradient at the purified image, then back through the approximation
    inner = gradient(classifier, purifier(images).detach(), labels)
    leaf = images.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(approximation(leaf), leaf, inner)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-9)
    assert found.any()


def test_identity_is_the_case_of_no_approximation(trained, plain):
    _, images, labels = plain
    model = trained["defended"]
    found = gradient(IdentityBackward(model), images, labels)
    assert torch.equal(found, gradient(model.classifier, model.purify(images).detach(), labels))
    assert torch.equal(found, gradient(LearnedBackward(model, nn.Identity()), images, labels))


def test_learned_is_nearer_to_the_true_gradient_than_the_identity(fitted, plain):
    classifier, images, labels = plain
    purifier, approximation = fitted["blur"]
    model = Defended(purifier, classifier)
    true = gradient(model, images, labels)
    learned = cosine(gradient(LearnedBackward(model, approximation), images, labels), true)
    identity = cosine(gradient(IdentityBackward(model), images, labels), true)
    assert learned > 0.98 and learned > identity + 0.1
    assert approximation.fit.relative_error < 0.1


def test_a_purifier_without_gradient_is_seen_through(fitted, plain):
    """The blur behind the rounding is found, though autograd finds nothing."""
    classifier, images, labels = plain
    purifier, approximation = fitted["blur, then rounding"]
    model = Defended(purifier, classifier)
    assert not gradient(model, images, labels).any()
    bypass = LearnedBackward(model, approximation)
    learned = gradient(bypass, images, labels)
    assert learned.flatten(1).any(1).all()
    smooth = gradient(Defended(Blur(), classifier), images, labels)
    assert cosine(learned, smooth) > cosine(gradient(IdentityBackward(model), images, labels), smooth) + 0.1
    attack = create_attack("pgd", eps="32/255", steps=10)
    assert attack(bypass, images, labels).success.sum() > attack(model, images, labels).success.sum()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_can_be_attacked(precision, fitted, trained, plain):
    _, images, labels = plain
    model = copy.deepcopy(trained["defended"])
    bypass = LearnedBackward(model, fitted["blur"][1]).train()
    result = create_attack("pgd", eps="24/255", precision=precision)(bypass, images, labels)
    assert torch.equal(result.success, model.eval()(result.images).argmax(1) != labels)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_the_fit_is_measured_on_images_it_did_not_learn_from():
    images, _ = photographs(40, 3, seed=5)
    found = fit_approximation(Blur(), images, eps="8/255", **QUICK)
    assert (found.fit.learned, found.fit.held_out) == (35, 5)
    new = images[7::8].double()
    plain_error = (found.double()(new) - Blur()(new)).square().sum() / (Blur()(new) - new).square().sum()
    # its own number has perturbed images in it as well
    assert 0.2 < found.fit.relative_error / plain_error.sqrt() < 5
    assert found.fit.to_json()["eps"] == pytest.approx(8 / 255)
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_a_better_fit_has_a_smaller_error(fitted):
    images, _ = photographs(64, 3, seed=3)
    poor = fit_approximation(nn.Sequential(Blur(), Rounding()), images[:3], eps=16 / 255, steps=1)
    assert fitted["blur, then rounding"][1].fit.relative_error < poor.fit.relative_error


@pytest.mark.parametrize(
    "purifier", [nn.Identity, lambda: (lambda model: model.eval())(Purifier(width=1 / 16))]
)
def test_the_identity_is_imitated_exactly(purifier):
    images, _ = photographs(9, 3, seed=1)
    torch.manual_seed(0)
    found = fit_approximation(purifier(), images, **QUICK)
    # a new purifier is the identity, too
    assert found.fit.relative_error < 1e-3
    torch.testing.assert_close(found(images), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("purifier", [Blur, Noisy])
def test_the_seed_alone_decides(purifier):
    images, _ = photographs(8, 1, seed=2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fit_approximation(purifier(), images, seed=4, **QUICK)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = fit_approximation(purifier(), images, seed=4, **QUICK)
    other = fit_approximation(purifier(), images, seed=5, **QUICK)
    assert torch.equal(first(images), second(images)) and first.fit == second.fit
    assert not torch.equal(first(images), other(images))


def test_the_purifier_is_left_as_it_was(trained):
    images, _ = photographs(8, 3, seed=2)
    purifier = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), Blur()).train()
    purifier[1].eval()
    state = copy.deepcopy(purifier.state_dict())
    kept = images.clone()
    with torch.inference_mode():
        fit_approximation(purifier, images * 1, **QUICK)
    assert [module.training for module in purifier] == [True, False, True]
    assert all(torch.equal(value, state[key]) for key, value in purifier.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in purifier.parameters())
    assert torch.equal(images, kept)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_it_learns_from_lies_in_the_ball(norm):
    seen = []

    class Recording(nn.Module):
        def forward(self, images):
            seen.append(images)
            return images / 2

    images, _ = photographs(16, 3, seed=6)
    images[0], images[1] = 0, 1
    fit_approximation(Recording(), images, eps=0.05, norm=norm, draws=3, **QUICK)
    shown = torch.cat(seen).view(3, 16, -1)
    assert torch.equal(shown[0], images.flatten(1))
    assert shown.min() >= 0 and shown.max() <= 1
    moved = (shown[1:] - shown[0]).norm(dim=2, p=2 if norm == "l2" else torch.inf)
    assert (moved <= 0.05 + 1e-6).all() and (moved[:, 2:] > 0).all() and moved.max() > 0.03


@pytest.mark.parametrize(
    ("purifier", "settings", "message"),
    [
        (nn.AvgPool2d(2), {}, r"must return images of shape .*got \[9, 3, 4, 4\]"),
        (nn.Softmax2d(), {"eps": 8}, "in pixel units"),
        (nn.Identity(), {"norm": "l1"}, "unknown norm"),
        (nn.Identity(), {"norm": "l2", "eps": 0}, "positive"),
        (nn.Identity(), {"steps": 0}, "steps"),
        (nn.Identity(), {"learning_rate": 0}, "learning_rate"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(purifier, settings, message):
    images, _ = photographs(9, 3, seed=1)
    with pytest.raises(InputError, match=message):
        fit_approximation(purifier, images, **settings)


class Broken(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        return self.answer(images)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(lambda images: images * torch.nan, "not finite"), (lambda images: None, "something else")],
)
def test_a_broken_purifier_is_named(answer, message):
    images, _ = photographs(9, 3, seed=1)
    with pytest.raises(InputError, match=message):
        fit_approximation(Broken(answer), images)


def test_one_image_is_too_few():
    with pytest.raises(InputError, match="at least two images"):
        fit_approximation(Blur(), torch.rand(1, 3, 8, 8))


def test_the_network_is_the_identity_at_first():
    images = torch.rand(2, 1, 9, 7)
    assert torch.equal(Approximation(1)(images), images)


def guessing(count=4):
    """A purifier with an encoder before a linear classifier, both as after training."""
    torch.manual_seed(0)
    purifier = Purifier(
        width=1 / 8, time_steps=2, network="encoder_decoder", output="reconstruction", classes=count
    )
    nn.init.normal_(purifier.denoiser.last.weight, std=0.5)
    images, labels = photographs(16, 3, seed=1)
    with torch.no_grad():
        for _ in range(20):
            purifier(images)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), count))
    return Defended(purifier, classifier).eval(), images, labels % count


def test_a_guess_gives_the_gradient_and_the_whole_the_answer():
    model, images, labels = guessing()
    through = GuessBackward(model, Guessing(model.purifier))
    assert torch.equal(through(images), model(images))
    with torch.no_grad():
        assert torch.equal(through(images), model(images))
    # J_g^T times the derivative of the loss at the whole's own logits
    leaf = images.clone().requires_grad_()
    slope = torch.softmax(model(images), 1) - functional.one_hot(labels, 4)
    (expected,) = torch.autograd.grad(model.purifier.guesses(leaf), leaf, slope / len(images))
    found = gradient(through, images, labels)
    assert found.abs().max() > 0
    torch.testing.assert_close(found, expected)


def test_the_adaptive_attacker_tries_the_guess_where_there_is_one():
    model, _, _ = guessing()
    attack = create_attack("pgd", eps="8/255", steps=2)
    names = [
        (route.name, route.loss)
        for route in adaptive_routes(model, attack, surrogates=["atan(alpha=2)"], losses=["ce", "margin"])
    ]
    assert names[-2:] == [("guess", "ce"), ("guess", "margin")]
    paper = Defended(Purifier(width=1 / 8), model.classifier)
    routes = adaptive_routes(paper, attack, surrogates=["atan(alpha=2)"], losses=["ce"])
    assert "guess" not in [route.name for route in routes]


def test_images_that_the_guess_finds_break_the_whole():
    model, images, labels = guessing()
    labels = model(images).argmax(1)
    attack = create_attack("pgd", eps="32/255", steps=5)
    *_, route = adaptive_routes(model, attack, surrogates=["atan(alpha=2)"], losses=["ce"])
    result = route.run(attack, images, labels)
    assert torch.equal(result.success, model(result.images).argmax(1) != labels)


class Margin(nn.Module):
    """Logits and one column more, with a gradient of its own."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return torch.cat((self.inner(images), images.square().sum((1, 2, 3))[:, None]), 1)


def test_a_column_beyond_the_classes_keeps_its_own_gradient():
    model, images, _ = guessing()
    leaf = images.clone().requires_grad_()
    way = Margin(model)
    output = GuessBackward(way, Guessing(model.purifier), own=True)(leaf)
    assert torch.equal(output, way(images))
    (beyond,) = torch.autograd.grad(output[:, -1].sum(), leaf, retain_graph=True)
    torch.testing.assert_close(beyond, 2 * images)
    (found,) = torch.autograd.grad(output[:, 0].sum(), leaf)
    (expected,) = torch.autograd.grad(model.purifier.guesses(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(found, expected)


def test_the_guess_is_found_inside_what_wraps_a_model():
    model, images, _ = guessing()
    model.purifier.noise = 0.1
    known = guess_of(KnownDraws(model, seed=3))
    assert isinstance(known, KnownDraws) and known.seed == 3
    # the draws are those that the wrapped model makes, whatever was drawn before
    assert torch.equal(known(images), known(images))
    assert isinstance(guess_of(model), Guessing)
    assert guess_of(model.classifier) is None
