"""Defensive distillation: its two losses, its teacher, and the masking that it is the control for."""

import copy

import pytest
import torch
from torch import nn

from purespike import InputError
from purespike.attacks import create_attack
from purespike.evaluation.diagnostics import Examination
from purespike.evaluation.diagnostics.gradients import check_gradients, check_scale
from purespike.experiment import Run
from purespike.models import create
from purespike.models.predict import as_float
from purespike.training import accelerator, train_classifier
from purespike.training.objectives import Batch, create_objective
from training import parts  # noqa: F401
from training.stops import assert_same, train
from training.tiny import checkpoint, history, recipe, two_sides

TAU = 20


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(2)
    return torch.rand((6, 3, 2, 2), generator=draw, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.fixture
def smooth():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def student(teacher, temperature):
    objective = create_objective({"name": "distill", "temperature": temperature})
    objective.objective.teacher = teacher
    return objective


def test_the_loss_is_the_cross_entropy_of_two_softened_predictions(smooth, batch):
    """Written out; it is the entropy of the teacher where the student agrees with it."""
    images, labels = batch
    teacher = copy.deepcopy(smooth)
    with torch.no_grad():
        teacher[3].weight.mul_(-3)
    (step,) = student(teacher, 5.0).steps(Batch(smooth, images, labels))
    q = torch.exp(teacher(images) / 5)
    p = torch.exp(smooth(images) / 5)
    q, p = (each / each.sum(1, keepdim=True) for each in (q, p))
    torch.testing.assert_close(step.loss, -(q * p.log()).sum(1).mean())
    step.loss.backward()
    assert teacher[1].weight.grad is None and smooth[1].weight.grad.abs().sum() > 0
    (same,) = student(copy.deepcopy(smooth), 5.0).steps(Batch(smooth, images, labels))
    torch.testing.assert_close(same.loss, -(p * p.log()).sum(1).mean())


def test_a_certain_teacher_at_temperature_1_is_plain_training(smooth, batch):
    images, labels = batch

    class Certain(nn.Module):
        def forward(self, images):
            return 1e4 * nn.functional.one_hot(labels, 4).double()

    (step,) = student(Certain(), 1.0).steps(Batch(smooth, images, labels))
    (plain,) = create_objective("none").steps(Batch(smooth, images, labels))
    torch.testing.assert_close(step.loss, plain.loss, rtol=1e-12, atol=0)
    assert step.right.keys() == plain.right.keys()


def test_tempered_is_plain_training_of_logits_over_the_temperature(smooth, batch):
    images, labels = batch
    losses = {}
    for temperature in (1.0, 4.0):
        part = {"name": "tempered", "temperature": temperature}
        losses[temperature] = next(create_objective(part).steps(Batch(smooth, images, labels))).loss
    (plain,) = create_objective("none").steps(Batch(smooth, images, labels))
    assert torch.equal(losses[1.0], plain.loss)
    p = torch.exp(smooth(images) / 4)
    expected = -(p[torch.arange(6), labels] / p.sum(1)).log().mean()
    torch.testing.assert_close(losses[4.0], expected)


def test_a_high_temperature_makes_labels_uniform(smooth, batch):
    (step,) = student(copy.deepcopy(smooth), 1e9).steps(Batch(smooth, *batch))
    assert step.loss.item() == pytest.approx(torch.tensor(4.0).log().item())


# ---- the control


def trained(folder, objective, rate):
    settings = {
        "architecture": "shallow_snn",
        "width": 0.25,
        "epochs": 4,
        "batch_size": 24,
        "learning_rate": 2.0,
        "milestones": [],
        "crop_padding": 0,
        "flip": False,
        "objective": objective,
        # the readout's own gradient is τ times smaller twice: by the loss, and by the weights it has to reach
        "optimiser": {"groups": [{"pattern": "^readout", "rate": rate, "weight_decay": 0}]},
    }
    cpu = accelerator(device="cpu")
    return train_classifier(
        recipe(classifier=settings).classifier, two_sides(), folder=folder, seed=0, accelerator=cpu
    )


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    objective = {"name": "distill", "temperature": TAU}
    return trained(tmp_path_factory.mktemp("distilled"), objective, TAU**2)


def robust(model, loss):
    data = two_sides().test
    attack = create_attack("pgd", eps="32/255", steps=10, step_size="8/255", loss=loss)
    return 1 - attack(model, as_float(data.images), data.labels).success.float().mean().item()


def test_it_looks_robust_under_cross_entropy_alone(distilled):
    data = two_sides().test
    clean = (distilled(as_float(data.images)).argmax(1) == data.labels).float().mean()
    assert clean > 0.9 and robust(distilled, "ce") > 0.8
    assert robust(distilled, "margin") < 0.3


def test_divided_logits_predict_alike_and_lose_the_robustness(distilled):
    """To the margin they are the same network."""

    class Divided(nn.Module):
        def forward(self, images):
            return distilled(images) / TAU

    images = as_float(two_sides().test.images)
    assert torch.equal(Divided()(images).argmax(1), distilled(images).argmax(1))
    assert robust(Divided(), "ce") < 0.3 < 0.8 < robust(distilled, "ce")
    assert robust(Divided(), "margin") == robust(distilled, "margin")


def test_the_diagnostics_say_so(distilled):
    """An evaluation by cross-entropy alone; one that asks the margin, too, is not deceived."""
    data = two_sides().test
    images, labels = as_float(data.images), data.labels
    right = (distilled(images).argmax(1) == labels).nonzero().squeeze(1)[:24]
    attack = create_attack("pgd", eps="32/255", steps=10, step_size="8/255")
    levels = {}
    for losses in (["ce"], ["ce", "margin"]):
        asked = Examination(distilled, images[right], labels[right], attack=attack, losses=losses)
        found = {finding.name: finding for rule in (check_gradients, check_scale) for finding in rule(asked)}
        assert found["saturated cross-entropy"].level == "suspicious"
        levels[len(losses)] = found["scale of the logits"].level
    assert levels == {1: "suspicious", 2: "reliable"}
    vanished = float(found["saturated cross-entropy"].message.partition("%")[0].split()[-1])
    assert vanished > 50


# ---- the teacher


def test_training_stopped_in_teacher_and_student_ends_as_one_never_stopped(tmp_path, monkeypatch):
    objective = {"name": "distill", "temperature": 4}
    tiny = recipe(classifier={"architecture": "shallow_snn", "epochs": 2, "objective": objective})
    folder, whole = tmp_path / "run", tmp_path / "whole"
    # in the second epoch of the teacher; then in that of the student
    train(tiny, folder, monkeypatch, 5, 8)
    train(tiny, whole, monkeypatch)
    assert_same(folder, whole, "teacher")
    assert history(folder)[-1]["passes"] == 2 * 60
    one, other = (
        checkpoint(whole / name)[0]
        for name in ("classifier.safetensors", "teacher/checkpoint/classifier.safetensors")
    )
    assert one["readout.weight"] != other["model/readout.weight"], "a seed of its own"


def test_the_teacher_keeps_the_other_parts_and_sees_what_the_student_sees(tmp_path, monkeypatch):
    from purespike.training.objectives.distill import Distill

    seen = []
    call = Distill.__call__

    def spied(self, batch):
        hook = self.teacher.register_forward_hook(lambda m, inputs, _: seen.append((m.training, inputs[0])))
        step = call(self, batch)
        hook.remove()
        assert torch.equal(seen[-1][1], batch.images)
        return step

    monkeypatch.setattr(Distill, "__call__", spied)
    objective = [{"name": "distill", "temperature": 4}, {"name": "parseval", "beta": 0.01}]
    tiny = recipe(classifier={"architecture": "shallow_snn", "epochs": 1, "objective": objective})
    run = Run(tiny, tmp_path, accelerator(device="cpu"))
    run.classifier(run.data())
    assert seen and not any(training for training, _ in seen)
    (_, header) = checkpoint(tmp_path / "teacher" / "checkpoint" / "classifier.safetensors")
    assert '{"name": "tempered", "temperature": 4.0}, {"name": "parseval", "beta": 0.01}' in header["trained"]


def test_smoothed_labels_have_no_meaning_beside_the_teachers(tmp_path):
    tiny = recipe(classifier={"smoothing": "ols", "objective": "distill"})
    run = Run(tiny, tmp_path, accelerator(device="cpu"))
    with pytest.raises(
        InputError, match=r"distill: its labels are the teacher's .*leave out smoothing"
    ) as error:
        run.classifier(run.data())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"name": "distill", "temperature": 0}, "distill: temperature: .*got 0"),
        ({"name": "distill", "temperature": float("inf")}, "distill: temperature: "),
        ({"name": "distill", "tau": 3}, "unknown setting of distill 'tau'"),
        ({"name": "tempered", "temperature": -1}, "tempered: temperature: .*got -1"),
        (["distill", "pgd"], "distill and pgd are objectives, of which there is one"),
    ],
)
def test_bad_settings_are_one_clear_line(part, message):
    with pytest.raises(InputError, match=message) as error:
        create_objective(part)
    assert "\n" not in str(error.value)


def test_it_composes_with_penalties():
    model = create("resnet14_snn", width=0.05, time_steps=2).train()
    images = torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    objective = create_objective(["distill", {"name": "sparse_gradient", "weight": 0.1}])
    objective.objective.teacher = copy.deepcopy(model).eval()
    (step,) = objective.steps(Batch(model, images, torch.arange(4)))
    step.loss.backward()
    assert step.passes == 2 + 2 and all(p.grad.isfinite().all() for p in model.parameters())
