"""The loop in L2: the ball, the step and the start."""

import copy

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from purespike.attacks import SignAttack, create_attack
from purespike.ball import L2
from purespike.errors import InputError
from tests.attacks.conftest import CLASSES, learn, photographs

NAMES = ["fgsm", "ifgsm", "mifgsm", "pgd", "spsa"]


@pytest.fixture(scope="module")
def smooth():
    """A network without kinks, images and labels."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8 * 16, CLASSES)
    )
    return learn(model, 3, steps=40, rate=0.01), *photographs(16, 3, seed=8)


def judged(attack, model, images, labels, eps):
    victim = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    return attack.run(victim, images, foolbox.criteria.Misclassification(labels), epsilon=eps)


def lengths(offset):
    return offset.double().flatten(1).norm(dim=1)


@pytest.mark.parametrize("eps", [0.05, 0.6, 4.0])
def test_fgsm_is_foolbox_s(eps, smooth):
    theirs = judged(foolbox.attacks.L2FastGradientAttack(), *smooth, eps)
    ours = create_attack("fgsm", eps=eps, norm="l2", keep="last")(*smooth)
    torch.testing.assert_close(ours.images, theirs, atol=2e-6, rtol=0)
    assert (lengths(ours.images - smooth[1]) > 0.7 * eps).all()


@pytest.mark.parametrize(("eps", "step_size", "steps"), [(0.3, 0.1, 8), (0.8, 0.5, 10), (5.0, 0.9, 6)])
@pytest.mark.parametrize("name", ["ifgsm", "pgd"])
def test_pgd_is_foolbox_s(name, eps, step_size, steps, smooth):
    attack = foolbox.attacks.L2ProjectedGradientDescentAttack
    theirs = judged(attack(abs_stepsize=step_size, steps=steps, random_start=False), *smooth, eps)
    start = {"random_start": False} if name == "pgd" else {}
    settings = {"eps": eps, "norm": "l2", "step_size": step_size, "steps": steps, "keep": "last"}
    ours = create_attack(name, **settings, **start)(*smooth)
    torch.testing.assert_close(ours.images, theirs, atol=1e-5, rtol=0)
    assert ours.success.any() == (eps > 0.5)


def test_mifgsm_is_its_formula(smooth):
    model, images, labels = smooth
    eps, step_size, steps, momentum = 0.8, 0.3, 6, 0.7
    slow = copy.deepcopy(model).double()
    x = images.double()
    velocity = torch.zeros_like(x)
    for _ in range(steps):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(slow(x), labels, reduction="sum"), x)
        x = x.detach()
        for i in range(len(x)):
            velocity[i] = momentum * velocity[i] + gradient[i] / gradient[i].abs().sum()
            offset = x[i] + step_size * velocity[i] / velocity[i].norm() - images[i].double()
            x[i] = images[i] + offset * min(1.0, eps / offset.norm().item())
        x = x.clamp(0, 1)
    settings = {"eps": eps, "norm": "l2", "step_size": step_size, "steps": steps, "keep": "last"}
    ours = create_attack("mifgsm", momentum=momentum, **settings)(*smooth).images
    torch.testing.assert_close(ours.double(), x, atol=1e-5, rtol=0)
    plain = create_attack("ifgsm", **settings)(*smooth).images
    assert (ours - plain).abs().max() > 1e-3


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(["fgsm", "mifgsm", "pgd", "spsa"]),
    eps=st.floats(1e-6, 20),
    step_size=st.floats(1e-4, 50),
    seed=st.integers(0, 2**31),
    side=st.integers(1, 9),
    start=st.booleans(),
    extreme=st.booleans(),
)
def test_stays_in_the_ball(name, eps, step_size, seed, side, start, extreme):
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand((3, 2, side, side), generator=draws)
    if extreme:
        images = images.round()
    weights = torch.randn((2 * side * side, 3), generator=draws)
    model = nn.Sequential(nn.Flatten(), nn.Linear(len(weights), 3))
    with torch.no_grad():
        model[1].weight.copy_(weights.T)
    more = {} if name == "fgsm" else {"steps": 3, "step_size": step_size}
    more |= {"samples": 2} if name == "spsa" else {}
    attack = create_attack(name, eps=eps, norm="l2", random_start=start, keep="last", seed=seed, **more)
    labels = torch.randint(3, (3,), generator=draws)
    for found in (attack(model, images, labels).images, attack.perturb(model, images, labels)):
        assert found.min() >= 0 and found.max() <= 1
        assert (lengths(found.double() - images.double()) <= eps * (1 + 1e-5)).all()


def test_random_start_is_uniform_in_the_ball():
    count, eps = 4000, 0.4
    images = (0.5 + 1e-6 * torch.arange(count)).view(count, 1, 1, 1).repeat(1, 1, 2, 2)
    offset = (L2(eps).sample(images, seed=3) - images).double().flatten(1)
    radii = offset.norm(dim=1)
    assert radii.max() <= eps * (1 + 1e-6)
    # the share of the volume inside a uniform point's radius is uniform: Kolmogorov-Smirnov at the 0.1% level
    shares = ((radii / eps) ** 4).sort().values
    steps = torch.arange(1, count + 1) / count
    assert (shares - steps).abs().max() < 1.95 / count**0.5
    # and no direction is preferred: second moments of a sphere in four dimensions
    moments = (offset / radii[:, None]).T @ (offset / radii[:, None]) / count
    torch.testing.assert_close(moments, torch.eye(4).double() / 4, atol=0.02, rtol=0)
    again, other = (L2(eps).sample(images, seed=seed) for seed in (3, 4))
    assert torch.equal((again - images).double().flatten(1), offset) and not torch.equal(again, other)


def test_a_start_does_not_depend_on_its_company():
    images = torch.rand(5, 3, 8, 8)
    whole = L2(0.5).sample(images, seed=1)
    assert torch.equal(L2(0.5).sample(images[:1], seed=1), whole[:1])
    assert L2(0.5).sample(images[:0], seed=1).shape == (0, 3, 8, 8)


class Scaled(nn.Module):
    """The mean of the pixels against a half, times a factor; in the first image times nothing."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, images):
        height = (images.mean((1, 2, 3)) - 0.5) * self.factor
        height = height * (torch.arange(len(images)) > 0)
        return torch.stack((torch.ones_like(height), height), 1)


