"""A gradient from outputs alone, and the attack that follows it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from purespike.attacks import SignAttack, create_attack, spsa_gradient
from purespike.errors import InputError

SPSA = {"eps": "32/255", "steps": 12, "step_size": "6/255"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@given(
    pixel=st.floats(0, 1, width=32), slope=st.floats(-9, 9), delta=st.floats(0.01, 1), seed=st.integers(0, 99)
)
def test_one_pixel_of_a_line_is_exact_even_at_the_border(pixel, slope, delta, seed):
    images = torch.full((1, 1, 1, 1), pixel, dtype=torch.float64)
    found = spsa_gradient(
        lambda x: slope * x.flatten(), images, samples=1, delta=delta, generator=seeded(seed)
    )
    assert found.item() == pytest.approx(slope, abs=1e-9)


def test_one_pixel_of_a_parabola_is_exact_inside():
    # a difference of both sides has no error of second order
    images = torch.linspace(0.2, 0.8, 7, dtype=torch.float64).view(7, 1, 1, 1)
    found = spsa_gradient(
        lambda x: 3 * x.flatten().square(), images, samples=1, delta=0.2, generator=seeded()
    )
    torch.testing.assert_close(found, 6 * images)


@pytest.mark.parametrize("quadratic", [False, True])
def test_the_mean_is_the_analytic_gradient(quadratic):
    draws = seeded(1)
    weights = torch.randn((2, 3, 3), generator=draws)
    matrix = torch.randn((18, 18), generator=draws)
    matrix = (matrix + matrix.T) / 2
    images = 0.1 + 0.8 * torch.rand((4, 2, 3, 3), generator=draws)
    if not quadratic:
        # black, white, and almost white: probes are clipped
        images[0], images[1], images[2] = 0, 1, 0.995

    def loss(x):
        flat = x.flatten(1)
        bend = ((flat @ matrix) * flat).sum(1) if quadratic else 0
        return (x * weights).sum((1, 2, 3)) + bend

    exact = weights.expand_as(images) + (2 * (images.flatten(1) @ matrix).view_as(images) if quadratic else 0)
    samples = 4000
    found = spsa_gradient(loss, images, samples=samples, delta=0.05, generator=seeded())
    # the error of a pixel has the variance of all others together, over the samples; clipping doubles weights
    spread = (2 * exact.flatten(1).norm(dim=1) / samples**0.5).view(-1, 1, 1, 1)
    assert ((found - exact).abs() < 4 * spread).all()
    # and more samples are what brings it there
    few = spsa_gradient(loss, images, samples=40, delta=0.05, generator=seeded())
    assert (few - exact).norm() > 3 * (found - exact).norm()


def test_asks_for_few_images_at_a_time_and_for_no_gradient():
    seen = []

    def loss(x):
        seen.append((len(x), torch.is_grad_enabled(), x.min().item() >= 0 and x.max().item() <= 1))
        return x.sum((1, 2, 3))

    images = torch.rand(3, 1, 4, 4).round().requires_grad_()
    found = spsa_gradient(loss, images, samples=5, delta=0.1, generator=seeded())
    assert seen == [(3, False, True)] * 10 and not found.requires_grad


def test_an_estimate_depends_on_the_generator_and_not_on_company():
    images = torch.rand((5, 2, 4, 4), generator=seeded(7))

    def estimate(x, seed):
        return spsa_gradient(
            lambda probes: probes.square().sum((1, 2, 3)), x, samples=3, delta=0.05, generator=seeded(seed)
        )

    whole = estimate(images, 0)
    assert torch.equal(whole, estimate(images, 0)) and not torch.equal(whole, estimate(images, 1))
    torch.testing.assert_close(estimate(images[2:4], 0), whole[2:4])
    # and goes on where it was
    going = seeded(0)
    first, second = (
        spsa_gradient(lambda x: x.sum((1, 2, 3)), images, samples=3, delta=0.05, generator=going)
        for _ in range(2)
    )
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_of_any_type(dtype):
    images = torch.rand((2, 1, 2, 2), generator=seeded(3)).to(dtype)
    found = spsa_gradient(lambda x: x.sum((1, 2, 3)), images, samples=600, delta=0.02, generator=seeded())
    assert found.dtype == dtype
    # all weights are 1; half precision rounds the losses
    tolerance = 1.0 if dtype == torch.bfloat16 else 0.3
    torch.testing.assert_close(found.float(), torch.ones(2, 1, 2, 2), atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples: "),
        ({"delta": 0}, "delta: a probe of size 0"),
        ({"delta": 1.5}, r"delta: must lie in \[0, 1\]"),
        ({"delta": float("nan")}, "delta: "),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        create_attack("spsa", **settings)
    with pytest.raises(InputError, match=message):
        call = {"samples": 2, "delta": 0.1, **settings}
        spsa_gradient(lambda x: x.sum((1, 2, 3)), torch.rand(1, 1, 2, 2), generator=seeded(), **call)


def test_settings_of_spsa_mean_nothing_elsewhere():
    with pytest.raises(InputError, match="unknown setting of attack pgd 'samples'"):
        create_attack("pgd", samples=3)
    with pytest.raises(InputError, match="delta: a setting of SPSA"):
        SignAttack(delta=0.1)
    with pytest.raises(InputError, match=r"images: .*outside \[0, 1\]"):
        spsa_gradient(
            lambda x: x.sum((1, 2, 3)), torch.ones(1, 1, 2, 2) * 2, samples=1, delta=0.1, generator=seeded()
        )


class Sealed(nn.Module):
    """A model that no gradient leaves, and that refuses to be asked for one."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        assert not torch.is_grad_enabled()
        return torch.from_numpy(self.model(images).numpy().copy())


