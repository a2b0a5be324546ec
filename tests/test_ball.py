"""Balls against plain float64 arithmetic: what is inside, where projections end and what is drawn."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from purespike.attacks import AutoAttack, create_attack
from purespike.attacks.ensemble import into_ball
from purespike.attacks.registry import knows_norm
from purespike.ball import L2, Ball, Linf
from purespike.budget import PARSERS
from purespike.errors import InputError
from purespike.evaluation import evaluate
from purespike.results.vocabulary import NORMS

HALF = (torch.float16, torch.bfloat16)
DTYPES = (*HALF, torch.float32, torch.float64)


def distances(images, clean, norm):
    """As the definition has it, image by image in float64."""
    found = []
    for one, other in zip(images.double(), clean.double(), strict=True):
        offset = (one - other).flatten().tolist()
        found.append(max(map(abs, offset)) if norm == "linf" else math.sqrt(sum(x * x for x in offset)))
    return found


def slack(dtype, eps):
    """Half precision ends inside; of the others the bound itself is rounded."""
    return {torch.float32: 2e-7 * max(eps, 1), torch.float64: 1e-14 * max(eps, 1)}.get(dtype, 1e-15 * eps)


def drawn(dtype, seed, *, count=3, side=3):
    images = torch.rand((count, 2, side, side), generator=torch.Generator().manual_seed(seed))
    # some pixels of the border
    return torch.where(images > 0.9, images.round(), images).to(dtype)


cases = {
    "norm": st.sampled_from(["linf", "l2"]),
    "dtype": st.sampled_from(DTYPES),
    "eps": st.floats(1e-4, 1),
    "seed": st.integers(0, 2**31),
}


def assert_inside(images, clean, ball, *, computed_in=None):
    assert images.dtype == clean.dtype and images.min() >= 0 and images.max() <= 1
    found = distances(images, clean, ball.norm)
    assert max(found) <= ball.size + slack(computed_in or clean.dtype, ball.size)
    assert ball.contains(images, clean).all()
    assert ball.distance(images, clean).tolist() == pytest.approx(found, rel=1e-9, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(**cases)
def test_projections_and_draws_end_inside(norm, dtype, eps, seed):
    ball, clean = Ball.parse(eps, norm), drawn(dtype, seed)
    far = drawn(dtype, seed + 1)
    assert_inside(ball.project(far, clean), clean, ball)
    assert_inside(ball.sample(clean, seed=seed), clean, ball)
    assert_inside(into_ball(far.float(), clean, ball), clean, ball)
    # what is inside stays
    near = ball.project(far, clean)
    atol = 0 if dtype in HALF else 1e-6
    torch.testing.assert_close(ball.project(near, clean), near, rtol=0, atol=atol)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(["fgsm", "mifgsm", "pgd", "sa_pgd", "spsa"]), **cases)
def test_every_gradient_attack_ends_inside(name, norm, dtype, eps, seed):
    norm = "linf" if name == "sa_pgd" else norm
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(18, 3)).to(dtype), drawn(dtype, seed)
    more = {"samples": 2} if name == "spsa" else {}
    more |= {} if name == "fgsm" else {"steps": 3}
    attack = create_attack(name, eps=eps, norm=norm, keep="last", seed=seed, **more)
    labels = torch.arange(3)
    for found in (attack(model, images, labels).images, attack.perturb(model, images, labels)):
        assert_inside(found, images, Ball.parse(eps, norm))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("part", ["apgd-ce", "fab", "square"])
def test_every_attack_of_the_library_ends_inside(part, norm, dtype):
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(50, 4)).to(dtype), drawn(dtype, 0, side=5)
    labels, eps = model(images).argmax(1), 0.5 if norm == "linf" else 2.5
    attack = AutoAttack(version="custom", attacks=(part,), eps=eps, norm=norm, steps=3, queries=60)
    result = attack(model, images, labels)
    assert result.success.any()
    # the library computes in float32
    computed_in = dtype if dtype in HALF else torch.float32
    assert_inside(result.images, images, Ball.parse(eps, norm), computed_in=computed_in)


def test_projection_is_its_formula():
    clean, far = drawn(torch.float64, 1), drawn(torch.float64, 2)
    for norm, eps in (("linf", 0.1), ("l2", 0.4)):
        found = Ball.parse(eps, norm).project(far, clean)
        for one, image, centre in zip(found, far, clean, strict=True):
            offset = image - centre
            if norm == "linf":
                expected = centre + torch.minimum(
                    torch.maximum(offset, -torch.tensor(eps)), torch.tensor(eps)
                )
            else:
                expected = centre + offset * min(1, eps / math.sqrt((offset**2).sum()))
            torch.testing.assert_close(one, expected.clamp(0, 1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steepest_offset_beats_random_ones(norm):
    ball, draw = Ball.parse(0.3, norm), torch.Generator().manual_seed(0)
    gradient = torch.randn((5, 3, 4, 4), generator=draw)
    best = ball.steepest(gradient)
    torch.testing.assert_close(ball.lengths(best), torch.ones(5, 1, 1, 1))
    rise = (best * gradient).sum((1, 2, 3))
    for _ in range(50):
        other = ball.boundary(gradient.shape, draw)
        torch.testing.assert_close(ball.lengths(other), torch.ones(5, 1, 1, 1))
        assert ((other * gradient).sum((1, 2, 3)) < rise).all()
        assert (ball.lengths(ball.interior(gradient.shape, draw, share=0.5)) <= 0.5 + 1e-6).all()
    assert not ball.steepest(torch.zeros(1, 1, 2, 2)).any()


def test_interior_is_uniform():
    draw, count = torch.Generator().manual_seed(0), 4000
    for ball in (Linf(0.1), L2(2.0)):
        offsets = ball.interior(torch.Size((count, 1, 2, 2)), draw)
        # the share of the volume within a uniform point's norm is uniform: Kolmogorov-Smirnov at 0.1%
        shares = (ball.lengths(offsets).double().flatten() ** 4).sort().values
        assert (shares - torch.arange(1, count + 1) / count).abs().max() < 1.95 / count**0.5


def test_parse_and_print():
    assert Ball.parse("8/255") == Linf(8 / 255) and Ball.parse("8/255", "l2") == L2(8 / 255)
    assert len({Linf(0.1), Linf(0.1), L2(0.1)}) == 2
    assert str(Linf(8 / 255)) == "L∞ eps 8/255" and str(L2(1.5)) == "L2 eps 1.5"
    assert L2(2.0).per_pixel(16) == 0.5 and Linf(0.1).per_pixel(16) == 0.1


@pytest.mark.parametrize(
    ("eps", "norm", "message"),
    [
        (0.1, "l1", "unknown norm 'l1'"),
        (8, "linf", r"eps: must lie in \[0, 1\]"),
        (0, "l2", "eps: an L2 radius must be positive"),
        ("wide", "l2", "neither a number nor a fraction"),
    ],
)
def test_bad_ball(eps, norm, message):
    with pytest.raises(InputError, match=message):
        Ball.parse(eps, norm)


@pytest.mark.parametrize(
    "make", [lambda: L2(0.0), lambda: L2(math.inf), lambda: Linf(8), lambda: Linf(math.nan)]
)
def test_a_ball_cannot_be_made_of_a_wrong_size(make):
    with pytest.raises(InputError, match="eps: "):
        make()


@pytest.fixture
def own():
    """A norm that is defined after all attacks."""

    class Darken(Linf):
        norm, title = "darken", "L∞, darker"

        def _inside(self, points, centre):
            return points.clamp(centre - self.size, centre).clamp(0, 1)

    yield Darken
    for known in (Ball.known, PARSERS, NORMS):
        del known["darken"]


def test_a_norm_of_one_s_own_is_called_by_its_title(own):
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.rand(4, 3, 2, 2)
    settings = {"attacks": "pgd:steps=1", "threat": "undefended", "diagnose": 0}
    found = evaluate(model, (images, torch.tensor([0, 1, 2, 0])), norm="darken", eps="8/255", **settings)
    assert found.cells[0].line().startswith("pgd-1 (L∞, darker eps 8/255), undefended: ")
    assert str(own(8 / 255)) == "L∞, darker eps 8/255"
    assert "L∞, darker, eps 8/255" in str(found)


def test_attacks_say_which_norms_they_know(own):
    assert knows_norm("pgd", "darken") and not knows_norm("square", "darken")
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.rand(6, 3, 2, 2)
    with torch.no_grad():
        labels = model(images).argmax(1)
    found = evaluate(model, (images, labels), norm="darken", attacks="fgsm", threat="undefended", max_cost=1)
    assert not [finding for finding in found.diagnostics if "could not be examined" in finding.message]


def test_a_norm_is_registered_once(own):
    class Other(Linf):
        """A base of further balls: no norm of its own."""

    assert Ball.named("linf") is Linf and type(Ball.parse("8/255", "linf")) is Linf
    with pytest.raises(InputError, match="norm 'darken' is registered twice; give Second another norm"):

        class Second(Other):
            norm, title = "darken", "another"

    assert Ball.named("darken") is own
