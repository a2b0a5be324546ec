"""Every attack passes every test here; a new one is one line in ``ROWS``."""

import copy

import pytest
import torch
from torch import nn

from purespike import attacks
from purespike.attacks import AutoAttack, bounded, create_attack, list_attacks
from purespike.errors import InputError

EPS = 24 / 255
STEPS = {"eps": "24/255", "steps": 4, "step_size": "10/255"}
AUTO = {"eps": "24/255", "steps": 4}
L2 = {"eps": 1.5, "norm": "l2"}
CW = {"steps": 6, "search_steps": 2, "learning_rate": 0.1, "initial_c": 3.0}

ROWS = {
    "fgsm": ("fgsm", {"eps": EPS}),
    "fgsm last margin": ("fgsm", {"eps": EPS, "keep": "last", "loss": "margin"}),
    "ifgsm": ("ifgsm", STEPS),
    "ifgsm stop": ("ifgsm", {**STEPS, "stop_early": True}),
    "mifgsm": ("mifgsm", STEPS),
    "mifgsm stop": ("mifgsm", {**STEPS, "stop_early": True, "momentum": 0.5}),
    "pgd": ("pgd", STEPS),
    "pgd last": ("pgd", {**STEPS, "keep": "last"}),
    "pgd margin stop": ("pgd", {**STEPS, "loss": "margin", "stop_early": True}),
    "pgd restarts": ("pgd", {**STEPS, "restarts": 3}),
    "pgd restarts stop": ("pgd", {**STEPS, "restarts": 2, "stop_early": True}),
    "pgd bf16": ("pgd", {**STEPS, "precision": "bf16"}),
    "mifgsm bf16 stop": ("mifgsm", {**STEPS, "precision": "bf16", "stop_early": True}),
    "fgsm l2": ("fgsm", L2),
    "mifgsm l2 stop": ("mifgsm", {**L2, "steps": 4, "stop_early": True}),
    "pgd l2 restarts": ("pgd", {**L2, "steps": 4, "restarts": 2}),
    "pgd l2 bf16": ("pgd", {**L2, "steps": 4, "precision": "bf16"}),
    "pgd eot": ("pgd", {**STEPS, "eot": 3}),
    "pgd eot bf16 restarts stop": (
        "pgd",
        {**STEPS, "eot": 2, "precision": "bf16", "restarts": 2, "stop_early": True},
    ),
    "sa_pgd": ("sa_pgd", {"eps": EPS, "steps": 5}),
    "sa_pgd stop bf16": ("sa_pgd", {"eps": EPS, "steps": 5, "stop_early": True, "precision": "bf16"}),
    "spsa": ("spsa", {"eps": "100/255", "steps": 2, "step_size": "60/255", "samples": 16}),
    "spsa l2 eot": (
        "spsa",
        {"eps": 8, "norm": "l2", "steps": 2, "samples": 4, "eot": 2, "stop_early": False},
    ),
    "pgd targeted": ("pgd", {**STEPS, "targeted": True, "target": "least_likely"}),
    "pgd targeted stop restarts bf16": (
        "pgd",
        {**STEPS, "targeted": True, "restarts": 2, "stop_early": True, "precision": "bf16"},
    ),
    "spsa targeted": (
        "spsa",
        {
            "eps": "100/255",
            "steps": 2,
            "step_size": "60/255",
            "samples": 16,
            "targeted": True,
            "target": "random",
        },
    ),
    "cw": ("cw", CW),
    "cw targeted": ("cw", {**CW, "targeted": True}),
    "cw bf16": ("cw", {**CW, "precision": "bf16"}),
    "cw confident": ("cw", {**CW, "confidence": 0.5}),
    "gaussian_noise": ("gaussian_noise", {"level": "60/255"}),
    "apgd_ce": ("apgd_ce", AUTO),
    "apgd_ce l2 restarts": ("apgd_ce", {"eps": 1.2, "norm": "l2", "steps": 4, "restarts": 2}),
    "apgd_dlr eot": ("apgd_dlr", {**AUTO, "eot": 2}),
    "fab": ("fab", AUTO),
    "square": ("square", {"eps": "80/255", "queries": 40}),
    "autoattack": ("autoattack", {"eps": "24/255", "steps": 2, "queries": 5}),
    "autoattack_rand": ("autoattack_rand", {**AUTO, "eot": 2}),
}
RANDOM = {
    "pgd",
    "sa_pgd",
    "spsa",
    "gaussian_noise",
    "apgd_ce",
    "apgd_dlr",
    "square",
    "autoattack",
    "autoattack_rand",
}


