import foolbox
import pytest
import torch
from torch import nn

from purespike.attacks import CarliniWagner
from purespike.attacks.objective import margin


def distances(images, adversarial):
    return (adversarial - images).flatten(1).norm(dim=1)


def test_agrees_with_foolbox_s(plain):
    model, images, labels = plain
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=5, steps=50, stepsize=0.01, confidence=0, initial_const=1.0, abort_early=False
    )
    victim = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    _, expected, fooled = theirs(victim, images, labels, epsilons=None)
    ours = CarliniWagner(steps=50, search_steps=5, learning_rate=0.01, initial_c=1.0)(model, images, labels)
    assert fooled.sum() >= 12
    assert (ours.success | ~fooled).all()
    both = ours.success & fooled
    found, known = distances(images, ours.images)[both], distances(images, expected)[both]
    assert (found <= 1.1 * known + 1e-4).all()
    # nor better: it is the same attack
    assert found.mean().item() == pytest.approx(known.mean().item(), rel=0.02)
    assert torch.equal(ours.success, fooled)


class Halfspace(nn.Module):
    """Class 1 where the sum of the pixels exceeds a bound; the nearest such image is known."""

    def __init__(self, bound):
        super().__init__()
        self.bound = bound

    def forward(self, images):
        height = images.sum((1, 2, 3)) - self.bound
        return torch.stack((torch.zeros_like(height), height), 1)


def test_comes_near_the_smallest_perturbation_there_is():
    images = torch.full((3, 1, 4, 4), 0.4) + torch.tensor([0.0, 0.03, 0.05]).view(3, 1, 1, 1)
    model, labels = Halfspace(8.0), torch.zeros(3, dtype=torch.long)
    result = CarliniWagner(steps=100, search_steps=8)(model, images, labels)
    assert result.success.all()
    nearest = (8.0 - images.sum((1, 2, 3))) / 16**0.5
    found = distances(images, result.images)
    assert (found >= nearest - 1e-5).all() and (found <= 1.15 * nearest).all()


def test_what_is_wrong_already_is_returned_unchanged():
    images = torch.rand(4, 1, 4, 4)
    model, labels = Halfspace(0.0), torch.zeros(4, dtype=torch.long)
    result = CarliniWagner(steps=5, search_steps=2)(model, images, labels)
    assert result.success.all() and torch.equal(result.images, images)
    assert not result.best_step.any()


def test_what_cannot_be_fooled_is_returned_unchanged():
    images = torch.rand(4, 1, 4, 4)
    result = CarliniWagner(steps=5, search_steps=2)(Halfspace(99.0), images, torch.zeros(4, dtype=torch.long))
    assert not result.success.any() and torch.equal(result.images, images)


def test_confidence_is_kept_and_costs_distance(plain):
    model, images, labels = plain
    settings = {"steps": 40, "search_steps": 3, "learning_rate": 0.02}
    bare = CarliniWagner(**settings)(model, images, labels)
    sure = CarliniWagner(**settings, confidence=1.0)(model, images, labels)
    right = model(images).argmax(1) == labels
    both = bare.success & sure.success & right
    assert both.sum() >= 10
    assert (margin(model(sure.images), labels)[both] > 1 - 1e-4).all()
    assert (distances(images, sure.images)[both] > distances(images, bare.images)[both]).all()


def test_more_search_never_costs_distance(plain):
    model, images, labels = plain
    few, many = (
        CarliniWagner(steps=20, search_steps=count, learning_rate=0.02)(model, images, labels)
        for count in (1, 4)
    )
    assert (many.success | ~few.success).all()
    assert (distances(images, many.images)[few.success] <= distances(images, few.images)[few.success]).all()


def test_black_and_white_images_can_be_attacked():
    # tanh reaches neither 0 nor 1
    images = torch.tensor([0.0, 1.0]).repeat(8).view(1, 1, 4, 4)
    result = CarliniWagner(steps=100, search_steps=4, learning_rate=0.1, initial_c=10.0)(
        Halfspace(8.5), images, torch.zeros(1, dtype=torch.long)
    )
    assert result.success.all()
    assert result.images.min() >= 0 and result.images.max() <= 1


def test_searches_the_constant_by_bisection():
    # a uniform shift t costs 16 t² + c (gap - 16 t): the optimum t = c / 2 crosses the plane iff c > gap / 8
    gap, steps = 2.4, 150
    images = torch.full((1, 1, 4, 4), (8.0 - gap) / 16)
    attack = CarliniWagner(steps=steps, search_steps=4, initial_c=1.0)
    trace = attack(Halfspace(8.0), images, torch.zeros(1, dtype=torch.long)).loss_trace[:, 0]
    crossed = [bool((trace[k * steps + 1 : (k + 1) * steps] > 0).any()) for k in range(4)]
    expected, low, high, c = [], 0.0, float("inf"), 1.0
    for _ in range(4):
        expected.append(c > gap / 8)
        low, high = (low, c) if expected[-1] else (c, high)
        c = (low + high) / 2
    assert crossed == expected == [True, True, False, True]


def test_raises_the_constant_until_something_crosses():
    # as above: c must exceed 0.2, so 0.0005 grows tenfold three times, and 0.5 crosses
    images, steps = torch.full((1, 1, 4, 4), 0.4), 60
    attack = CarliniWagner(steps=steps, search_steps=4, initial_c=0.0005)
    trace = attack(Halfspace(8.0), images, torch.zeros(1, dtype=torch.long)).loss_trace[:, 0]
    crossed = [bool((trace[k * steps + 1 : (k + 1) * steps] > 0).any()) for k in range(4)]
    assert crossed == [False, False, False, True]
