"""Training under Gaussian noise: the formulas, the switch, and what is left alone."""

import copy

import pytest
import torch
from torch import nn

import purespike.training.purifier as training
from purespike import InputError
from purespike.data import load_data
from purespike.experiment import share_of
from purespike.models import Purifier, create
from purespike.training import accelerator, train_purifier
from purespike.training.objectives import Batch, create_objective
from purespike.training.objectives.gaussian import draw_sigma
from training.tiny import history, recipe


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(2)
    return torch.rand((6, 1, 4, 4), generator=draw, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.fixture
def purifier():
    torch.manual_seed(0)
    made = Purifier(in_channels=1, width=0.05, time_steps=2).double()
    nn.init.normal_(made.denoiser.last.weight, std=0.1)
    nn.init.normal_(made.estimator.last.weight, std=0.1)
    return made


@pytest.fixture
def classifier():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 4)).double().train()


def step_of(settings, *given, stage="purifier", progress=0.0, **named):
    torch.manual_seed(7)
    (step,) = create_objective(settings, stage=stage).steps(Batch(*given, progress=progress, **named))
    return step


def noisy(images, sigma):
    """The images that a step draws."""
    torch.manual_seed(7)
    sigmas = draw_sigma(images, sigma)
    return images + sigmas * torch.randn_like(images), sigmas


def test_the_denoiser_starts_with_the_squared_error_of_pixels(batch, purifier, classifier):
    images, labels = batch
    adversarial = images + 5
    step = step_of(
        {"name": "denoise", "sigma": 0.5, "loss": "stability", "noise_weight": 0.25},
        *(purifier, adversarial, labels),
        clean=images,
        classifier=classifier,
    )
    shown, _ = noisy(images, (0.5,))
    assert shown.min() < -0.2 and shown.max() > 1.2, "not clipped"
    found = purifier(shown)
    pixel = ((found.images - images) ** 2).mean()
    level = ((found.noise_level - 0.5) ** 2).mean()
    assert step.loss.item() == pytest.approx((pixel + 0.25 * level).item(), rel=1e-12)
    assert step.terms.keys() == {"pixel", "noise_map"}


@pytest.mark.parametrize("loss", ["stability", "labels"])
def test_then_it_minimises_the_loss_of_the_frozen_classifier(batch, purifier, classifier, loss):
    images, labels = batch
    before = copy.deepcopy(classifier.state_dict())
    settings = {"name": "denoise", "sigma": [0.1, 0.6], "loss": loss, "pixel_share": 0.5}
    with torch.no_grad():
        answers = classifier.eval()(images).argmax(1)
    assert not torch.equal(answers, labels)
    step = step_of(settings, purifier, images, labels, classifier=classifier, progress=0.5)
    shown, sigmas = noisy(images, (0.1, 0.6))
    found = purifier(shown)
    target = answers if loss == "stability" else labels
    rows = classifier(found.images).log_softmax(1)
    expected = -sum(row[int(label)] for row, label in zip(rows, target, strict=True)) / 6
    level = ((found.noise_level - sigmas) ** 2).mean()
    assert step.terms[loss].item() == pytest.approx(expected.item(), rel=1e-12)
    assert step.loss.item() == pytest.approx((expected + 0.1 * level).item(), rel=1e-12)
    step.loss.backward()
    assert purifier.denoiser.last.weight.grad.abs().sum() > 0
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_the_label_free_target_is_that_of_the_classifier_in_evaluation_mode(batch, purifier, classifier):
    images, labels = batch
    settings = {"name": "denoise", "loss": "stability", "pixel_share": 0}
    seen = []
    classifier.register_forward_hook(lambda module, inputs, _: seen.append(module.training))
    step_of(settings, purifier, images, labels, classifier=classifier.train())
    assert seen[0] is False and classifier.training


@pytest.mark.parametrize(("share", "first"), [(0, 0), (0.25, 1), (0.5, 2), (0.6, 3), (1, 4)])
def test_the_pixel_loss_has_its_share_of_the_training(batch, purifier, classifier, share, first):
    settings = {"name": "denoise", "loss": "labels", "pixel_share": share}
    later = [
        "labels"
        in step_of(settings, purifier, *batch, classifier=classifier.eval(), progress=quarter / 4).terms
        for quarter in range(4)
    ]
    assert later == [quarter >= first for quarter in range(4)]


