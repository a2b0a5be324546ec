"""Example images come back as they were saved; arrays that do not fit together are refused."""

import dataclasses

import numpy as np
import pytest

from purespike.errors import InputError
from purespike.results import Samples


def make(n=3, adaptive=True):
    rng = np.random.default_rng(0)
    images = {
        name: rng.random((n, 1, 8, 8)).astype(np.float32) for name in ("clean", "adversarial", "purified")
    }
    labels = {
        name: rng.integers(0, 10, n) for name in ("labels", "undefended_prediction", "defended_prediction")
    }
    known = {name: rng.random((n, 1, 8, 8)).astype(np.float32) for name in ("adaptive", "adaptive_purified")}
    known["adaptive_prediction"] = rng.integers(0, 10, n)
    given = known if adaptive else {}
    return Samples(**images, **labels, **given, caption="PGD-20", class_names=("one", "two"))


@pytest.mark.parametrize("adaptive", [True, False])
def test_samples_come_back(tmp_path, adaptive):
    make(adaptive=adaptive).save(tmp_path / "samples.npz")
    found = Samples.read(tmp_path / "samples.npz")
    for field in dataclasses.fields(Samples):
        wanted = getattr(make(adaptive=adaptive), field.name)
        assert np.array_equal(getattr(found, field.name), wanted), field.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"purified": None}, "no array 'purified'"),
        ({"clean": np.zeros((3, 2, 8, 8))}, r"one shape \[N, C, H, W\]"),
        ({"adversarial": np.zeros((2, 1, 8, 8))}, r"one shape"),
        ({"adaptive": None}, "no array 'adaptive'"),
        ({"adaptive_purified": np.zeros((3, 1, 4, 4))}, r"one shape"),
        ({"adaptive_prediction": np.zeros(2)}, "one label and one prediction for each of 3 images"),
        ({"labels": np.zeros(2)}, "one label and one prediction for each of 3 images"),
        ({"labels": np.array([None] * 3)}, "cannot be read as npz"),
    ],
)
def test_damaged_samples_are_one_line(change, message, tmp_path):
    arrays = {field.name: getattr(make(), field.name) for field in dataclasses.fields(Samples)} | change
    np.savez(tmp_path / "samples.npz", **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=message) as caught:
        Samples.read(tmp_path / "samples.npz")
    assert "\n" not in str(caught.value)
