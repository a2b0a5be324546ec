"""Which settings the adapter takes, and what it refuses in one line."""

import sys

import pytest
import torch
from torch import nn

from purespike.attacks import (
    AutoAttack,
    apgd_ce,
    apgd_dlr,
    autoattack,
    autoattack_rand,
    square,
)
from purespike.errors import InputError
from tests.attacks.conftest import photographs

EPS = 12 / 255
FAR = 80 / 255


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("attack", [apgd_dlr, autoattack, autoattack_rand])
def test_too_few_classes_for_the_dlr_loss(attack, classes):
    images, _ = photographs(3, 1, seed=0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    labels = torch.zeros(3, dtype=torch.long)
    with pytest.raises(
        InputError, match=f"DLR.*at least 4 classes.* has {classes}; use apgd_ce, square or fab"
    ):
        attack(model, images, labels, eps=EPS)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("attacks", ["apgd-ce", "fab", "fab-t", "square"])
def test_few_classes_are_enough_for_the_others(attacks, classes):
    images, _ = photographs(4, 1, seed=0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    labels = model(images).argmax(1)
    result = AutoAttack(version="custom", attacks=attacks, eps=FAR, steps=5, queries=50)(
        model, images, labels
    )
    assert result.success.all() and result.warnings == ()


@pytest.mark.parametrize(
    ("height", "width", "fits"),
    [
        (4, 4, False),
        (12, 12, False),
        (14, 16, False),
        (16, 14, True),
        (16, 16, True),
        (8, 8, True),
        (28, 28, True),
    ],
)
def test_square_in_l2_needs_images_that_its_tiles_fit_into(height, width, fits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(height * width, 4))
    images = torch.rand((3, 1, height, width), generator=torch.Generator().manual_seed(0))
    labels = model(images).argmax(1)
    if fits:
        assert len(square(model, images, labels, eps=1.0, norm="l2", queries=3).images) == 3
    else:
        with pytest.raises(InputError, match=f"cannot lay out on {height} × {width} pixels"):
            square(model, images, labels, eps=1.0, norm="l2")


def test_pyautoattack_is_missing(plain, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(InputError, match="pip install 'pyautoattack"):
        apgd_ce(*plain, eps=EPS)


def test_versions():
    standard = AutoAttack()
    assert standard.attacks == ("apgd-ce", "apgd-t", "fab-t", "square")
    assert (standard.steps, standard.restarts, standard.queries, standard.eot) == (100, 1, 5000, 1)
    noisy = AutoAttack(version="rand")
    assert (noisy.attacks, noisy.eot) == (("apgd-ce", "apgd-dlr"), 20)
    assert AutoAttack(version="custom", attacks="fab").attacks == ("fab",)
    # a config read from JSON has lists
    assert AutoAttack(attacks=list(standard.attacks)) == standard
    assert hash(standard) == hash(AutoAttack())


def test_radius():
    assert AutoAttack(norm="l2", eps="128/255").eps == 128 / 255
    assert AutoAttack(norm="l2", eps=3).eps == 3.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"version": "plus"}, "unknown version of AutoAttack 'plus'.*custom, rand, standard"),
        ({"version": "custom"}, "attacks: the custom version needs at least one"),
        ({"version": "custom", "attacks": ("apgd",)}, "unknown attack of AutoAttack 'apgd'"),
        ({"attacks": ("fab",)}, "choose yours with version='custom'"),
        ({"norm": "linf", "eps": 3}, "eps: must lie in"),
        ({"norm": "l2", "eps": -1}, "positive and finite"),
        ({"norm": "l2", "eps": float("nan")}, "positive and finite"),
        ({"norm": "l2", "eps": "wide"}, "neither a number nor a fraction"),
    ],
    ids=str,
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        AutoAttack(**settings)