def test_training_with_noise_is_the_criterion_on_noisy_images(batch, classifier):
    images, labels = batch
    classifier.eval()
    step = step_of({"name": "noise", "sigma": 0.4}, classifier, images, labels, stage="classifier")
    shown, _ = noisy(images, (0.4,))
    assert step.loss.item() == pytest.approx(
        nn.functional.cross_entropy(classifier(shown), labels).item(), rel=1e-12
    )
    assert step.right.keys() == {"noisy_accuracy"}


def test_every_image_draws_its_own_sigma_from_the_range():
    torch.manual_seed(0)
    images = torch.zeros(4_000, 1, 2, 2)
    found = draw_sigma(images, (0.2, 0.6))
    assert found.shape == (4_000, 1, 1, 1) and 0.2 <= found.min() < 0.21 and 0.59 < found.max() <= 0.6
    assert found.mean() == pytest.approx(0.4, abs=0.01)
    assert (draw_sigma(images, (0.3,)) == torch.tensor(0.3)).all()


REFUSED = {
    "sigma": ({"sigma": -1}, "sigma: give a positive number"),
    "zero": ({"sigma": 0}, "sigma: give a positive number"),
    "order": ({"sigma": [0.5, 0.1]}, "sigma: give a positive number .* range"),
    "three": ({"sigma": [0.1, 0.2, 0.3]}, "sigma: give a positive number"),
    "word": ({"sigma": "loud"}, "sigma: 'loud' is neither a number"),
}


@pytest.mark.parametrize("stage", ["classifier", "purifier"])
@pytest.mark.parametrize(("given", "says"), REFUSED.values(), ids=REFUSED)
def test_noise_that_means_nothing_is_one_line(stage, given, says):
    name = "noise" if stage == "classifier" else "denoise"
    with pytest.raises(InputError, match=rf"{stage}.objective: .*{says}") as refused:
        create_objective({"name": name, **given}, stage=stage)
    assert "\n" not in str(refused.value)


def test_a_mistyped_loss_and_share_are_refused():
    with pytest.raises(InputError, match="loss: Input should be 'pixel', 'stability' or 'labels'"):
        create_objective({"name": "denoise", "loss": "stabilty"}, stage="purifier")
    with pytest.raises(InputError, match="pixel_share: "):
        create_objective({"name": "denoise", "pixel_share": 2}, stage="purifier")


def test_a_few_steps_of_denoising_bring_pixels_nearer():
    torch.manual_seed(3)
    purifier = Purifier(in_channels=1, width=0.1, time_steps=2).train()
    optimiser = torch.optim.Adam(purifier.parameters(), lr=1e-2)
    objective = create_objective({"name": "denoise", "sigma": 0.3}, stage="purifier")
    images = torch.rand(16, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    losses = []
    for _ in range(30):
        (step,) = objective.steps(Batch(purifier, images, torch.zeros(16, dtype=torch.long)))
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
        losses.append(step.terms["pixel"].item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_denoiser_stopped_after_an_epoch_ends_as_one_never_stopped(tmp_path, monkeypatch):
    tiny = recipe(purifier={"objective": {"name": "denoise", "sigma": [0.1, 0.3], "loss": "stability"}})
    data, cpu = share_of(tiny, load_data("digits")), accelerator(device="cpu")
    given = {"seed": 3, "accelerator": cpu}
    classifier = create("resnet14_snn", width=0.02, time_steps=1).eval()

    def denoiser(folder):
        return train_purifier(tiny.purifier, classifier, data.train, folder=folder, **given)

    augment, calls = training.augment, []

    def stopped(*arguments):
        calls.append(1)
        # two images of a batch, three batches an epoch
        if len(calls) == 9:
            raise KeyboardInterrupt
        return augment(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "augment", stopped)
        with pytest.raises(KeyboardInterrupt):
            denoiser(tmp_path / "stopped")
    found, straight = denoiser(tmp_path / "stopped"), denoiser(tmp_path / "straight")
    for name, value in straight.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    assert history(tmp_path / "stopped") == history(tmp_path / "straight")
    _, first, last = history(tmp_path / "straight")
    assert "stability" not in first and {"pixel", "noise_map", "stability"} <= last.keys()
