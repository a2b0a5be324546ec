"""The loops against plain ones; and parts of an objective with state, draws and several steps a batch."""

import copy
import multiprocessing
import time

import pytest
import torch
from torch.nn import functional

from purespike import InputError, load
from purespike.data import augment, load_data
from purespike.experiment import Run, share_of
from purespike.losses import purification_loss
from purespike.models import Purifier
from purespike.models.checkpoint import read_tensors
from purespike.models.predict import as_float
from purespike.seeding import seeded
from purespike.training import accelerator, build_classifier, train_classifier, train_purifier
from purespike.training.batches import batches
from purespike.training.purifier import build_purifier
from training import parts
from training.tiny import checkpoint, finished, history, recipe, write_recipe


@pytest.fixture(scope="module")
def data():
    return share_of(recipe(), load_data("digits"))


@pytest.fixture
def cpu():
    return accelerator(device="cpu")


def equal(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def epochs_of(settings, data, cpu):
    for epoch in range(1, settings.epochs + 1):
        for rows, moved in batches(len(data), settings, seed=3, epoch=epoch, accelerator=cpu):
            yield epoch, rows, as_float(augment(data.images[rows], moved)), moved


def test_a_classifier_is_trained_as_by_a_plain_loop(data, cpu, tmp_path):
    """Outcome for bit, with the rate of each epoch written out."""
    settings = recipe(classifier={"epochs": 3, "milestones": [1, 2], "decay_factor": 0.1}).classifier
    found = train_classifier(settings, data, folder=tmp_path, seed=3, accelerator=cpu)
    model = build_classifier(settings, data, seed=3).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for epoch, rows, images, _ in epochs_of(settings, data.train, cpu):
        optimiser.param_groups[0]["lr"] = 0.05 * 0.1 ** (epoch - 1)
        loss = functional.cross_entropy(model(images), data.train.labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert equal(found, model.eval())


def test_a_purifier_is_trained_as_by_a_plain_loop(data, cpu, tmp_path):
    """Against an attack of no strength, so that the images it made are at hand."""
    settings = recipe(purifier={"attack": {"name": "fgsm", "eps": 0}}).purifier
    classifier = build_classifier(recipe().classifier, data, seed=0).eval()
    found = train_purifier(settings, classifier, data.train, folder=tmp_path, seed=3, accelerator=cpu)
    purifier = build_purifier(settings, data.train, as_float(data.train.images[:64]), seed=3).train()
    optimiser = torch.optim.Adam(purifier.parameters(), lr=1e-3)
    for epoch, _, images, _ in epochs_of(settings, data.train, cpu):
        purified = purifier(images)
        loss = purification_loss(*purified, images, images, beta=1.0 if epoch < 2 else 0.5).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert equal(found, purifier.eval())


def test_neurons_that_draw_are_calibrated_with_the_numbers_of_the_seed(data, monkeypatch):
    settings, sample, drawn = recipe().purifier, as_float(data.train.images[:4]), []
    monkeypatch.setattr(Purifier, "calibrate", lambda self, images: drawn.append(torch.rand(()).item()))
    for seed in (3, 3, 4):
        torch.rand(())
        build_purifier(settings, data.train, sample, seed=seed)
    assert drawn[0] == drawn[1] != drawn[2]


def test_several_steps_a_batch_are_those_of_a_plain_loop(data, cpu, tmp_path):
    settings = recipe(classifier={"objective": "halves"}).classifier
    found = train_classifier(settings, data, folder=tmp_path, seed=3, accelerator=cpu)
    model = build_classifier(settings, data, seed=3).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for epoch, rows, images, _ in epochs_of(settings, data.train, cpu):
        optimiser.param_groups[0]["lr"] = 0.05 if epoch == 1 else 0.05 * 0.1
        images.requires_grad_()
        for _ in range(2):
            shown = images if images.grad is None else images.detach() + 0.01 * images.grad.sign()
            optimiser.zero_grad()
            functional.cross_entropy(model(shown), data.train.labels[rows]).backward()
            optimiser.step()
    assert equal(found, model.eval())
    assert history(tmp_path)[-1]["passes"] == 2 * len(data.train)


def test_projections_follow_each_step(data, cpu, tmp_path):
    """Of a step of the optimiser too small to count there is left what the projection did, step by step."""
    settings = recipe(
        classifier={"epochs": 1, "learning_rate": 1e-30, "objective": ["halves", "jitter"]}
    ).classifier
    found = train_classifier(settings, data, folder=tmp_path, seed=3, accelerator=cpu)
    model = build_classifier(settings, data, seed=3)
    with torch.no_grad():
        for number in range(3):
            for index in range(2):
                with seeded(3, "classifier", "step", 1, number, index, "jitter", device=cpu.device):
                    parts.jitter(model)
    for (name, one), other in zip(found.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other), name


# ---- draws


STOCHASTIC = {
    "architecture": "dropout_snn",
    "epochs": 3,
    "objective": [
        {"name": "pgd", "steps": 2},
        "random_logits",
        {"name": "input_gradient", "weight": 1e-3},
        "jitter",
    ],
    "schedule": "one_cycle",
}


def stopped_after(folder, epochs, train, monkeypatch, module):
    """Interrupt a training in the epoch after the first ones; the global generators then move on."""
    kept = module.augment
    calls = []

    def interrupted(images, augmentation):
        calls.append(1)
        if len(calls) > 3 * epochs + 1:
            raise KeyboardInterrupt
        return kept(images, augmentation)

    with monkeypatch.context() as patch:
        patch.setattr(module, "augment", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(folder)
    torch.rand(7)


def test_a_stochastic_classifier_resumes_bit_for_bit(data, cpu, tmp_path, monkeypatch):
    import purespike.training.classifier as module

    settings = recipe(classifier=STOCHASTIC).classifier

    def train(folder):
        return train_classifier(settings, data, folder=folder, seed=3, accelerator=cpu)

    for epochs in (1, 1):
        stopped_after(tmp_path / "stopped", epochs, train, monkeypatch, module)
    assert equal(train(tmp_path / "stopped"), train(tmp_path / "straight"))
    assert history(tmp_path / "stopped") == history(tmp_path / "straight")
    assert {"random_logits", "input_gradient"} <= history(tmp_path / "straight")[-1].keys()


def test_batches_and_epochs_draw_different_numbers(data, cpu, tmp_path, monkeypatch):
    drawn = []
    kept = torch.randn_like
    monkeypatch.setattr(parts.torch, "randn_like", lambda x: drawn.append(kept(x)) or drawn[-1])
    settings = recipe(classifier={"objective": "random_logits"}).classifier
    train_classifier(settings, data, folder=tmp_path, seed=3, accelerator=cpu)
    assert len({tuple(values[0].tolist()) for values in drawn}) == len(drawn) == 6


def test_a_purifier_with_a_random_penalty_resumes_bit_for_bit(data, cpu, tmp_path, monkeypatch):
    import purespike.training.purifier as module

    settings = recipe(
        purifier={"objective": ["paper", "random_logits", "jitter"], "schedule": "cosine"}
    ).purifier
    classifier = build_classifier(recipe(classifier=STOCHASTIC).classifier, data, seed=0)
    before = copy.deepcopy(classifier.state_dict())

    def train(folder):
        return train_purifier(settings, classifier, data.train, folder=folder, seed=3, accelerator=cpu)

    stopped_after(tmp_path / "stopped", 2, train, monkeypatch, module)
    assert equal(train(tmp_path / "stopped"), train(tmp_path / "straight"))
    assert history(tmp_path / "stopped") == history(tmp_path / "straight")
    assert history(tmp_path / "straight")[-1]["random_logits"] != 0
    assert classifier.training and all(torch.equal(a, before[k]) for k, a in classifier.state_dict().items())


@pytest.mark.slow
def test_a_stochastic_training_that_is_killed_goes_on_as_if_never_killed(data, cpu, tmp_path):
    """SIGKILL after the first epoch, in a process of its own."""
    folder, path = tmp_path / "run", write_recipe(tmp_path / "tiny.yaml", classifier=STOCHASTIC)
    arguments = ["train", "classifier", str(path), "--out", str(folder), "--device", "cpu"]
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=parts.command_with_parts, args=(arguments,))
    process.start()
    until = time.monotonic() + 120
    while process.is_alive() and not any(row["epoch"] == 1 for row in history(folder)):
        assert time.monotonic() < until
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -9 and not (folder / "classifier.safetensors").exists()
    settings = recipe(classifier=STOCHASTIC).classifier
    for place in (folder, tmp_path / "straight"):
        train_classifier(settings, data, folder=place, seed=3, accelerator=cpu)
    name = "checkpoint/classifier.safetensors"
    assert checkpoint(folder / name)[0] == checkpoint(tmp_path / "straight" / name)[0]


# ---- stages


def test_a_part_prepares_itself_once_and_finishes_the_model(data, cpu, tmp_path, monkeypatch):
    """Resumed, it takes back its teacher, who would be another one of the network as it is by then."""
    import purespike.training.classifier as module

    made = []
    kept = parts.Follow.__init__
    monkeypatch.setattr(parts.Follow, "__init__", lambda self, **s: kept(self, **s) or made.append(self))
    settings = recipe(classifier={"objective": {"name": "follow", "noise": 0.2}, "epochs": 2}).classifier

    def train(folder):
        return train_classifier(settings, data, folder=folder, seed=3, accelerator=cpu)

    stopped_after(tmp_path / "stopped", 1, train, monkeypatch, module)
    found, straight = train(tmp_path / "stopped"), train(tmp_path / "straight")
    assert [part.calls for part in made] == [["prepare"], ["restore", "finish"], ["prepare", "finish"]]
    assert equal(made[1].teacher, made[2].teacher) and equal(found, straight)
    assert (found.readout.bias == -0.25).all(), "what finish did is in the model that is saved"
    again = train(tmp_path / "stopped")
    assert equal(again, found) and made[-1].calls == ["restore", "finish"]
    tensors, _ = checkpoint(tmp_path / "straight" / "checkpoint" / "classifier.safetensors")
    assert "objective/follow/readout.bias" in tensors


@pytest.mark.parametrize("stage", ["classifier", "purifier"])
def test_a_training_that_diverges_stops_and_keeps_the_last_good_epoch(tmp_path, stage):
    broken = recipe(**{stage: {"learning_rate": 1e30}})
    run = Run(broken, tmp_path, accelerator(device="cpu"))
    data = run.data()
    classifier = load(finished() / "classifier.safetensors")
    says = rf"{stage}: training diverged: .*lower {stage}\.learning_rate \(1e\+30\)"
    with pytest.raises(InputError, match=says):
        run.classifier(data) if stage == "classifier" else run.purifier(data, classifier)
    assert not (tmp_path / f"{stage}.safetensors").exists()
    tensors, metadata = read_tensors(tmp_path / "checkpoint" / f"{stage}.safetensors")
    assert metadata["epoch"] == "0"
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values() if tensor.is_floating_point())
