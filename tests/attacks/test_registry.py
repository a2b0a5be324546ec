"""Every attack passes every test here; a new one is one line in ``rows.ROWS``."""

import copy

import pytest
import torch
from torch import nn

from purespike import attacks
from purespike.attacks import AutoAttack, bounded, create_attack, list_attacks
from purespike.errors import InputError

from .rows import RANDOM, ROWS, assert_judged, excess


def test_every_attack_has_a_row():
    assert {name for name, _ in ROWS.values()} == set(list_attacks())


def test_result(row, victim):
    name, _, attack = row
    model, images, labels = victim
    untouched = images.clone(), labels.clone()
    result = attack(model, images, labels)
    assert result.images.shape == images.shape and result.images.dtype == images.dtype
    assert not result.images.requires_grad
    assert result.images.min() >= 0 and result.images.max() <= 1
    assert_judged(result, model, labels)
    assert result.success.any() or name == "gaussian_noise"
    if bounded(name):
        assert excess(attack, result, images) <= 1e-6
    assert torch.equal(images, untouched[0]) and torch.equal(labels, untouched[1])
    # what is reported suffices to repeat it
    assert type(attack)(**result.config, seed=result.seed) == attack


def test_trace(row, plain):
    name, _, attack = row
    model, images, labels = plain
    result = attack(model, images, labels)
    steps = getattr(attack, "steps", 0) * getattr(attack, "search_steps", 1)
    if isinstance(attack, AutoAttack):
        # the library reports no steps
        steps = 0
    assert result.loss_trace.shape == (steps + 1, len(images))
    assert result.best_step.dtype == torch.int64
    assert result.best_step.min() >= 0 and result.best_step.max() <= steps
    present = ~result.loss_trace.isnan()
    assert present[0].all()
    # a sample that has left does not come back
    assert (present[1:] <= present[:-1]).all()
    if attack.name == "cw":
        # what is wrong already is not attacked
        assert torch.equal(present[-1], model(images).argmax(1) == labels)
    elif not getattr(attack, "stop_early", False) and name != "cw":
        assert present.all()


def test_is_deterministic_under_a_seed(row, plain):
    name, settings, attack = row
    model, images, labels = plain
    first, second = attack(model, images, labels), attack(model, images, labels)
    assert torch.equal(first.images, second.images) and torch.equal(first.success, second.success)
    torch.testing.assert_close(first.loss_trace, second.loss_trace, rtol=0, atol=0, equal_nan=True)
    other = create_attack(name, **settings, seed=4)(model, images, labels)
    assert torch.equal(first.images, other.images) == (name not in RANDOM)


def test_leaves_the_global_generator_alone(row, plain):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    row[2](*plain)
    assert torch.equal(torch.rand(3), expected)


def test_leaves_the_model_as_it_was(row, plain):
    _, _, attack = row
    model, images, labels = copy.deepcopy(plain[0]), *plain[1:]
    model.train()
    next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).eval()
    next(model.parameters()).requires_grad_(False)
    modes = [module.training for module in model.modules()]
    needed = [parameter.requires_grad for parameter in model.parameters()]
    state = copy.deepcopy(model.state_dict())
    attack(model, images, labels)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == needed
    assert all(parameter.grad is None for parameter in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


class Breaks(nn.Module):
    """Gives up, as a user with Ctrl-C does, after some forwards."""

    def __init__(self, model, after):
        super().__init__()
        self.model = model
        self.left = after

    def forward(self, images):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.model(images)


def test_leaves_the_model_as_it_was_after_an_exception(row, plain):
    name, _, attack = row
    model = copy.deepcopy(plain[0])
    broken = Breaks(model, after=0 if name == "gaussian_noise" else 1).train()
    model[0].eval()
    with pytest.raises(KeyboardInterrupt):
        attack(broken, *plain[1:])
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert broken.training and model[1].training and not model[0].training


@pytest.mark.parametrize("size", [1, 4])
def test_an_image_is_attacked_alike_in_any_batch(row, plain, size):
    """Its draws are its own: neither the batch nor the place in it matters, nor which images leave early."""
    _, _, attack = row
    model, images, labels = copy.deepcopy(plain[0]).double(), plain[1][:6].double(), plain[2][:6]
    together = attack(model, images, labels)
    order = torch.arange(len(images)).flip(0)
    parts = [attack(model, images[rows], labels[rows]) for rows in order.split(size)]
    assert torch.equal(torch.cat([part.success for part in parts]), together.success[order])
    # in half precision a tiny gradient rounds to either sign in another batch
    far = (torch.cat([part.images for part in parts]) - together.images[order]).abs() > 1e-5
    assert far.double().mean() < (0.25 if getattr(attack, "precision", "") == "bf16" else 0.001)
    # only trying whether the model is stochastic is done once per batch
    if getattr(attack, "eot", 1) == 1 and not isinstance(attack, AutoAttack):
        asked = [sum(part.forwards for part in parts), sum(part.backwards for part in parts)]
        target = getattr(attack, "target", None)
        assert asked == [together.forwards, together.backwards] or target in ("random", "next")


def test_an_empty_batch(row, plain):
    _, _, attack = row
    result = attack(plain[0], plain[1][:0], plain[2][:0])
    assert result.images.shape == plain[1][:0].shape
    assert len(result.success) == result.forwards == result.backwards == 0


class Counts(nn.Module):
    """Counts images on their way forth and back."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.forwards = self.backwards = 0

    def forward(self, images):
        self.forwards += len(images)
        logits = self.model(images)
        if logits.requires_grad:
            logits.register_hook(self.back)
        return logits

    def back(self, gradient):
        self.backwards += len(gradient)


def test_counts_its_cost(row, plain):
    _, _, attack = row
    counting = Counts(plain[0]).eval()
    result = attack(counting, *plain[1:])
    assert (result.forwards, result.backwards) == (counting.forwards, counting.backwards)
    assert result.forwards >= len(plain[1])


@pytest.mark.parametrize("name", list_attacks())
def test_functions_are_their_presets(name, plain):
    function = getattr(attacks, name)
    settings = next(settings for other, settings in ROWS.values() if other == name)
    result = function(*plain, **settings)
    assert torch.equal(result.images, create_attack(name, **settings)(*plain).images)
    assert result.config["name"] == function.__name__ == name


def with_pixel(images, value):
    images = images.clone()
    images[0, 0, 0, 0] = value
    return images


BAD = {
    "above 1": (lambda x, y: (with_pixel(x, 1.01), y), r"outside \[0, 1\]"),
    "below 0": (lambda x, y: (with_pixel(x, -0.01), y), r"outside \[0, 1\]"),
    "NaN": (lambda x, y: (with_pixel(x, float("nan")), y), "NaN"),
    "integers": (lambda x, y: ((x * 255).byte(), y), "expected floats"),
    "one image": (lambda x, y: (x[0], y), r"\[N, C, H, W\]"),
    "too few labels": (lambda x, y: (x, y[:-1]), "labels: expected shape"),
    "a column of labels": (lambda x, y: (x, y[:, None]), "labels: expected shape"),
    "float labels": (lambda x, y: (x, y.float()), "labels: .*integer"),
    "negative labels": (lambda x, y: (x, y - 9), "labels: .*at least 0"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD)
def test_bad_input(row, plain, spoil, message):
    model, images, labels = plain
    with pytest.raises(InputError, match=message):
        row[2](model, *spoil(images, labels))
