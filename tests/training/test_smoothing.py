"""Online label smoothing, against its definition written as a loop over samples."""

import numpy as np
import pytest
import torch

from purespike import InputError
from purespike.data import load_data
from purespike.losses import OnlineLabelSmoothing, smoothed_cross_entropy
from purespike.models.checkpoint import read_tensors
from purespike.training import accelerator, train_classifier
from training.reference import soft_labels_after_an_epoch
from training.tiny import recipe

K = 4  # a quarter is exact, so that single and double precision begin alike


def softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


class Loop:
    """The definition, sample by sample, in doubles."""

    def __init__(self, classes=K):
        self.classes = classes
        self.labels = np.full((classes, classes), 1 / classes)
        self.right = [[] for _ in range(classes)]

    def loss(self, logits, labels, hard=0.5):
        losses = []
        for row, label in zip(logits, labels, strict=True):
            p = softmax(row)
            soft = -sum(self.labels[label][k] * np.log(p[k]) for k in range(self.classes))
            losses.append(-hard * np.log(p[label]) + (1 - hard) * soft)
            if row.argmax() == label:
                self.right[label].append(p)
        return np.mean(losses)

    def renew(self):
        for label, found in enumerate(self.right):
            self.labels[label] = np.mean(found, axis=0) if found else 1 / self.classes
        self.right = [[] for _ in range(self.classes)]


def epoch_of_batches(seed, sizes=(7, 8, 3), never_right=()):
    draw = np.random.default_rng(seed)
    for size in sizes:
        labels = draw.integers(0, K, size)
        logits = draw.standard_normal((size, K)) * 2
        logits[np.arange(size), labels] += 2
        for label in never_right:
            logits[labels == label, label] -= 100
        yield logits, labels


@pytest.mark.parametrize("hard", [0.5, 0.0, 0.3, 1.0])
def test_three_epochs_are_those_of_the_loop(hard):
    """In the second one class is never right, and so uniform in the third, not what it was."""
    smoothing, loop = OnlineLabelSmoothing(K, hard=hard).double(), Loop()
    for epoch in range(3):
        for logits, labels in epoch_of_batches(epoch, never_right=[2] if epoch == 1 else []):
            found = smoothing(torch.from_numpy(logits), torch.from_numpy(labels))
            assert found.item() == pytest.approx(loop.loss(logits, labels, hard), rel=1e-12)
        smoothing.renew()
        loop.renew()
        np.testing.assert_allclose(smoothing.soft_labels, loop.labels, rtol=1e-12)
        assert (np.abs(loop.labels[2] - 1 / K).max() < 1e-12) == (epoch == 1)


def test_soft_labels_stay_as_they_are_within_an_epoch():
    smoothing = OnlineLabelSmoothing(K)
    for logits, labels in epoch_of_batches(0):
        smoothing(torch.from_numpy(logits), torch.from_numpy(labels))
        assert (smoothing.soft_labels == 1 / K).all()


def test_each_soft_label_is_a_distribution():
    smoothing = OnlineLabelSmoothing(K)
    for logits, labels in epoch_of_batches(0, sizes=(200,), never_right=[1]):
        smoothing(torch.from_numpy(logits).float(), torch.from_numpy(labels))
    smoothing.renew()
    torch.testing.assert_close(smoothing.soft_labels.sum(1), torch.ones(K))
    others = smoothing.soft_labels[[0, 2, 3]]
    assert others.argmax(1).tolist() == [0, 2, 3], "right answers have their class on top"


def test_the_gradient_moves_logits_alone():
    smoothing = OnlineLabelSmoothing(K).double()
    (logits, labels), *_ = epoch_of_batches(0)
    logits, labels = torch.from_numpy(logits).requires_grad_(), torch.from_numpy(labels)
    soft = torch.from_numpy(np.random.default_rng(1).dirichlet(np.ones(K), K))
    assert torch.autograd.gradcheck(lambda z: smoothed_cross_entropy(z, labels, soft), logits)
    smoothing(logits, labels).backward()
    smoothing.renew()
    assert logits.grad is not None and not smoothing.soft_labels.requires_grad


def test_processes_that_share_an_epoch_find_what_one_finds():
    """Each saw some of the batches; the reduction adds up what they summed."""
    whole, parts = OnlineLabelSmoothing(K), [OnlineLabelSmoothing(K) for _ in range(2)]
    for number, (logits, labels) in enumerate(epoch_of_batches(0)):
        for smoothing in (whole, parts[number % 2]):
            smoothing(torch.from_numpy(logits), torch.from_numpy(labels))
    whole.renew()
    sums = []
    parts[0].renew(lambda own: sums.append(own.clone()) or own)
    parts[1].renew(lambda own: own + sums[0])
    torch.testing.assert_close(parts[1].soft_labels, whole.soft_labels)
    assert not torch.allclose(parts[0].soft_labels, whole.soft_labels)


def test_the_state_at_the_end_of_an_epoch_is_all_there_is():
    first = OnlineLabelSmoothing(K)
    for logits, labels in epoch_of_batches(0):
        first(torch.from_numpy(logits), torch.from_numpy(labels))
    first.renew()
    assert list(first.state_dict()) == ["soft_labels"]
    second = OnlineLabelSmoothing(K)
    second.load_state_dict(first.state_dict())
    for smoothing in (first, second):
        for logits, labels in epoch_of_batches(1):
            smoothing(torch.from_numpy(logits), torch.from_numpy(labels))
        smoothing.renew()
    assert torch.equal(first.soft_labels, second.soft_labels)


def test_training_smooths_by_what_the_network_got_right(tmp_path):
    """With steps too small to move a weight, the network of the first epoch can be asked again."""
    digits = load_data("digits")
    data = type(digits)("digits", digits.train.take(60, seed=0), digits.test.take(20, seed=0))
    settings = recipe(classifier={"epochs": 1, "smoothing": "ols", "learning_rate": 1e-12}).classifier
    train_classifier(settings, data, folder=tmp_path, seed=3, accelerator=accelerator(device="cpu"))
    tensors, _ = read_tensors(tmp_path / "checkpoint" / "classifier.safetensors")
    found = tensors["criterion/soft_labels"].double().numpy()
    expected = soft_labels_after_an_epoch(settings, data, seed=3, world=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(expected, 0.1), "some images were right"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: OnlineLabelSmoothing(1), "classes: .* got 1"),
        (lambda: OnlineLabelSmoothing(3, hard=1.5), "hard: .* got 1.5"),
        (lambda: smoothed_cross_entropy(torch.zeros(2, 3), torch.zeros(2).long(), torch.ones(4, 4)), "fit"),
        (
            lambda: smoothed_cross_entropy(
                torch.zeros(2, 3), torch.zeros(2).long(), torch.ones(3, 3), hard=-0.1
            ),
            "hard: ",
        ),
    ],
)
def test_bad_settings(call, message):
    with pytest.raises(InputError, match=message):
        call()
