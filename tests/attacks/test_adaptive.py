import copy
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from purespike.attacks import Attack, AttackResult, IdentityBackward, create_attack, worst_case
from purespike.errors import InputError
from purespike.models import Defended, create
from purespike.neurons import MultiLevelFiring, surrogate_gradient

SURROGATES = ("rectangle(width=1)", "atan(alpha=2)", "triangle(width=2)")
LOSSES = ("ce", "margin")
PGD = create_attack("pgd", eps="12/255", steps=3, step_size="5/255", random_start=False)


@dataclass(frozen=True)
class Scripted(Attack):
    """An attack whose successes are written down; images carry their number in their pixels."""

    wins: dict
    loss: str = "ce"
    seen: list = field(default_factory=list)
    differentiates: bool = True

    def __call__(self, model, images, labels):
        neurons = next(m for m in model.modules() if isinstance(m, MultiLevelFiring))
        surrogate = neurons.surrogate
        numbers = (images[:, 0, 0, 0] * 100).round().int().tolist()
        self.seen.append((str(surrogate), neurons.reset, self.loss, numbers))
        assert labels.tolist() == [number % 3 for number in numbers]
        success = torch.tensor([n in self.wins.get((surrogate.name, self.loss), ()) for n in numbers])
        marked = images.clone()
        marked[:, 0, 0, 1] = len(self.seen) / 10
        count = len(images)
        return AttackResult(
            marked, success, torch.full((count,), len(self.seen)), torch.zeros(2, count), 2 * count, count
        )


def test_each_pair_meets_what_the_former_left():
    model = create("resnet14_snn", width=1 / 16)
    images = (torch.arange(6) / 100).view(6, 1, 1, 1).expand(6, 3, 2, 2).clone()
    wins = {
        ("rectangle", "ce"): {1, 4},
        ("rectangle", "margin"): {1, 0},
        ("atan", "ce"): set(),
        ("atan", "margin"): {4, 5},
    }
    attack = Scripted(wins)
    result, components = worst_case(
        model, images, torch.arange(6) % 3, attack=attack, surrogates=SURROGATES[:2], losses=LOSSES
    )
    assert attack.seen == [
        ("rectangle(width=1)", "attached", "ce", [0, 1, 2, 3, 4, 5]),
        ("rectangle(width=1)", "attached", "margin", [0, 2, 3, 5]),
        ("atan(alpha=2)", "attached", "ce", [2, 3, 5]),
        ("atan(alpha=2)", "attached", "margin", [2, 3, 5]),
        ("rectangle(width=1)", "detached", "ce", [2, 3]),
        ("rectangle(width=1)", "detached", "margin", [2, 3]),
        ("atan(alpha=2)", "detached", "ce", [2, 3]),
        ("atan(alpha=2)", "detached", "margin", [2, 3]),
    ]
    assert result.success.tolist() == [True, True, False, False, True, True]
    # image and step of the pair that broke it, else of the last pair
    assert result.best_step.tolist() == [2, 1, 8, 8, 1, 4]
    torch.testing.assert_close(result.images[:, 0, 0, 1], result.best_step / 10)
    assert (result.forwards, result.backwards) == (2 * 24, 24)
    assert [(c.gradient, c.loss, c.attacked, c.broken) for c in components] == [
        ("rectangle(width=1)", "ce", 6, 2),
        ("rectangle(width=1)", "margin", 4, 1),
        ("atan(alpha=2)", "ce", 3, 0),
        ("atan(alpha=2)", "margin", 3, 1),
        ("rectangle(width=1), detached reset", "ce", 2, 0),
        ("rectangle(width=1), detached reset", "margin", 2, 0),
        ("atan(alpha=2), detached reset", "ce", 2, 0),
        ("atan(alpha=2), detached reset", "margin", 2, 0),
    ]


def test_stops_when_nothing_is_left():
    images = torch.zeros(1, 3, 2, 2)
    attack = Scripted({("rectangle", "ce"): {0}})
    _, components = worst_case(
        create("resnet14_snn", width=1 / 16),
        images,
        torch.zeros(1, dtype=torch.long),
        attack=attack,
        surrogates=SURROGATES,
    )
    assert len(components) == len(attack.seen) == 1


