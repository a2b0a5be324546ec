"""What the loops do to losses, rates, weights; and what they must not touch."""

import copy
import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from purespike.data import augment, load_data
from purespike.losses import true_noise_level
from purespike.models import create
from purespike.recipe import Training
from purespike.training import accelerator, train_classifier, train_purifier
from purespike.training.batches import batches
from purespike.training.state import TrainingState, read_history
from training.tiny import finished, history, recipe


@pytest.fixture(scope="module")
def data():
    digits = load_data("digits")
    return type(digits)("digits", digits.train.take(60, seed=0), digits.test.take(20, seed=0))


@pytest.fixture
def cpu():
    return accelerator(device="cpu")


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return create("resnet14_snn", width=0.05, time_steps=2).eval()


def rows(folder, stage):
    return [row for row in read_history(folder / "history.jsonl") if row["stage"] == stage]


# ---- the classifier


def test_a_classifier_learns_what_it_sees(data, cpu, tmp_path):
    settings = recipe(
        classifier={
            "width": 0.125,
            "epochs": 8,
            "batch_size": 6,
            "learning_rate": 0.1,
            "crop_padding": 0,
            "flip": False,
            "milestones": [],
        }
    ).classifier
    trained = train_classifier(settings, data, folder=tmp_path, seed=0, accelerator=cpu)
    losses = [row["loss"] for row in rows(tmp_path, "classifier")[1:]]
    assert losses[-1] < 0.85 * math.log(10) < losses[0], "better than guessing, which it began with"
    assert rows(tmp_path, "classifier")[-1]["accuracy"] > 0.2
    assert not trained.training and trained.class_names == data.train.class_names


def test_the_learning_rate_falls_after_each_milestone(data, cpu, tmp_path):
    settings = recipe(
        classifier={"epochs": 4, "milestones": [1, 3], "learning_rate": 0.08, "decay_factor": 0.5}
    ).classifier
    train_classifier(settings, data, folder=tmp_path, seed=0, accelerator=cpu)
    rates = [row["learning_rate"] for row in rows(tmp_path, "classifier")[1:]]
    assert rates == pytest.approx([0.08, 0.04, 0.04, 0.02])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_decides_the_weights(data, cpu, tmp_path, seed):
    settings = recipe(classifier={"epochs": 1}).classifier
    torch.manual_seed(77 * (seed + 1))  # the global generator does not
    made = [
        train_classifier(settings, data, folder=tmp_path / name, seed=s, accelerator=cpu).state_dict()
        for name, s in (("a", seed), ("b", seed), ("c", seed + 1))
    ]
    same, other = (
        all(torch.equal(made[0][key], made[i][key]) for key in made[0] if "num_batches" not in key)
        for i in (1, 2)
    )
    assert same and not other


@pytest.mark.parametrize("stage", ["classifier", "purifier"])
def test_half_precision_trains(data, tmp_path, stage):
    half = accelerator(device="cpu", precision="bf16")
    if stage == "classifier":
        settings = recipe(classifier={"epochs": 1}).classifier
        model = train_classifier(settings, data, folder=tmp_path, seed=0, accelerator=half)
    else:
        victim = create("resnet14_snn", width=0.05, time_steps=2).eval()
        settings = recipe(purifier={"epochs": 1}).purifier
        model = train_purifier(settings, victim, data.train, folder=tmp_path, seed=0, accelerator=half)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert math.isfinite(rows(tmp_path, stage)[-1]["loss"])
    accelerator(device="cpu")  # later tests are not to inherit the precision


# ---- the purifier


def test_a_purifier_learns_to_restore(data, cpu, classifier, tmp_path):
    settings = recipe(
        purifier={"epochs": 5, "batch_size": 6, "learning_rate": 3e-3, "switch_epoch": 99, "width": 0.2}
    ).purifier
    train_purifier(settings, classifier, data.train, folder=tmp_path, seed=0, accelerator=cpu)
    found = rows(tmp_path, "purifier")[1:]
    assert found[-1]["loss"] < 0.9 * found[0]["loss"]
    assert found[-1]["reconstruction"] < 0.9 * found[0]["reconstruction"], "not the noise level alone"
    for row in found:
        total = row["reconstruction"] + 0.5 * row["asymmetric"] + 0.05 * row["total_variation"]
        assert row["loss"] == pytest.approx(total, rel=1e-4)


def test_the_classifier_stays_frozen(data, cpu, classifier, tmp_path):
    classifier.stem.requires_grad_(False)
    before = copy.deepcopy(classifier.state_dict())
    learnable = [parameter.requires_grad for parameter in classifier.parameters()]
    settings = recipe(purifier={"epochs": 1}).purifier
    train_purifier(settings, classifier, data.train, folder=tmp_path, seed=0, accelerator=cpu)
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert [parameter.requires_grad for parameter in classifier.parameters()] == learnable


