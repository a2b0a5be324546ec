"""Training of a purifier through the whole: the loss that it says, on the images that it says."""

import numpy as np
import pytest
import torch
from torch import nn

import purespike as ps
from purespike import InputError
from purespike.data import load_data
from purespike.experiment import Run, share_of
from purespike.models import Defended, Purifier
from purespike.neurons import surrogate_gradient
from purespike.training import accelerator, train_purifier
from purespike.training.objectives import Batch, Stage, create_objective
from purespike.training.objectives.end_to_end import OTHERS
from purespike.training.objectives.noise_fgsm import noise_fgsm
from purespike.training.objectives.overfitting import Guard
from training.stops import resumed_purifier
from training.tiny import checkpoint, history, recipe

EPS = 0.1
WHOLE = {"name": "end_to_end", "eps": EPS, "attack": "n_fgsm", "denoise": 0.0, "ramp": 0.0, "guard": 0}
WHOLE |= {"clean_share": 0.25, "kl": 0.5, "pixel": 0.1, "blur": 0.0}
NOTHING = dict.fromkeys(("ce", "clean_ce", "kl", "clean_kl", "trades", "features", "pixel"), 0.0)


@pytest.fixture
def classifier():
    torch.manual_seed(1)
    return (
        nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 4))
        .eval()
        .requires_grad_(False)
    )


def purifier_of(output="reconstruction"):
    torch.manual_seed(0)
    purifier = Purifier(in_channels=1, width=1 / 16, time_steps=2, output=output)
    nn.init.normal_(purifier.denoiser.last.weight, std=0.5)
    return purifier