@pytest.fixture(params=ROWS)
def row(request):
    name, settings = ROWS[request.param]
    return name, settings, create_attack(name, **settings, seed=3)


def test_every_attack_has_a_row():
    assert {name for name, _ in ROWS.values()} == set(list_attacks())


def excess(attack, result, images):
    """By how much the farthest image leaves the ball, in float64; negative inside."""
    offset = (result.images.double() - images.double()).flatten(1)
    l2 = getattr(attack, "norm", "linf") == "l2"
    return (offset.norm(dim=1) if l2 else offset.abs().amax(1)).max() - attack.eps


@torch.no_grad()
def assert_judged(result, model, labels):
    """What is reported of each image is what the model says of it."""
    found = model(result.images).argmax(1)
    assert torch.equal(result.broken, found != labels)
    if result.targets is not None:
        assert torch.equal(result.success, found == result.targets) and (result.targets != labels).all()


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


class Autocast(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(images)
        assert logits.dtype == torch.bfloat16
        return logits


def test_under_autocast(row, plain):
    name, _, attack = row
    model, images, labels = plain
    model = Autocast(model).eval()
    result = attack(model, images, labels)
    assert result.images.dtype == torch.float32 and result.loss_trace.dtype == torch.float32
    assert_judged(result, model, labels)
    if bounded(name):
        assert excess(attack, result, images) <= 1e-6


def test_in_bfloat16(row, victim):
    name, _, attack = row
    model, images, labels = copy.deepcopy(victim[0]).bfloat16(), victim[1].bfloat16(), victim[2]
    result = attack(model, images, labels)
    assert result.images.dtype == torch.bfloat16
    assert result.images.min() >= 0 and result.images.max() <= 1
    assert_judged(result, model, labels)
    assert result.loss_trace.dtype == torch.float32 and not result.loss_trace[0].isnan().any()
    if bounded(name):
        # no matter how coarse the images are
        assert excess(attack, result, images) <= 0


def test_in_float64(row, plain):
    _, _, attack = row
    model, images, labels = copy.deepcopy(plain[0]).double(), plain[1].double(), plain[2]
    result = attack(model, images, labels)
    assert result.images.dtype == torch.float64
    assert_judged(result, model, labels)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_images_of_another_type_than_the_model(row, plain, kind):
    """Images are cast on their way into the model, and stay what they are."""
    _, _, attack = row
    model, images, labels = copy.deepcopy(plain[0]), plain[1].to(kind), plain[2]
    model = model.double() if kind == torch.float32 else model
    result = attack(model, images, labels)
    assert result.images.dtype == kind
    assert_judged(result, nn.Sequential(Cast(model), model), labels)


class Cast(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.kind = next(model.parameters()).dtype

    def forward(self, images):
        return images.to(self.kind)


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad])
def test_does_not_mind_the_grad_mode(row, plain, context):
    _, _, attack = row
    model, images, labels = plain
    expected = attack(model, images, labels)
    with context():
        assert torch.equal(attack(model, images.clone().requires_grad_(), labels).images, expected.images)


def test_in_inference_mode(row, plain):
    """Also with images and labels that were made in it, of which autograd wants to know nothing."""
    _, _, attack = row
    model, images, labels = plain
    expected = attack(model, images, labels)
    with torch.inference_mode():
        found = attack(model, images.clone(), labels.clone())
    assert torch.equal(found.images, expected.images) and torch.equal(found.success, expected.success)


class InPlace(nn.Module):
    """Normalises its input in place."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images.sub_(0.5).mul_(2))


class Normalises(InPlace):
    """The same, on a copy."""

    def forward(self, images):
        return self.model((images - 0.5) * 2)


def test_a_model_may_write_into_its_input(row, plain):
    _, _, attack = row
    model, images, labels = plain
    untouched = images.clone()
    found, expected = (attack(kind(model), images, labels) for kind in (InPlace, Normalises))
    assert torch.equal(images, untouched) and found.images.aminmax()[1] <= 1
    assert torch.equal(found.success, expected.success)


@pytest.mark.parametrize("channels_last", [False, True])
def test_layout_of_the_images_does_not_matter(row, plain, channels_last):
    _, _, attack = row
    model, images, labels = plain
    wide = torch.stack((images, images), -1)[..., 0]
    laid_out = images.contiguous(memory_format=torch.channels_last) if channels_last else wide
    result = attack(model, laid_out, labels)
    # another convolution algorithm may round a small gradient to the other sign, in bf16 many of them
    far = (result.images - attack(model, images, labels).images).abs() > 1e-3
    assert far.float().mean() < (0.25 if getattr(attack, "precision", "") == "bf16" else 0.05)


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