def test_a_classifier_in_training_mode_is_frozen_too(data, cpu, classifier, tmp_path):
    """Its batch norms would otherwise learn from the attack."""
    classifier.train()
    before = copy.deepcopy(classifier.state_dict())
    settings = recipe(purifier={"epochs": 1}).purifier
    train_purifier(settings, classifier, data.train, folder=tmp_path, seed=0, accelerator=cpu)
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())


def test_any_module_can_be_defended(data, cpu, tmp_path):
    settings = recipe(purifier={"epochs": 1}).purifier
    foreign = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    train_purifier(settings, foreign, data.train, folder=tmp_path, seed=0, accelerator=cpu)
    assert len(rows(tmp_path, "purifier")) == 2


def test_no_layer_of_the_purifier_is_silent_or_saturated_before_and_after_training():
    first, *_, last = (row for row in history(finished()) if row["stage"] == "purifier")
    assert first["epoch"] == 0 and last["epoch"] == 2
    for row in (first, last):
        assert len(row["firing_rates"]) == 20, "every layer is watched"
        assert all(0.01 < rate < 0.95 for rate in row["firing_rates"].values()), row["firing_rates"]


def test_every_layer_of_the_classifier_is_watched():
    first, *_, last = (row for row in history(finished()) if row["stage"] == "classifier")
    assert first["firing_rates"].keys() == last["firing_rates"].keys()
    assert all(0 < rate < 1 for rate in first["firing_rates"].values())


def test_clean_and_adversarial_images_are_moved_alike(data, cpu, classifier, tmp_path, monkeypatch):
    """With an attack of no strength both are the same image, and must still be after the augmentation."""
    import purespike.training.purifier as training

    seen = []

    def watched(images, augmentation):
        seen.append((images, moved := augment(images, augmentation)))
        return moved

    monkeypatch.setattr(training, "augment", watched)
    settings = recipe(
        purifier={"epochs": 2, "crop_padding": 3, "attack": {"name": "fgsm", "eps": 0}}
    ).purifier
    train_purifier(settings, classifier, data.train, folder=tmp_path, seed=0, accelerator=cpu)
    pairs = list(zip(seen[::2], seen[1::2], strict=True))
    assert len(pairs) == 6
    for (clean, moved_clean), (adversarial, moved_adversarial) in pairs:
        torch.testing.assert_close(clean, adversarial, rtol=0, atol=2e-6)
        torch.testing.assert_close(moved_clean, moved_adversarial, rtol=0, atol=2e-6)
        assert not torch.equal(clean, moved_clean)


@pytest.fixture
def met(monkeypatch):
    """Of each step: its loss, the images shown and their clean versions."""
    import purespike.training.objectives.paper as training

    calls = []

    def watched(restored, noise_level, clean, shown, **settings):
        found = original(restored, noise_level, clean, shown, **settings)
        calls.append((found, shown, clean))
        return found

    original = training.purification_loss
    monkeypatch.setattr(training, "purification_loss", watched)
    return calls


@pytest.mark.parametrize(("share", "counts"), [(0.0, [0, 0, 0]), (0.3, [8, 8, 3]), (0.5, [12, 12, 5])])
def test_a_share_of_each_batch_is_clean(data, cpu, classifier, tmp_path, met, share, counts):
    """Of batches of 25, 25 and 10 images; a clean one is shown without noise, moved as it is."""
    settings = recipe(purifier={"epochs": 2, "clean_share": share, "crop_padding": 3}).purifier
    train_purifier(settings, classifier, data.train, folder=tmp_path, seed=0, accelerator=cpu)
    still = [((shown - clean).abs().amax((1, 2, 3)) < 1e-5).sum().item() for _, shown, clean in met]
    assert still == counts * 2
    orders = [{tuple(image[0, 8].tolist()) for image in clean[: counts[0]]} for _, _, clean in met[::3]]
    assert share == 0 or orders[0] != orders[1], "others in the next epoch"


@pytest.mark.parametrize("level", ["absolute", "signed", "local_std"])
def test_the_noise_level_is_read_as_the_recipe_says(data, cpu, classifier, tmp_path, met, level):
    settings = recipe(purifier={"epochs": 1, "noise_level": level}).purifier
    train_purifier(settings, classifier, data.train, folder=tmp_path, seed=0, accelerator=cpu)
    assert len(met) == 3
    found, shown, clean = met[0]
    # the estimator begins at zero, so that the first asymmetric loss is that of the level itself
    true = true_noise_level(shown - clean, level=level)
    expected = (torch.where(true > 0, 0.7, 0.3) * true.square()).mean().item()
    assert found.asymmetric.item() == pytest.approx(expected, rel=1e-5)


