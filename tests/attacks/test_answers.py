"""What counts as a success, gradients that are not finite, and budgets that are kept to the number."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from purespike import InputError, attacks
from purespike.attacks import create_attack, cw, mifgsm, pgd, square
from purespike.attacks.spsa import spsa_gradient


class Counts(nn.Module):
    """Spikes of two neurons in two steps, from the mean pixel; up to 0.625 both count 2."""

    def forward(self, images):
        mean = images.flatten(1).mean(1)
        exact = torch.stack([1 - mean, mean], 1) * 4
        return exact + (exact.round() - exact).detach()


def test_cw_takes_the_tie_that_is_nearest():
    images, labels = torch.full((8, 1, 4, 4), 0.68), torch.ones(8, dtype=torch.long)
    found = cw(Counts(), images, labels, steps=50, search_steps=5, learning_rate=0.005)
    assert found.success.all()
    # the boundary of the tie is 0.055 away in each of 16 pixels
    distance = (found.images - images).flatten(1).norm(dim=1)
    assert ((distance >= 0.055 * 4 - 1e-4) & (distance <= 1.05 * 0.055 * 4)).all()


def test_cw_looks_for_its_confidence_where_the_image_was_wrong(plain):
    model, images, labels = plain
    labels = (labels + 1) % 4
    kappa = 2.0
    found = cw(model, images, labels, confidence=kappa, steps=40, learning_rate=0.05, initial_c=10)
    logits = model(found.images).detach()
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    assert (
        found.success.all()
        and (others - logits.gather(1, labels[:, None]).squeeze(1) > kappa).float().mean() > 0.8
    )


@pytest.mark.parametrize("name", ["fgsm", "pgd", "cw", "apgd_ce", "square", "gaussian_noise"])
def test_what_is_not_a_number_is_broken(name, plain):
    class Nan(nn.Module):
        """Right on the clean images alone, and not a number anywhere else."""

        def forward(self, seen):
            logits = plain[0](seen)
            return logits + torch.where((seen.sum() - total).abs() < 1e-4, 0.0, torch.nan)

    images = plain[1][:1]
    total = images.sum((1, 2, 3))
    labels = plain[0](images).argmax(1)
    settings = {"queries": 10} if name == "square" else {}
    found = create_attack(name, **settings)(Nan(), images, labels)
    # C&W minimises a distance, and meets nothing but infinite costs
    assert found.success.all() or name == "cw"
    assert found.images.isfinite().all()


class NanOffCentre(nn.Module):
    """Of one class at grey images, and not a number anywhere else."""

    def __init__(self, label):
        super().__init__()
        self.label, self.inner = label, nn.Linear(16, 4)

    def forward(self, seen):
        off = (seen - 0.5).flatten(1).abs().amax(1, keepdim=True) > 1e-6
        logits = self.inner(seen.flatten(1)) + 10 * torch.eye(4)[self.label]
        return torch.where(off, torch.nan, logits)


@pytest.mark.parametrize("label", [0, 1, 3])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd_ce", "apgd_dlr", "autoattack_rand"])
def test_what_is_not_a_number_is_broken_whatever_the_class(name, label):
    images, labels = torch.full((6, 1, 4, 4), 0.5), torch.full((6,), label)
    settings = {} if name == "fgsm" else {"steps": 3}
    found = create_attack(name, eps=0.1, **settings)(NanOffCentre(label), images, labels)
    assert found.success.all() and found.images.isfinite().all()


class Offset(nn.Module):
    """A float64 model whose logits differ by less than float32 tells apart at their size."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weights = nn.Parameter(torch.randn(16, 4, generator=draw, dtype=torch.float64))

    def forward(self, images):
        return 1e9 + images.flatten(1).double() @ self.weights


@pytest.mark.parametrize("name", ["pgd", "apgd_ce", "apgd_dlr"])
def test_logits_of_a_float64_model_are_told_apart(name):
    images = torch.rand((20, 1, 4, 4), generator=torch.Generator().manual_seed(1))
    model = Offset()
    labels = model(images).argmax(1)
    found = create_attack(name, eps=0.3, steps=20)(model, images, labels)
    # a linear model falls to a step along the difference of two columns, if it falls at all
    worst = torch.stack(
        [
            ((model.weights[:, other] - model.weights[:, label]).abs().sum() * 0.3)
            >= logits[label] - logits[other]
            for logits, label in zip(model(images).detach(), labels, strict=True)
            for other in [int(logits.scatter(0, label, -torch.inf).argmax())]
        ]
    )
    assert found.success.sum() >= 0.8 * worst.sum() > 8