def test_breaks_what_autograd_cannot(plain):
    model, images, labels = plain

    class Detached(nn.Module):
        def forward(self, x):
            return model(x.detach())

    blind = create_attack("pgd", **SPSA, random_start=False)(Detached(), images, labels)
    assert torch.equal(blind.images, images)
    found = create_attack("spsa", **SPSA)(Sealed(model), images, labels)
    guided = create_attack("pgd", **SPSA, loss="margin", random_start=False)(model, images, labels)
    assert guided.success.sum() >= 8
    assert found.success.sum() >= 0.8 * guided.success.sum() > blind.success.sum()
    assert found.backwards == 0
    with torch.no_grad():
        assert torch.equal(model(found.images).argmax(1) != labels, found.success)
    again = create_attack("spsa", **SPSA)(Sealed(model), images, labels)
    assert torch.equal(found.images, again.images)
    assert not torch.equal(
        create_attack("spsa", **SPSA, seed=1)(Sealed(model), images, labels).images, found.images
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_follows_the_estimate(norm, plain):
    model, images, labels = plain
    eps, size = (0.2, 0.05) if norm == "linf" else (2.0, 0.4)
    attack = SignAttack(
        eps=eps, norm=norm, step_size=size, steps=1, source="spsa", samples=2000, loss="margin", keep="last"
    )
    guided = SignAttack(eps=eps, norm=norm, step_size=size, steps=1, loss="margin", keep="last")
    estimated, exact = (a(model, images, labels).images - images for a in (attack, guided))
    assert nn.functional.cosine_similarity(estimated.flatten(1), exact.flatten(1), dim=1).min() > 0.6


def test_counts_every_probe(plain):
    model, images, labels = plain
    attack = create_attack("spsa", eps=1e-4, step_size=1e-5, steps=3, samples=4, eot=2, stop_early=False)
    # four looks of two passes, three estimates of twice eight directions
    assert attack(*plain).forwards == len(images) * (4 * 2 + 3 * 2 * 8)
    passed = []
    hook = model.register_forward_hook(lambda _, inputs, __: passed.append(len(inputs[0])))
    try:
        alone = attack.perturb(model, images, labels)
    finally:
        hook.remove()
    assert passed == [len(images)] * 3 * 2 * 8
    assert torch.equal(alone, create_attack("spsa", **_settings(attack), keep="last")(*plain).images)


def _settings(attack):
    return {
        name: getattr(attack, name) for name in ("eps", "step_size", "steps", "samples", "eot", "stop_early")
    }


def test_too_few_classes_are_refused_by_perturb_too(plain):
    model, images, labels = plain
    with pytest.raises(InputError, match=r"labels: must be .* at most 3"):
        create_attack("spsa", **SPSA).perturb(model, images, labels + 4)
