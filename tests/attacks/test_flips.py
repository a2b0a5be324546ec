"""Flips of binary frames, counts and sparse search: what they return is what a camera could have given."""

import itertools

import pytest
import torch
from torch import nn

from purespike.attacks import create_attack, flips, pgd_counts, sparse_search
from purespike.attacks.counts import to_counts
from purespike.attacks.registry import knows_norm
from purespike.ball import L0, Ball
from purespike.errors import InputError
from purespike.evaluation import evaluate

STEPS, SIDE, CLASSES = 3, 6, 3
DRAWS = torch.Generator().manual_seed(9)
# classes differ in a few bins of many, so that few flips matter
COMMON = torch.rand(2 * STEPS, SIDE, SIDE, generator=DRAWS) < 0.3
PATTERNS = (COMMON ^ (torch.rand(CLASSES, *COMMON.shape, generator=DRAWS) < 0.06)).float()


def recordings(count, seed, *, cap=1):
    draws = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=draws)
    noise = (torch.rand((count, *PATTERNS.shape[1:]), generator=draws) < 0.05).float()
    frames = (PATTERNS[labels] - noise).abs()
    size = torch.randint(1, cap + 1, frames.shape, generator=draws) / cap
    return frames * size, labels


@pytest.fixture(scope="module")
def linear():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(PATTERNS[0].numel(), CLASSES))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(60):
        images, labels = recordings(32, 100 + step)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@pytest.mark.parametrize("name", ["flips", "flips_add", "flips_remove"])
@pytest.mark.parametrize("more", [{}, {"stop_early": True, "restarts": 3}, {"keep": "last"}])
def test_flipped_frames_are_binary_and_few(name, more, linear):
    images, labels = recordings(20, 1)
    result = create_attack(name, eps=6, steps=6, **more)(linear, images, labels)
    assert set(result.images.unique().tolist()) <= {0, 1}
    added, removed = (result.images > images).flatten(1).sum(1), (result.images < images).flatten(1).sum(1)
    assert (added + removed).max() <= 6 and (added + removed).max() > 0
    assert name != "flips_add" or not removed.any()
    assert name != "flips_remove" or not added.any()
    assert torch.equal(result.success, linear(result.images).argmax(1) != labels)


@pytest.mark.parametrize(
    ("name", "signs"), [("flips", (1, -1)), ("flips_add", (1,)), ("flips_remove", (-1,))]
)
def test_one_step_is_the_best_of_all_choices_for_a_linear_margin(name, signs, linear):
    """Of a binary image of a few pixels, every choice of two flips is tried."""
    weight = torch.tensor([[0.3, -2.0, 1.0, 0.5, -0.7, 1.4]])
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.cat((-weight, weight)))
    image, label = torch.tensor([0.0, 1, 1, 0, 1, 0]).view(1, 1, 2, 3), torch.tensor([0])
    attack = create_attack(
        name, eps=2, steps=1, step_size=2, loss="margin", random_start=False, momentum=0.0, keep="last"
    )
    result = attack(model, image, label)

    def margin(changed):
        logits = model(changed)[0]
        return (logits[1] - logits[0]).item()

    best = margin(image)
    for count in (1, 2):
        for places in itertools.combinations(range(6), count):
            changed = image.clone().flatten()
            flipped = [1 - 2 * changed[place].item() for place in places]
            if all(sign in signs for sign in flipped):
                changed[list(places)] = 1 - changed[list(places)]
                best = max(best, margin(changed.view_as(image)))
    assert margin(result.images) == pytest.approx(best)


def test_counts_go_to_nothing_or_to_the_cap(linear):
    images, labels = recordings(12, 2, cap=5)
    found = flips(linear, images, labels, eps=8).images
    changed = found != images
    assert set(found[changed].unique().tolist()) <= {0, 1} and changed.flatten(1).sum(1).max() <= 8
    assert torch.equal(to_counts(found, 5), found)