class Detached(nn.Module):
    """Its own weights want a gradient, and none leads to the images."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, 4)

    def forward(self, images):
        return self.inner(images.detach().flatten(1))


@pytest.mark.parametrize("hidden", [False, True], ids=["frozen by the attack", "out of its reach"])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "mifgsm", "cw", "apgd_ce", "apgd_dlr"])
def test_a_model_without_a_path_to_its_images_is_named(name, hidden):
    inner = Detached()
    model = (lambda images: inner(images)) if hidden else inner
    images = torch.rand((4, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    attack = getattr(attacks, name)
    settings = {} if name == "fgsm" else {"steps": 2}
    found = attack(model, images, inner(images).argmax(1), **settings)
    assert "autograd finds no path from the logits to the images: no gradient was followed" in found.warnings


def test_spsa_leaves_out_the_probes_that_are_not_numbers():
    def loss(images):
        value = images.flatten(1).sum(1)
        # a third of the directions raise the first pixel and lower the second
        bad = (images[:, 0, 0, 0] > 0.5) & (images[:, 0, 0, 1] < 0.5)
        return torch.where(bad, torch.nan, value)

    draws = torch.Generator().manual_seed(0)
    images = torch.full((1, 1, 1, 3), 0.5)
    found = spsa_gradient(loss, images, samples=400, delta=0.1, generator=draws)
    assert found.isfinite().all()
    # what is left moves the first two pixels alike: each seems to have the slope of both
    torch.testing.assert_close(found.flatten(), torch.tensor([2.0, 2.0, 1.0]), atol=0.35, rtol=0)
    model = NanOffCentre(0)
    result = attacks.spsa(
        model, images.new_full((1, 1, 4, 4), 0.5), torch.zeros(1).long(), steps=1, samples=2
    )
    assert any("times the loss of an image was not finite" in line for line in result.warnings)


@pytest.mark.parametrize("queries", [1, 2, 50])
def test_sparse_search_keeps_to_its_queries(queries):
    seen = []

    def constant(images):
        seen.append(len(images))
        return torch.tensor([9.0, 0, 0]) + 0 * images.flatten(1).sum(1, keepdim=True)

    images, labels = torch.rand(3, 1, 4, 4), torch.zeros(3, dtype=torch.long)
    found = attacks.sparse_search(constant, images, labels, eps=4, queries=queries)
    assert found.forwards == sum(seen) == 3 * queries
    assert not found.success.any()


def test_square_says_that_it_searched_nothing(plain):
    model, images, labels = plain
    assert any("nothing was searched" in line for line in square(model, images, labels, queries=2).warnings)


class Gamma(nn.Module):
    """The gradient of a root is infinite at a black pixel."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images.sqrt())


@pytest.mark.parametrize("attack", [mifgsm, pgd])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_pixel_of_infinite_gradient_costs_no_other(attack, norm, plain):
    model, images, _ = Gamma(plain[0]), *plain[1:]
    labels = model(images).argmax(1)
    black = images.clone()
    black[:, 0, 0, 0] = 0
    labels_black = model(black).argmax(1)
    settings = {"eps": 0.2 if norm == "linf" else 1.5, "norm": norm, "steps": 5, "random_start": False}
    whole = attack(model, images, labels, **settings)
    found = attack(model, black, labels_black, **settings)
    assert abs(int(found.success.sum()) - int(whole.success.sum())) <= 2 and found.success.any()
    assert "not finite" in found.warnings[0]


def test_losses_are_taken_in_float64_of_a_float64_model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).double()
    images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    top = net(images).detach().topk(2).values
    images = images[(top[:, 0] - top[:, 1]).argsort(descending=True)[:60]]
    top = net(images).detach().topk(2).values

    class Sharp(nn.Module):
        """Margins beyond the softmax of float32."""

        def forward(self, seen):
            return 120 / (top[:, 0] - top[:, 1]).min() * net(seen)

    model, eps = Sharp(), 32 / 255
    labels = model(images).argmax(1)
    broken, moved = torch.zeros(60, dtype=torch.bool), images.clone()
    for _ in range(20):
        moved.requires_grad_()
        (gradient,) = torch.autograd.grad(
            functional.cross_entropy(model(moved), labels, reduction="sum"), moved
        )
        moved = (moved.detach() + gradient.sign() * eps / 8).clamp(images - eps, images + eps).clamp(0, 1)
        broken |= model(moved).argmax(1) != labels
    found = pgd(model, images, labels, eps=eps, step_size=eps / 8, steps=20, random_start=False)
    assert broken.sum() > 30 and torch.equal(found.success, broken)


class Asked(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.queries = model, 0

    def forward(self, images):
        self.queries += len(images)
        return self.model(images)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("queries", [1, 2, 3, 4, 50])
def test_square_asks_as_often_as_it_may(queries, norm):
    """Of a model that it cannot break, from the clean image to the verdict."""
    model = Asked(lambda images: images.mean((2, 3)) * 1e-3 + torch.tensor([1.0, 0.0, 0.0]))
    images, labels = torch.rand(3, 3, 8, 8), torch.zeros(3, dtype=torch.long)
    found = square(model, images, labels, eps=0.1, norm=norm, queries=queries)
    assert model.queries == found.forwards
    assert found.forwards <= 3 * queries and (queries < 3 or found.forwards == 3 * queries)


def test_square_keeps_its_budget_per_start():
    model = Asked(lambda images: images.mean((2, 3)) * 1e-3 + torch.tensor([1.0, 0.0, 0.0]))
    images, labels = torch.rand(2, 3, 8, 8), torch.zeros(2, dtype=torch.long)
    found = square(model, images, labels, eps=0.1, queries=20, restarts=3)
    assert model.queries == found.forwards <= 2 * 3 * 20


def test_a_tie_is_no_answer():
    images, labels = torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)

    def even(seen):
        return seen.mean((2, 3)).repeat(1, 2)

    model = Asked(even)
    for name in ("fgsm", "pgd", "cw", "gaussian_noise"):
        assert create_attack(name)(model, images, labels).success.all(), name
    aimed = create_attack("pgd", targeted=True)(model, images, labels)
    assert not aimed.success.any(), "nor is a target reached by a tie"


def test_weights_made_in_inference_mode_are_refused():
    with torch.inference_mode():
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(InputError, match="weights were made inside"):
        pgd(model, torch.rand(2, 1, 4, 4), torch.zeros(2, dtype=torch.long))