@pytest.mark.parametrize("name", ["fgsm", "ifgsm", "mifgsm"])
@pytest.mark.parametrize("factor", [1e-36, 1e-30, 1.0, 1e30])
def test_only_a_vanished_gradient_stands_still(name, factor):
    images, labels = torch.full((3, 1, 4, 4), 0.5), torch.zeros(3, dtype=torch.long)
    attack = create_attack(name, eps=0.4, norm="l2", loss="margin", keep="last")
    moved = attack(Scaled(factor), images, labels).images
    assert torch.equal(moved[0], images[0])
    # the steepest way is along the diagonal
    torch.testing.assert_close(moved[1:], images[1:] + 0.1)


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images):
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        gradient[:, :, 0, 0], gradient[:, :, 0, 1] = torch.nan, torch.inf
        return gradient


@pytest.mark.parametrize("settings", [{"norm": "l2"}, {"norm": "l2", "momentum": 1.0}, {"rule": "adaptive"}])
def test_a_gradient_that_is_not_finite_does_not_spoil_the_image(settings):
    images, labels = torch.full((3, 1, 4, 4), 0.5), torch.zeros(3, dtype=torch.long)
    model = Scaled(1.0)
    model.register_forward_pre_hook(lambda _, inputs: (Broken.apply(inputs[0]),))
    result = SignAttack(eps=0.4, steps=3, loss="margin", **settings)(model, images, labels)
    assert result.images.isfinite().all()


def test_the_default_step_size():
    # two and a half crossings in all; one whole step where there is but one
    assert create_attack("pgd", norm="l2", eps=2.0, steps=10).step_size == 0.5
    assert create_attack("pgd", norm="l2", eps=2.0, steps=10, step_size="3/2").step_size == 1.5
    assert create_attack("spsa", norm="l2", eps=2.0, steps=10).step_size == 0.5
    assert create_attack("fgsm", norm="l2", eps="1/2").step_size == 0.5
    assert SignAttack(norm="l2", eps=2.0, steps=10).step_size == 0.5
    assert SignAttack(eps=0.5, steps=10).step_size == 0.05
    assert SignAttack(eps=0.5, steps=10, schedule="halving").step_size == 0.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("eps", [0, -1.0, float("nan"), float("inf"), "1/0", "abc", None])
def test_bad_radius(name, eps):
    with pytest.raises(InputError, match="eps: "):
        create_attack(name, norm="l2", eps=eps)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "l1"}, "unknown norm 'l1': .*l2, linf"),
        ({"norm": "l2", "step_size": 0}, "step_size: in L2 it must be a positive number"),
        ({"norm": "l2", "step_size": "x"}, "step_size: in L2"),
        ({"norm": "linf", "step_size": 1.5}, r"step_size: must lie in \[0, 1\]"),
        ({"norm": "l2", "rule": "adaptive"}, "rule: 'adaptive' knows no L2; use 'steepest'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        SignAttack(**settings)


def test_half_precision_keeps_the_lengths(smooth):
    model, images, labels = smooth
    fine = create_attack("pgd", norm="l2", eps=0.8, random_start=False, keep="last")(*smooth).images
    half = copy.deepcopy(model).bfloat16(), images.bfloat16(), labels
    rough = create_attack("pgd", norm="l2", eps=0.8, random_start=False, keep="last")(*half).images
    assert rough.dtype == torch.bfloat16
    along = nn.functional.cosine_similarity(
        (rough.float() - images).flatten(1), (fine - images).flatten(1), dim=1
    )
    assert (along > 0.9).all()
