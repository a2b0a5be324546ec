"""Ranges are checked in Python as at the shell: one line, before anything is attacked."""

import numpy as np
import pytest

import purespike
from evaluation.victims import foreign, photographs
from purespike.errors import InputError
from purespike.settings import EvaluationSettings

BAD = {
    "images": [-1, 0, True, 2.5],
    "diagnose": [-1, True],
    "eot": [0, True],
    "passes": [-3],
    "batch_size": [0, -1],
    "max_cost": [-5],
    "seed": ["a", -1, True, 1.5, 2**70, None],
    "eps": [True, None, float("nan"), "nan", 8],
    "attacks": ["", [], 5, "pgd:steps=3:steps=4"],
    "surrogates": ["", "rectangle(width=1, width=2)"],
    "losses": [""],
    "threat": ["", [], 5],
    "thresholds": ["gain=nan", "gain=-1", {"gain": float("inf")}],
    "curve": ["pgd"],
    "curve_eps": ["4/255"],
    "substitutes": [5],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_value_out_of_range_is_one_line(name, value):
    given = {"attacks": ["fgsm"], "diagnose": 0, "threat": "adaptive", name: value}
    with pytest.raises(InputError) as error:
        purespike.evaluate(foreign(), photographs(2, seed=1), **given)
    assert "\n" not in str(error.value)
    key = {"threat": "threats", "losses": "loss", "surrogates": "surrogate"}.get(name, name)
    assert key in str(error.value)


def test_numbers_of_numpy_are_numbers(tmp_path):
    assert EvaluationSettings.of(eps=np.float32(0.25)).eps == (0.25,)
    given = {"attacks": ["fgsm"], "diagnose": 0, "seed": np.int64(3), "folder": str(tmp_path)}
    assert purespike.evaluate(foreign(), photographs(2, seed=1), **given).seed == 3
