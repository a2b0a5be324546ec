"""Models of one classifier stand side by side, with images that are theirs or said not to be."""

import copy

import pytest
import torch
from torch import nn

import purespike as ps
from purespike import zoo
from purespike.data import load_data
from purespike.demo import line_up
from purespike.demo.lineup import BARE
from purespike.demo.shipped import shipped, title_of
from purespike.errors import InputError

from .conftest import tiny_classifier, tiny_purifier


def own(models):
    return {name: ["digits16"] for name in models}


def test_purifiers_of_one_classifier_share_a_lineup():
    classifier, other = tiny_classifier(), tiny_classifier(seed=9)
    models = {
        "a": ps.Defended(tiny_purifier(1), classifier),
        "b": ps.Defended(tiny_purifier(2), copy.deepcopy(classifier)),
        "c": other,
    }
    first, second = line_up(models, sources=own(models), titles={"b": "the second"})
    assert list(first.models) == [BARE, "a", "the second"] and list(second.models) == [BARE]
    assert first.shape == (1, 16, 16) and first.class_names == tuple("0123456789") and first.draws
    assert len(first.examples) == 12 and len(first.clean) == 200 and not first.note
    # thresholds are not set on the images that are shown
    shown = {image.numpy().tobytes() for image in load_data("digits16").test.images}
    assert not shown & {image.numpy().tobytes() for image in first.clean}


def named(model):
    model.class_names = tuple("0123456789")
    return model


def test_a_source_that_would_be_downloaded_is_not_loaded(monkeypatch):
    from purespike.data import sources

    def never(*_, **__):
        raise AssertionError("downloads")

    monkeypatch.setattr(sources, "load_hub", never)
    (lineup,) = line_up({"m": named(tiny_classifier())}, sources={"m": ["npz:arrays/none", "mnist"]})
    assert lineup.shape == (1, 28, 28) and "mnist is not loaded unless --data names it" in lineup.note
    # digits of another source stand in, with a margin as theirs; they calibrate nothing
    assert lineup.examples is not None and lineup.clean is None
    assert lineup.examples.images[:, :, :4].max() == 0 and lineup.examples.images[:, :, 4].max() > 0


def test_classes_that_are_no_digits_have_no_stand_in():
    torch.manual_seed(0)
    model = ps.models.create("resnet14_snn", width=0.02, time_steps=1).eval()
    (lineup,) = line_up({"m": model}, sources={"m": ["cifar10"]})
    assert lineup.shape == (3, 32, 32) and lineup.examples is None and lineup.note.startswith("No examples")


def test_the_data_that_are_asked_for_are_loaded(tmp_path):
    model = {"m": tiny_classifier()}
    (lineup,) = line_up(model, sources={"m": ["mnist"]}, data="digits16")
    assert lineup.shape == (1, 16, 16) and lineup.clean is not None
    with pytest.raises(InputError, match="nothing-train"):
        line_up(model, sources={}, data=f"npz:{tmp_path}/nothing")


def test_without_any_images_the_size_is_unknown():
    with pytest.raises(InputError, match="give --data"):
        line_up({"m": tiny_classifier()}, sources={"m": ["npz:none/at-all"]})
    with pytest.raises(InputError, match="give --data"):
        line_up({"m": tiny_classifier()}, sources={})


def test_images_that_do_not_fit_are_said():
    with pytest.raises(InputError, match="channel"):
        line_up({"m": tiny_classifier()}, sources={}, data="digits")


def test_functions_of_the_user_are_told_apart():
    class Sum(nn.Module):
        def __init__(self, sign):
            super().__init__()
            self.sign = sign

        def forward(self, images):
            return self.sign * images.flatten(1)[:, :10]

    models = {"plus": Sum(1), "minus": Sum(-1)}
    assert [each.name for each in line_up(models, sources=own(models))] == list(models)


def test_the_shipped_weights_stand_side_by_side():
    models, sources = shipped()
    lineups = line_up(models, sources=sources, titles={name: title_of(name) for name in models})
    by_name = {lineup.name: lineup for lineup in lineups}
    assert set(by_name) == {name for name in zoo.list() if not name.endswith(("-paper", "-holding"))}
    whole = by_name["digits16"]
    assert list(whole.models) == [BARE, "the holding purifier", "the paper's purifier"]
    assert whole.clean is not None


def test_a_version_without_weights_asks_for_a_model(monkeypatch):
    monkeypatch.setattr("purespike.zoo.loading.entry_names", lambda: ())
    with pytest.raises(InputError, match="name a MODEL"):
        shipped()