def test_success_is_the_union_of_all_pairs(spiking):
    model, images, labels = spiking
    # the first is too narrow to find anything
    surrogates = ("rectangle(width=0.02)", *SURROGATES)
    result, components = worst_case(
        model, images, labels, attack=PGD, surrogates=surrogates, both_resets=False
    )
    union = torch.zeros(len(images), dtype=torch.bool)
    apart_successes = []
    for surrogate in surrogates:
        for loss in LOSSES:
            with surrogate_gradient(model, surrogate):
                apart = replace(PGD, loss=loss, stop_early=True)(model, images, labels)
            union |= apart.success
            apart_successes.append(apart.success)
    assert torch.equal(result.success, union)
    assert 0 < union.sum() < len(images)
    assert not torch.equal(apart_successes[0], union)
    assert torch.equal(model(result.images).argmax(1) != labels, result.success)
    assert (result.images - images).abs().max() <= 12 / 255 + 1e-6
    assert sum(component.broken for component in components) == union.sum()
    assert components[0].attacked == len(images)


def test_a_model_without_neurons_has_its_own_gradient(plain):
    model, images, labels = plain
    result, components = worst_case(model, images, labels, attack=PGD, surrogates=SURROGATES)
    assert [(c.surrogate, c.loss) for c in components] == [("own", "ce"), ("own", "margin")]
    alone = [replace(PGD, loss=loss, stop_early=True)(model, images, labels).success for loss in LOSSES]
    assert torch.equal(result.success, alone[0] | alone[1])


def test_an_attack_without_losses_has_its_own(spiking):
    model, images, labels = spiking
    attack = create_attack("cw", steps=4, search_steps=1, learning_rate=0.05)
    _, components = worst_case(model, images[:4], labels[:4], attack=attack, surrogates=SURROGATES[:2])
    assert {component.loss for component in components} == {"own"}
    names = [f"{name}{end}" for end in ("", ", detached reset") for name in SURROGATES[:2]]
    assert [component.gradient for component in components] == names[: len(components)]


def test_surrogates_come_back(spiking):
    model, images, labels = spiking
    before = [m.surrogate for m in model.modules() if isinstance(m, MultiLevelFiring)]
    worst_case(model, images, labels, attack=PGD, surrogates=["atan"])
    with pytest.raises(InputError, match="outside"):
        worst_case(model, images + 1, labels, attack=PGD, surrogates=["atan"])
    assert [m.surrogate for m in model.modules() if isinstance(m, MultiLevelFiring)] == before
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("settings", [{"surrogates": []}, {"surrogates": ["atan"], "losses": ()}], ids=str)
def test_needs_something_to_try(settings, spiking):
    with pytest.raises(InputError, match="at least one"):
        worst_case(*spiking, attack=PGD, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"surrogates": ["atam"]}, "did you mean 'atan'"),
        ({"surrogates": ["atan"], "losses": ["hinge"]}, "unknown attack loss"),
    ],
    ids=str,
)
def test_unknown_names(settings, message, spiking):
    with pytest.raises(InputError, match=message):
        worst_case(*spiking, attack=PGD, **settings)


def gradient(model, images, labels):
    leaf = images.clone().requires_grad_()
    (result,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), labels), leaf)
    return result


class Rounding(nn.Module):
    """A purifier of another kind, without any gradient: BPDA's classic case."""

    def forward(self, images):
        return (images * 8).round() / 8


@pytest.mark.parametrize("purifier", ["ours", "rounding"])
def test_identity_backward(purifier, trained, plain):
    _, images, labels = plain
    model = trained["defended"]
    if purifier == "rounding":
        model = Defended(Rounding(), model.classifier)
    bypass = IdentityBackward(model).eval()
    assert torch.equal(bypass(images), model(images))
    passed = gradient(bypass, images, labels)
    assert torch.equal(passed, gradient(model.classifier, model.purify(images).detach(), labels))
    assert passed.any()
    assert not torch.allclose(passed, gradient(model, images, labels), atol=1e-7)


def test_identity_backward_can_be_attacked(trained, plain):
    _, images, labels = plain
    model = copy.deepcopy(trained["defended"])
    bypass = IdentityBackward(model).train()
    result = create_attack("pgd", eps="24/255")(bypass, images, labels)
    assert torch.equal(result.success, model.eval()(result.images).argmax(1) != labels)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