def test_sparse_search_needs_no_gradient_and_more_queries_find_more(linear):
    images, labels = recordings(30, 3)
    broken = []
    for queries in (1, 20, 200):
        result = sparse_search(linear, images, labels, eps=8, queries=queries)
        assert result.backwards == 0 and (result.images != images).flatten(1).sum(1).max() <= 8
        assert set(result.images.unique().tolist()) <= {0, 1}
        broken.append(int(result.success.sum()))
    assert broken[0] <= broken[1] <= broken[2] and broken[0] < broken[2]
    assert int(flips(linear, images, labels, eps=8).success.sum()) >= broken[2]


@pytest.mark.parametrize("eps", ["1/5", 0.25, "2/5"])
def test_counts_are_rounded_and_judged_again(eps, linear):
    images, labels = recordings(20, 4, cap=5)
    result = pgd_counts(linear, images, labels, eps=eps, cap=5)
    events = (result.images - images) * 5
    assert torch.equal(to_counts(result.images, 5), result.images)
    assert events.abs().max() <= (2 if eps == "2/5" else 1) + 1e-4
    assert torch.allclose(events, events.round(), atol=1e-4) and events.abs().max() > 0.5
    assert torch.equal(result.success, linear(result.images).argmax(1) != labels)


def test_an_evaluation_in_l0(linear):
    data = recordings(24, 5)
    found = evaluate(linear, data, norm="l0", eps="2,6", suite="quick", threat="undefended", diagnose=4)
    assert {cell.attack for cell in found.cells} == {"gaussian_noise", "flips"}
    assert [cell.line()[:19] for cell in found.cells if cell.attack == "flips"] == [
        "flips-20 (L0 eps 2)",
        "flips-20 (L0 eps 6)",
    ]
    assert {finding.name for finding in found.diagnostics} >= {"witness without gradients"}
    with pytest.raises(InputError, match="does not know the norm l0"):
        evaluate(linear, data, norm="l0", eps=2, attacks="pgd", threat="undefended")
    with pytest.raises(InputError, match="pgd_counts: images are no counts of at most 3 events"):
        images, labels = recordings(24, 5, cap=5)
        evaluate(linear, (images, labels), eps="2/3", attacks="pgd_counts:cap=3", threat="undefended")


def test_norms_of_attacks():
    assert {name for name in ("pgd", "fgsm", "sa_pgd", "square", "spsa", "cw") if knows_norm(name, "l0")} == {
        "cw"
    }
    assert not knows_norm("flips", "linf") and knows_norm("flips", "l0") and knows_norm("pgd", "l2")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ball.parse("8/255", "l0"), "L0 budget is a whole number of pixels"),
        (lambda: Ball.parse(0, "l0"), "at least 1"),
        (
            lambda: create_attack("flips", norm="linf", eps=0.1),
            "'flips' knows no L∞; use 'steepest' or",
        ),
        (lambda: create_attack("pgd", norm="l0", eps=3), "rule: 'steepest' knows no L0; use 'flips' or"),
        (lambda: create_attack("pgd_counts", eps="8/255"), "eps 8/255 is less than one event; give 1/5"),
        (lambda: create_attack("pgd_counts", eps=1, cap=4), "cap must be a divisor of 255"),
        (lambda: create_attack("sparse_search", eps=2.5), "whole number of pixels"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_an_l0_ball_counts_pixels():
    clean = (torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    far = torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    for size in (1, 5, 18, 40):
        ball = L0(size)
        moved = ball.project(far, clean)
        assert (
            ball.contains(moved, clean).all() and ball.distance(moved, clean).tolist() == [min(size, 18)] * 4
        )
        kept, left = (far - clean).abs() * (moved != clean), (far - clean).abs() * (moved == clean)
        for one, other in zip(kept.flatten(1), left.flatten(1), strict=True):
            assert size >= 18 or one[one > 0].min() >= other.max()
        start = ball.sample(clean, seed=3)
        assert ball.distance(start, clean).tolist() == [min(size, 18)] * 4
        assert set(start.unique().tolist()) <= {0, 1}
