"""Trainings that are stopped and started again."""

import pytest

import purespike.training.classifier as training
from purespike.experiment import Run
from purespike.training import accelerator, train_purifier
from purespike.training import purifier as purifier_training
from training.tiny import checkpoint, history

FILES = ("classifier.safetensors", "checkpoint/classifier.safetensors")


def train(tiny, folder, monkeypatch, *stops):
    """Train the classifier of a recipe, stopped at each of ``stops``, batches counted from the last start."""
    steps, augment = [], training.augment

    def counted(images, augmentation):
        steps.append(len(images))
        if len(steps) == due:
            raise KeyboardInterrupt
        return augment(images, augmentation)

    for due in (*stops, None):
        steps.clear()
        run = Run(tiny, folder, accelerator(device="cpu"))
        with monkeypatch.context() as patch:
            patch.setattr(training, "augment", counted)
            if due is None:
                return run.classifier(run.data())
            with pytest.raises(KeyboardInterrupt):
                run.classifier(run.data())
        assert len(steps) == due, "it ended before"


def assert_same(folder, other, *more):
    """Two trainings ended alike, as do those in their folders ``more``."""
    for place in ("", *more):
        one, two = folder / place, other / place
        assert history(one) == history(two)
        for name in FILES:
            assert (one / name).exists() == (two / name).exists()
            if (one / name).exists():
                assert checkpoint(one / name)[0] == checkpoint(two / name)[0], name


def resumed_purifier(section, classifier, data, folder, monkeypatch, **given):
    """The purifier of a recipe's ``section``; training stops after the first of two epochs, and goes on."""

    class Stopped(Exception):
        pass

    def stop(stage, tally, epoch):
        if epoch == 2:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(purifier_training, "check_epoch", stop)
        train_purifier(section, classifier, data, folder=folder, **given)
    return train_purifier(section, classifier, data, folder=folder, **given)
