"""Targeted attacks against foolbox's and a plain loop; the choice of targets; what an evaluation counts."""

import copy
from dataclasses import replace

import foolbox
import pytest
import torch
from torch import nn

import purespike as ps
from purespike.attacks import create_attack, cw, list_attacks, pgd, transfer
from purespike.attacks.registry import knows_norm
from purespike.attacks.targets import choose_targets
from purespike.errors import InputError
from purespike.reporting.tables import markdown_table
from purespike.seeding import derive
from purespike.text import parse_attacks
from tests.attacks.conftest import CLASSES

FAR = {"eps": 0.3, "steps": 20, "step_size": 0.05}


def outer(model):
    return foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")


@pytest.mark.parametrize(
    ("eps", "steps", "step_size"), [(8 / 255, 5, 2 / 255), (0.1, 6, 0.03), (0.05, 1, 0.05)]
)
def test_pgd_is_foolbox_s(eps, steps, step_size, plain):
    model, images, labels = plain
    targets = (labels + 1) % CLASSES
    attack = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=False)
    theirs = attack.run(
        outer(model), images, foolbox.criteria.TargetedMisclassification(targets), epsilon=eps
    )
    settings = {"eps": eps, "steps": steps, "step_size": step_size, "random_start": False, "keep": "last"}
    ours = pgd(model, images, targets, targeted=True, **settings)
    torch.testing.assert_close(ours.images, theirs, atol=1e-7, rtol=0)
    assert torch.equal(ours.success, model(ours.images).argmax(1) == targets)
    # and elsewhere than the untargeted one
    assert (pgd(model, images, labels, **settings).images - theirs).abs().max() > eps


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_it_descends_the_loss_at_the_target(loss, norm, plain):
    model, images, targets = copy.deepcopy(plain[0]).double(), plain[1].double(), plain[2].roll(1)
    eps, size, steps = (0.06, 0.02, 5) if norm == "linf" else (0.8, 0.3, 5)
    x = images.clone()
    for _ in range(steps):
        x.requires_grad_()
        logits = model(x)
        if loss == "ce":
            value = nn.functional.cross_entropy(logits, targets, reduction="sum")
        else:
            others = logits.masked_fill(nn.functional.one_hot(targets, CLASSES).bool(), -torch.inf)
            value = (others.amax(1) - logits.gather(1, targets[:, None])[:, 0]).sum()
        (gradient,) = torch.autograd.grad(value, x)
        x = x.detach()
        for i in range(len(x)):
            if norm == "linf":
                x[i] = (x[i] - size * gradient[i].sign()).clamp(images[i] - eps, images[i] + eps)
            else:
                offset = x[i] - size * gradient[i] / gradient[i].norm() - images[i]
                x[i] = images[i] + offset * min(1.0, eps / offset.norm().item())
        x = x.clamp(0, 1)
    settings = {"eps": eps, "norm": norm, "step_size": size, "steps": steps, "random_start": False}
    ours = pgd(model, images, targets, targeted=True, loss=loss, keep="last", **settings)
    torch.testing.assert_close(ours.images, x, atol=1e-4, rtol=0)


def test_carlini_wagner_agrees_with_foolbox_s(plain):
    model, images, _ = plain
    targets = (model(images).argmax(1) + 1) % CLASSES
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=4, steps=50, stepsize=0.02, confidence=0, initial_const=1.0, abort_early=False
    )
    criterion = foolbox.criteria.TargetedMisclassification(targets)
    _, expected, reached = theirs(outer(model), images, criterion, epsilons=None)
    ours = cw(model, images, targets, targeted=True, steps=50, search_steps=4, learning_rate=0.02)
    both = ours.success & reached
    assert both.sum() >= 10 and (ours.success | ~reached).all()
    assert torch.equal(ours.success, model(ours.images).argmax(1) == targets)
    found, known = ((result - images).flatten(1).norm(dim=1)[both] for result in (ours.images, expected))
    assert found.mean().item() == pytest.approx(known.mean().item(), rel=0.05)


@pytest.mark.parametrize(
    "name", [name for name in list_attacks(targeted=True) if knows_norm(name, "linf") or name == "cw"]
)
def test_all_that_can_reach_most_targets(name, plain):
    model, images, labels = plain
    far = {} if name == "cw" else {"eps": 0.5, "loss": "margin"}
    far |= {"steps": 30} if name not in ("fgsm", "cw") else {}
    far |= {"step_size": 0.05} if name not in ("fgsm", "cw", "sa_pgd") else {}
    result = create_attack(name, targeted=True, target="next", **far)(model, images, labels)
    assert result.config["name"] == f"{name}_targeted"
    assert torch.equal(result.targets, (labels + 1) % CLASSES)
    assert torch.equal(result.success, model(result.images).argmax(1) == result.targets)
    assert result.success.float().mean() > (0.2 if name == "fgsm" else 0.8)


def test_choices_of_a_target(plain):
    model, images, labels = plain
    chosen = {
        name: choose_targets(name, model, images, labels, seed=1)
        for name in ("next", "random", "least_likely")
    }
    assert torch.equal(chosen["next"], torch.tensor([(label + 1) % CLASSES for label in labels.tolist()]))
    for logits, label, target in zip(model(images), labels, chosen["least_likely"], strict=True):
        wrong = [k for k in range(CLASSES) if k != label]
        assert target == min(wrong, key=lambda k: logits[k].item())
    assert (chosen["random"] != labels).all() and len(
        set(((chosen["random"] - labels) % CLASSES).tolist())
    ) == 3
    # a function of the image and the seed, not of its place
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    again = choose_targets("random", model, images[order], labels[order], seed=1)
    assert torch.equal(again, chosen["random"][order])
    assert not torch.equal(choose_targets("random", model, images, labels, seed=2), chosen["random"])


