"""Adversarial examples: right, kept, and crafted again when what is kept does not fit."""

import copy

import pytest
import torch

from purespike import InputError
from purespike.attacks import SignAttack, create_attack
from purespike.data import load_data
from purespike.models import create
from purespike.models.checkpoint import read_tensors
from purespike.models.predict import as_float
from purespike.seeding import derive
from purespike.training import accelerator
from purespike.training import examples as module
from purespike.training.examples import craft

BATCH = 5


@pytest.fixture(scope="module")
def data():
    return load_data("digits").train.take(23, seed=0)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return create("resnet14_snn", width=0.05, time_steps=2).eval()


@pytest.fixture
def calls(monkeypatch):
    """Batches that were attacked; and shards so small that there are several."""
    monkeypatch.setattr(module, "SHARD", 10)
    count = []

    def counted(original):
        def attack(self, *arguments):
            count.append(len(arguments[1]))
            return original(self, *arguments)

        return attack

    for name in ("__call__", "perturb"):
        monkeypatch.setattr(SignAttack, name, counted(getattr(SignAttack, name)))
    return count


def make(classifier, data, folder, attack=None, seed=0):
    return craft(
        classifier,
        data,
        attack or create_attack("fgsm", eps="16/255"),
        folder=folder,
        seed=seed,
        batch_size=BATCH,
        accelerator=accelerator(device="cpu"),
    )


ATTACKS = {
    "whole levels": create_attack("fgsm", eps="16/255"),
    "odd levels": create_attack("fgsm", eps=0.0333),
    "random start": create_attack("pgd", eps="8/255", steps=2),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_examples_are_the_attacked_images_in_order(classifier, data, calls, tmp_path, attack):
    from dataclasses import replace

    found = make(classifier, data, tmp_path, attack)
    expected = []
    for shard in range(0, len(data), module.SHARD):
        for start in range(shard, min(shard + module.SHARD, len(data)), BATCH):
            rows = slice(start, min(start + BATCH, shard + module.SHARD))
            seeded = replace(attack, seed=derive(0, "craft", start))
            expected.append(seeded(classifier, data.to_float()[rows], data.labels[rows]).images)
    assert found.shape == data.images.shape
    torch.testing.assert_close(as_float(found), torch.cat(expected), rtol=0, atol=2e-6)
    assert (found.dtype == torch.uint8) == (attack is ATTACKS["whole levels"])
    assert (as_float(found) - data.to_float()).abs().max() <= attack.eps + 2e-6


def test_whole_levels_take_a_byte_and_lose_nothing():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    for shift in (0.0, 1e-6, -1e-6):
        stored = module._compact((levels.float() / 255 + shift).clamp(0, 1))
        assert stored.dtype == torch.uint8 and torch.equal(stored, levels)
    between = levels.float() / 255
    between[0, 0, 3, 3] += 1e-4
    assert torch.equal(module._compact(between), between)


def test_a_second_call_attacks_nothing(classifier, data, calls, tmp_path):
    first = make(classifier, data, tmp_path)
    assert sum(calls) == len(data) and len(list(tmp_path.iterdir())) == 3
    calls.clear()
    assert torch.equal(make(classifier, data, tmp_path), first)
    assert not calls


def whole_shard(folder):
    """One of the shards of ten images; the last one holds fewer."""
    return next(path for path in folder.iterdir() if len(read_tensors(path)[0]["images"]) == 10)


def test_only_the_missing_shard_is_crafted(classifier, data, calls, tmp_path):
    first = make(classifier, data, tmp_path)
    whole_shard(tmp_path).unlink()
    calls.clear()
    assert torch.equal(make(classifier, data, tmp_path), first)
    assert sum(calls) == 10


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_a_damaged_shard_is_crafted_again(classifier, data, calls, tmp_path, keep):
    first = make(classifier, data, tmp_path)
    path = whole_shard(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    calls.clear()
    assert torch.equal(make(classifier, data, tmp_path), first)
    assert sum(calls) == 10


def other_weight(classifier):
    changed = copy.deepcopy(classifier)
    with torch.no_grad():
        changed.readout.bias[0] += 1e-3
    return changed


def other_statistics(classifier):
    changed = copy.deepcopy(classifier)
    next(b for name, b in changed.named_buffers() if "running_mean" in name).add_(1e-3)
    return changed


@pytest.mark.parametrize("change", [other_weight, other_statistics])
def test_another_classifier_gets_examples_of_its_own(classifier, data, calls, tmp_path, change):
    make(classifier, data, tmp_path)
    calls.clear()
    make(change(classifier), data, tmp_path)
    assert sum(calls) == len(data)


@pytest.mark.parametrize(
    "change",
    [
        {"attack": create_attack("fgsm", eps="8/255")},
        {"attack": create_attack("fgsm", eps="16/255", loss="margin")},
        {"seed": 1},
    ],
)
def test_another_attack_or_seed_gets_examples_of_its_own(classifier, data, calls, tmp_path, change):
    make(classifier, data, tmp_path)
    calls.clear()
    make(classifier, data, tmp_path, **change)
    assert sum(calls) == len(data)


def test_other_images_get_examples_of_their_own(classifier, data, calls, tmp_path):
    make(classifier, data, tmp_path)
    calls.clear()
    other = make(classifier, data.take(17, seed=1), tmp_path)
    assert sum(calls) == 17 == len(other)


def test_labels_the_classifier_does_not_know_are_refused(data, tmp_path):
    small = create("resnet14_snn", width=0.05, time_steps=1, num_classes=4).eval()
    with pytest.raises(InputError, match="labels: must be at least 0 and at most 3"):
        make(small, data, tmp_path)
    assert not list(tmp_path.iterdir())