def batch_of(purifier, classifier, *, labels=(0, 1, 2, 3, 0), **given):
    images = torch.rand((5, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    settings = {
        "classifier": classifier,
        "network": Defended(purifier, classifier),
        "seed": 7,
        "progress": 0.5,
    }
    return Batch(purifier, images, torch.tensor(labels), **{**settings, **given})


def step_of(settings, batch):
    (step,) = create_objective({**WHOLE, **settings}, stage="purifier").steps(batch)
    return step


def softmax(logits):
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def kl(p, q):
    return (p * np.log(p / q)).sum(1).mean()


def test_every_term_is_its_formula(classifier):
    purifier = purifier_of()
    batch = batch_of(purifier, classifier)
    weights = {
        "ce": 0.9,
        "clean_ce": 0.8,
        "kl": 0.7,
        "clean_kl": 0.6,
        "trades": 0.5,
        "features": 0.4,
        "pixel": 0.3,
    }
    step = step_of(weights, batch)
    with surrogate_gradient(batch.network, "rectangle(width=1)"):
        moved = noise_fgsm(
            batch.network,
            batch.clean[1:],
            lambda logits: nn.functional.cross_entropy(logits, batch.labels[1:], reduction="none"),
            eps=EPS,
            seed=batch.seed,
        )
    attacked = torch.cat((batch.clean[:1], moved))  # a quarter of five images, rounded, stays clean
    with torch.no_grad():
        pure, moved = purifier(batch.clean).images, purifier(attacked).images
        logits = {"x": classifier(batch.clean), "p": classifier(pure), "a": classifier(moved)}
        hidden = [classifier[:3](images).numpy() for images in (moved, pure)]
    p = {name: softmax(value.double().numpy()) for name, value in logits.items()}
    rows = np.arange(5)
    expected = {
        "ce": -np.log(p["a"][rows, batch.labels]).mean(),
        "clean_ce": -np.log(p["p"][rows, batch.labels]).mean(),
        "kl": kl(p["x"], p["a"]),
        "clean_kl": kl(p["x"], p["p"]),
        "trades": kl(p["p"], p["a"]),
        "features": np.abs(hidden[0] - hidden[1]).mean(),
        "pixel": (moved - batch.clean).abs().mean().item(),
    }
    assert step.terms.keys() == expected.keys()
    for name, value in expected.items():
        assert step.terms[name].item() == pytest.approx(value, rel=1e-4), name
    # the weight of the pixels has fallen to half of it, halfway through the training
    whole = sum(weights[name] * value * (0.5 if name == "pixel" else 1) for name, value in expected.items())
    assert step.loss.item() == pytest.approx(whole, rel=1e-4)
    assert step.passes == 1 + 2 + 1, "attack, both forwards, the classifier's own prediction"


def test_labels_that_are_not_wanted_are_not_looked_at(classifier):
    found = []
    for labels in ((0, 1, 2, 3, 0), (3, 3, 1, 0, 2)):
        purifier = purifier_of()
        settings = {"labels": False, "kl": 1.0, "clean_kl": 0.5}
        step = step_of(settings, batch_of(purifier, classifier, labels=labels))
        step.loss.backward()
        found.append([step.loss.detach(), *(p.grad for p in purifier.parameters() if p.grad is not None)])
    assert len(found[0]) > 10 and all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    with_labels = [
        step_of({}, batch_of(purifier_of(), classifier, labels=labels)).loss.item()
        for labels in ((0, 1, 2, 3, 0), (3, 3, 1, 0, 2))
    ]
    assert with_labels[0] != with_labels[1]


def test_the_attack_takes_its_surrogates_in_turn_and_its_budget_rises(classifier, monkeypatch):
    from purespike.training.objectives import end_to_end

    seen = []

    def spied(model, images, loss, *, eps, seed):
        seen.append((eps, str(model.purifier.denoiser.fire.surrogate)))
        return images

    monkeypatch.setattr(end_to_end, "noise_fgsm", spied)
    settings = {**WHOLE, "ramp": 0.5, "denoise": 0.2, "surrogates": ["atan(alpha=2)", "triangle(width=1)"]}
    objective = create_objective(settings, stage="purifier")
    purifier = purifier_of()
    for step, progress in enumerate((0.1, 0.2, 0.4, 0.6, 0.9)):
        list(objective.steps(batch_of(purifier, classifier, step=step, progress=progress)))
    assert [name for _, name in seen] == ["atan(alpha=2)", "triangle(width=1)", "atan(alpha=2)"]
    assert [eps for eps, _ in seen] == pytest.approx([0.5 * EPS, EPS, EPS]), (
        "none while denoising, 0 at first"
    )


def test_noise_fgsm_is_a_plain_loop(classifier):
    images = torch.rand((3, 1, 8, 8), generator=torch.Generator().manual_seed(3))
    labels, before = torch.tensor([1, 0, 2]), images.clone()
    moved = noise_fgsm(
        classifier,
        images,
        lambda logits: nn.functional.cross_entropy(logits, labels, reduction="none"),
        eps=0.1,
        seed=4,
    )
    again = noise_fgsm(
        classifier,
        images,
        lambda logits: nn.functional.cross_entropy(logits, labels, reduction="none"),
        eps=0.1,
        seed=4,
    )
    assert torch.equal(moved, again) and torch.equal(images, before)
    assert moved.min() >= 0 and moved.max() <= 1
    distance = (moved - images).abs()
    assert 0.1 < distance.max() <= 0.3 + 1e-6, "noise of two budgets, and a step of one, not projected"
    # the part of the step: undo it, and the gradient there points along it
    with torch.random.fork_rng():
        from purespike.seeding import generator

        noise = torch.empty(images.shape).uniform_(-0.2, 0.2, generator=generator(4, "noise"))
    noisy = (images + noise).clamp(0, 1).requires_grad_()
    loss = sum(-classifier(noisy).log_softmax(1)[row, label] for row, label in enumerate(labels))
    (gradient,) = torch.autograd.grad(loss, noisy)
    assert torch.equal(moved, (noisy.detach() + 0.1 * gradient.sign()).clamp(0, 1))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (NOTHING, "nothing asks for robustness"),
        ({**NOTHING, "pixel": 1.0}, "nothing asks for robustness"),
        ({"eps": 0}, "eps must be positive"),
        ({"surrogates": ["atan"] * 2 + ["rectangel"]}, "rectang"),
        ({"attack": "fgsm"}, "n_fgsm"),
        ({"surrogates": []}, "surrogates"),
        ({"surrogates": list(OTHERS), "guard": 8}, "leave one of triangle.* to the guard, or set guard to 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, line):
    with pytest.raises(InputError, match=line):
        create_objective({**WHOLE, **settings}, stage="purifier")


def test_features_need_a_linear_layer(classifier):
    images = nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten()).eval()
    with pytest.raises(InputError, match=r"features: Sequential has no torch\.nn\.Linear"):
        step_of({"features": 1.0}, batch_of(purifier_of(), images))


class Watched(Guard):
    """A guard that finds the accuracies it is told."""

    def __init__(self, accuracies):
        super().__init__("triangle(width=1)", EPS)
        self.accuracies = iter(accuracies)

    def _accuracy(self, stage):
        return next(self.accuracies)


def test_a_fall_brings_the_last_good_weights_back():
    model = nn.Linear(1, 1)
    data = load_data("digits16").train
    stage = Stage("purifier", model, data.take(500, seed=0), None, None, 0, None, held_out=data)
    guard, found = Watched([0.5, 0.6, 0.5, 0.3]), []
    for epoch in range(1, 41):
        nn.init.constant_(model.weight, epoch)
        found += [row["held_out_accuracy"] for row in [guard.look(stage, epoch)] if row]
        assert guard.tripped == (epoch == 40)
    assert found == [0.5, 0.6, 0.5, 0.3], "every 5,000 images: epochs 10, 20, 30, 40"
    assert model.weight.item() == 30
    again = Guard("triangle(width=1)", EPS)
    again.restore(guard.state())
    assert again.tripped and again.best == 0.3 and again.good["weight"].item() == 30


def holding(**changes):
    purifier = {
        "output": "reconstruction",
        "objective": [{"name": "end_to_end", "eps": EPS, "trades": 0.5, "guard": 6}],
        "epochs": 2,
        "average": 0.9,
        "clip": 1.0,
        "schedule": "one_cycle",
        **changes,
    }
    return recipe(data={"source": "digits16"}, classifier={"epochs": 1}, purifier=purifier)


def test_a_run_trains_through_the_whole_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    cpu, own = accelerator(device="cpu"), holding()
    data = share_of(own, load_data("digits16"))
    whole = Run(own, tmp_path / "whole", cpu)
    classifier = whole.classifier(data)
    expected = train_purifier(
        own.purifier, classifier, data.train, folder=tmp_path / "whole", seed=3, accelerator=cpu
    )
    assert not (tmp_path / "whole" / "checkpoint" / "adversarial").exists(), "no examples are crafted"
    rows = [row for row in history(tmp_path / "whole") if row["stage"] == "purifier"]
    assert [row["epoch"] for row in rows] == [0, 1, 2] and "trades" in rows[-1]
    assert expected.config["output"] == "reconstruction"

    found = resumed_purifier(
        own.purifier, classifier, data.train, tmp_path / "part", monkeypatch, seed=3, accelerator=cpu
    )
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    tensors, _ = checkpoint(tmp_path / "whole" / "checkpoint" / "purifier.safetensors")
    kept = {name: value.numpy().tobytes() for name, value in found.state_dict().items()}
    assert {name: tensors[f"average/module.{name}"] for name in kept} == kept, "the average is what is kept"
    assert any(tensors[f"model/{name}"] != value for name, value in kept.items())


@pytest.mark.parametrize(
    ("progress", "settings", "denoises"), [(0.1, {}, True), (0.2, {}, False), (0.1, {"denoise": 0.0}, False)]
)
def test_without_an_encoder_the_pixels_come_first(classifier, progress, settings, denoises):
    _check_denoising(purifier_of(), classifier, progress, denoises, settings)


@pytest.mark.parametrize(("settings", "denoises"), [({}, False), ({"denoise": 0.2}, True)])
def test_an_encoder_needs_no_denoising(classifier, settings, denoises):
    torch.manual_seed(0)
    purifier = Purifier(
        in_channels=1,
        width=1 / 16,
        time_steps=2,
        network="encoder_decoder",
        classes=4,
        output="reconstruction",
    )
    _check_denoising(purifier, classifier, 0.1, denoises, settings)


def _check_denoising(purifier, classifier, progress, denoises, settings):
    batch = batch_of(purifier, classifier, progress=progress)
    spec = {"name": "end_to_end", "eps": EPS, "guard": 0, **settings}
    (step,) = create_objective(spec, stage="purifier").steps(batch)
    assert (not step.terms) == denoises


def test_training_starts_from_the_weights_of_another_purifier(tmp_path):
    torch.manual_seed(5)
    former = Purifier(in_channels=1, width=0.1, time_steps=2)
    ps.save(former, tmp_path / "former.safetensors")
    from purespike.training.purifier import build_purifier

    data = load_data("digits16").train
    section = holding(start=str(tmp_path / "former.safetensors")).purifier
    begun = build_purifier(section, data, data.to_float()[:4], seed=0).state_dict()
    same = {name for name, value in former.state_dict().items() if torch.equal(value, begun[name])}
    assert former.state_dict().keys() - same <= {"denoiser.last.weight", "denoiser.last.bias"}
    with pytest.raises(InputError, match=r"purifier.start: .*former.safetensors has other settings"):
        build_purifier(
            holding(start=str(tmp_path / "former.safetensors"), width=0.2).purifier,
            data,
            data.to_float()[:4],
            seed=0,
        )


def test_denoising_asks_for_the_pixels_alone(classifier):
    purifier = purifier_of()
    called = []
    classifier.register_forward_hook(lambda *_: called.append(1))
    batch = batch_of(purifier, classifier, progress=0.1)
    torch.manual_seed(5)
    step = step_of({"denoise": 0.2, "sigma": 0.5}, batch)
    torch.manual_seed(5)
    sigma = 0.5 * torch.rand((5, 1, 1, 1))
    painted = purifier(batch.clean + sigma * torch.randn_like(batch.clean)).images
    assert step.loss.item() == pytest.approx((painted - batch.clean).abs().mean().item(), rel=1e-6)
    assert not called and step.passes == 1