# ---- batches


@dataclass
class Processes:
    """All that :func:`batches` asks of an accelerator."""

    num_processes: int = 1
    process_index: int = 0


def drawn(count, *, world=1, rank=0, seed=0, epoch=1, batch_size=8):
    settings = Training(epochs=1, batch_size=batch_size, learning_rate=1, crop_padding=2)
    return list(batches(count, settings, seed=seed, epoch=epoch, accelerator=Processes(world, rank)))


@pytest.mark.parametrize(("count", "batch_size"), [(30, 8), (32, 8), (5, 8), (9, 1)])
def test_an_epoch_shows_every_image_once(count, batch_size):
    found = torch.cat([chosen for chosen, _ in drawn(count, batch_size=batch_size)])
    assert sorted(found.tolist()) == list(range(count))


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("count", [30, 31, 32])
def test_processes_share_an_epoch_in_equal_parts(world, count):
    parts = [drawn(count, world=world, rank=rank) for rank in range(world)]
    sizes = [[len(chosen) for chosen, _ in part] for part in parts]
    assert all(size == sizes[0] for size in sizes), "one gradient exchange per step, on as many images"
    together = [index for part in parts for chosen, _ in part for index in chosen.tolist()]
    assert len(set(together)) == len(together), "no image twice"
    assert count - len(together) < world * len(parts[0]), "left out is only what cannot be shared"
    # one process would make the same steps on the same images
    alone = [set(chosen.tolist()) for chosen, _ in drawn(count)]
    for whole, *shares in zip(alone, *parts, strict=False):
        assert set().union(*(chosen.tolist() for chosen, _ in shares)) <= whole


def test_batches_depend_on_seed_and_epoch_alone():
    def flat(**settings):
        torch.rand(3)
        found = drawn(20, **settings)
        return [
            (chosen.tolist(), a.rows.tolist(), a.columns.tolist(), a.flip.tolist()) for chosen, a in found
        ]

    assert flat() == flat()
    assert flat() != flat(epoch=2) and flat() != flat(seed=1)
    shifts = [tuple(rows) for _, rows, _, _ in flat()]
    assert len(set(shifts)) == len(shifts), "batches are not all shifted alike"


# ---- the state on disk


def trained_a_little(make, steps=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    optimiser = make(model.parameters())
    advance(model, optimiser, steps)
    return model, optimiser


def advance(model, optimiser, steps):
    draw = torch.Generator().manual_seed(5)
    for _ in range(steps):
        optimiser.zero_grad()
        model(torch.rand((6, 3, 8, 8), generator=draw)).square().mean().backward()
        optimiser.step()


OPTIMISERS = {
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4),
    "sgd without momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01),
    "amsgrad": lambda parameters: torch.optim.Adam(parameters, lr=0.01, amsgrad=True, betas=(0.8, 0.9)),
}


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS.keys())
def test_a_restored_state_goes_on_exactly_as_the_saved_one(make, tmp_path):
    model, optimiser = trained_a_little(make)
    TrainingState(tmp_path, "classifier", model, optimiser).save(4, {"loss": 0.5})
    again, fresh = trained_a_little(make, steps=0)
    state = TrainingState(tmp_path, "classifier", again, fresh)
    assert state.restore() == 4
    assert state.history == [{"stage": "classifier", "epoch": 4, "loss": 0.5}]
    for pair in ((model, optimiser), (again, fresh)):
        advance(*pair, 3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_nothing_saved_is_nothing_restored(tmp_path):
    model, optimiser = trained_a_little(OPTIMISERS["adam"])
    assert TrainingState(tmp_path, "classifier", model, optimiser).restore() == 0


def test_stages_keep_each_others_history(tmp_path):
    model, optimiser = trained_a_little(OPTIMISERS["adam"])
    first, second = (TrainingState(tmp_path, s, model, optimiser) for s in ("classifier", "purifier"))
    first.save(0, {})
    first.save(1, {"loss": 1.0})
    second.save(0, {})
    assert second.history_path.read_text().count("\n") == 3
    again = TrainingState(tmp_path, "purifier", model, optimiser)
    assert again.restore() == 0
    again.save(0, {})  # killed after epoch 0 was saved: it is saved again
    kept = [(row["stage"], row["epoch"]) for row in read_history(tmp_path / "history.jsonl")]
    assert kept == [("classifier", 0), ("classifier", 1), ("purifier", 0)]