def test_random_targets_are_uniform():
    count = 600
    images = torch.rand((count, 1, 1, 2), generator=torch.Generator().manual_seed(0))
    targets = choose_targets(
        "random", nn.Flatten(), images.repeat(1, 1, 1, 2), torch.zeros(count).long(), seed=0
    )
    shares = torch.bincount(targets, minlength=4) / count
    assert shares[0] == 0 and (shares[1:] - 1 / 3).abs().max() < 4 * (2 / 9 / count) ** 0.5


class Unreachable(nn.Module):
    """Class 1 where the mean pixel exceeds one half, else class 0; never class 2."""

    def forward(self, images):
        height = images.mean((1, 2, 3)) - 0.5
        return torch.stack((-height, height, torch.full_like(height, -5.0)), 1)


@pytest.mark.parametrize("restarts", [1, 3])
def test_an_image_that_misses_its_target_may_be_broken(restarts):
    images, labels = torch.tensor([0.52, 0.9, 0.45]).view(3, 1, 1, 1), torch.tensor([1, 1, 0])
    settings = {"eps": 0.1, "steps": 1, "step_size": 0.1, "loss": "margin", "keep": "last"}
    settings |= {"random_start": restarts > 1, "restarts": restarts}
    result = create_attack("pgd", targeted=True, **settings)(Unreachable(), images, labels)
    # the next classes are 2, 2 and 1; on the way to class 2 the first image becomes class 0
    assert result.targets.tolist() == [2, 2, 1]
    assert result.success.tolist() == [False, False, restarts == 1 or result.success[2].item()]
    assert torch.equal(result.broken, Unreachable()(result.images).argmax(1) != labels)
    assert result.broken[0] or restarts > 1
    # given the targets, nothing is known of the true classes
    given = pgd(Unreachable(), images, result.targets, targeted=True, **settings)
    assert given.targets is given.misclassified is None and torch.equal(given.images, result.images)


def test_perturb_aims_as_well(plain):
    model, images, labels = plain
    attack = create_attack("pgd", targeted=True, target="least_likely", keep="last", **FAR)
    assert torch.equal(attack.perturb(model, images, labels), attack(model, images, labels).images)


def test_transfer_judges_by_the_target_class(plain, trained):
    model, images, labels = plain
    result = transfer(
        model, trained["snn"], images, labels, attack=create_attack("pgd", targeted=True, **FAR)
    )
    found = trained["snn"](result.images).argmax(1)
    assert torch.equal(result.success, found == (labels + 1) % CLASSES)
    assert torch.equal(result.broken, found != labels) and result.success.any()


def test_an_evaluation_counts_what_is_still_right(plain):
    model, images, labels = plain
    (spec,) = parse_attacks("pgd:targeted=true:target=random:steps=3:step_size=0.03:keep=last")
    common = {"threat": "undefended", "eps": 0.08, "diagnose": 0, "seed": 2}
    evaluation = ps.evaluate(model, (images, labels), attacks=[spec, "pgd"], **common)
    (cell, other) = (evaluation.cell(name, "undefended", 0.08) for name in ("pgd_targeted", "pgd"))
    given, plain_given = (each.settings.to_json() for each in (cell, other))
    assert given["target"] == "random" and not {"target", "targeted"} & set(plain_given)
    assert "Targeted PGD-3" in markdown_table(evaluation)
    right = model(images).argmax(1) == labels
    attack = replace(create_attack(**spec, eps=0.08), seed=derive(2, "pgd_targeted"))
    found = attack(model, images[right], labels[right])
    kept = (model(found.images).argmax(1) == labels[right]).sum().item()
    assert cell.score.accuracy == pytest.approx(kept / len(images))
    assert 0 < kept < right.sum()


@pytest.mark.parametrize("name", sorted(set(list_attacks()) - set(list_attacks(targeted=True))))
def test_what_cannot_be_targeted_says_so(name):
    with pytest.raises(
        InputError, match=f"{name}: takes no target .* AutoAttack .* targeted attacks are cw, fgsm"
    ):
        create_attack(name, targeted=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "next"}, "target: a setting of targeted attacks"),
        ({"targeted": True, "target": "last"}, "unknown target 'last'"),
        ({"targeted": "yes"}, "targeted: must be true or false"),
    ],
)
@pytest.mark.parametrize("name", ["pgd", "cw"])
def test_bad_settings(name, settings, message):
    with pytest.raises(InputError, match=message):
        create_attack(name, **settings)


def test_bad_targets(plain):
    model, images, labels = plain
    with pytest.raises(InputError, match="labels: must be at least 0 and at most 3"):
        pgd(model, images, labels + 3, targeted=True)
    with pytest.raises(InputError, match="a single class"):
        create_attack("pgd", targeted=True)(
            nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), images, labels * 0
        )


def test_an_evaluation_has_no_targets_to_give(plain):
    with pytest.raises(InputError, match="knows no targets but those of target=next"):
        ps.evaluate(plain[0], plain[1:], attacks="pgd:targeted=true:target=null", diagnose=0)
