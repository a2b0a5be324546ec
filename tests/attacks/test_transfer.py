"""Attacks on a substitute: full strength there, judged here."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from purespike.attacks import AttackResult, create_attack
from purespike.attacks.transfer import full_strength, transfer
from purespike.errors import InputError

PGD = create_attack("pgd", eps="16/255", steps=3, step_size="6/255", seed=2)
ATTACKS = {
    "fgsm": create_attack("fgsm", eps="16/255"),
    "pgd": PGD,
    "pgd, early": replace(PGD, stop_early=True, keep="last"),
    "cw": create_attack("cw", steps=3, search_steps=2),
    "gaussian_noise": create_attack("gaussian_noise"),
    "apgd_ce": create_attack("apgd_ce", steps=3),
}


def wrong(model, images, labels):
    with torch.no_grad():
        return model(images).argmax(1) != labels


class Counting(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        return self.model(images)


@pytest.mark.parametrize("name", ATTACKS)
def test_success_is_the_targets_word_on_exactly_these_images(name, trained, plain):
    _, images, labels = plain
    substitute, target = trained["snn"], trained["cnn"]
    result = transfer(substitute, target, images, labels, attack=ATTACKS[name])
    assert torch.equal(result.success, wrong(target, result.images, labels))
    assert (result.success | ~wrong(target, images, labels)).all(), "what had fallen has fallen"
    assert result.images.min() >= 0 and result.images.max() <= 1
    if "eps" in result.config:
        assert (result.images - images).abs().max() <= result.config["eps"] + 1e-6
    again = transfer(substitute, target, images, labels, attack=ATTACKS[name])
    assert torch.equal(again.images, result.images)


def test_images_are_those_of_the_attack_on_the_substitute_alone(trained, plain):
    _, images, labels = plain
    substitute, target = trained["snn"], trained["cnn"]
    crafted = replace(PGD, keep="best", stop_early=False)(substitute, images, labels)
    early = replace(PGD, stop_early=True)
    result = transfer(substitute, target, images, labels, attack=early)
    fallen = wrong(target, images, labels)
    assert torch.equal(result.images[~fallen], crafted.images[~fallen])
    assert not torch.equal(early(substitute, images, labels).images, crafted.images), "strength matters here"
    assert torch.equal(result.loss_trace, crafted.loss_trace)


def test_what_the_target_gets_wrong_anyway_is_a_success_and_stays_as_it_is(trained, plain):
    model, images, labels = plain
    labels = labels.clone()
    labels[:3] = (model(images[:3]).argmax(1) + 1) % 4
    result = transfer(trained["snn"], model, images, labels, attack=PGD)
    assert result.success[:3].all()
    assert torch.equal(result.images[:3], images[:3]) and not result.best_step[:3].any()
    everything = transfer(trained["snn"], model, images, (model(images).argmax(1) + 1) % 4, attack=PGD)
    assert everything.success.all() and torch.equal(everything.images, images)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "cw"])
def test_every_forward_is_counted(name, trained, plain):
    model, images, labels = plain
    substitute, target = Counting(trained["snn"]), Counting(model)
    result = transfer(substitute, target, images, labels, attack=ATTACKS[name])
    # two images each to see that the models fit are no part of the attack
    assert result.forwards == substitute.seen + target.seen - 4
    assert result.backwards > 0


def test_to_itself_it_is_the_attack(plain):
    model, images, labels = plain
    result = transfer(model, model, images, labels, attack=PGD)
    assert torch.equal(result.success, PGD(model, images, labels).success | wrong(model, images, labels))
    assert result.success.any()


def test_models_are_left_as_they_were(trained, plain):
    _, images, labels = plain
    substitute, target = copy.deepcopy(trained["snn"]).train(), copy.deepcopy(trained["defended"]).train()
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (substitute, target)]
    transfer(substitute, target, images, labels, attack=PGD)
    for model, state in zip((substitute, target), before, strict=True):
        assert all(module.training for module in model.modules())
        assert all(p.requires_grad and p.grad is None for p in model.parameters())
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_target_needs_no_gradient(trained, plain):
    _, images, labels = plain

    class Detached(nn.Module):
        def forward(self, images):
            assert not torch.is_grad_enabled()
            return trained["cnn"](images.detach())

    result = transfer(trained["snn"], Detached(), images, labels, attack=PGD)
    assert torch.equal(result.success, wrong(trained["cnn"], result.images, labels))


@dataclass(frozen=True)
class Plain:
    """An attack with neither of the settings."""

    name: str = "plain"

    def __call__(self, model, images, labels):
        count = len(images)
        nothing = torch.zeros(count, dtype=torch.bool)
        return AttackResult(images, nothing, nothing.long(), torch.zeros(1, count), count, 0)


def test_full_strength():
    assert full_strength(replace(PGD, stop_early=True, keep="last")) == PGD
    assert full_strength(Plain()) == Plain()


@pytest.mark.parametrize(
    ("substitute", "target", "count", "message"),
    [
        ("one channel", "cnn", 16, r"the substitute does not fit: .*channel.* must take the same images"),
        ("cnn", "one channel", 16, r"the target does not fit: .*channel.* must take the same images"),
        ("cnn", "cnn", 0, "no images"),
    ],
)
def test_what_does_not_fit_is_named(substitute, target, count, message, trained, plain):
    _, images, labels = plain
    with pytest.raises(InputError, match=message):
        transfer(trained[substitute], trained[target], images[:count], labels[:count], attack=PGD)


def test_classes_must_be_known_to_both(trained, plain):
    model, images, labels = plain
    narrow = nn.Sequential(model, nn.Linear(4, 2))
    with pytest.raises(InputError, match="the target does not fit: labels: must be at least 0 and at most 1"):
        transfer(trained["snn"], narrow, images, labels, attack=PGD)
