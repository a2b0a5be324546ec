"""What attacks are called, what their settings may be, and their defaults."""

from dataclasses import fields
from typing import get_args

import numpy as np
import pytest
import torch

from purespike.attacks import bounded, create_attack, list_attacks
from purespike.attacks.registry import knows_norm
from purespike.errors import InputError

IN_L0 = {name for name in list_attacks() if bounded(name) and not knows_norm(name, "linf")}


@pytest.mark.parametrize("name", sorted(IN_L0))
@pytest.mark.parametrize("eps", [-1, 0, 0.5, 2.5, "abc", "8/255", float("nan"), float("inf"), None])
def test_bad_number_of_pixels(name, eps):
    with pytest.raises(InputError, match="eps"):
        create_attack(name, eps=eps)


@pytest.mark.parametrize("name", [name for name in list_attacks() if bounded(name) and name not in IN_L0])
@pytest.mark.parametrize("eps", [-1 / 255, 1.5, 8, "abc", "8/0", "-8/255", float("nan"), None])
def test_bad_budget(name, eps):
    with pytest.raises(InputError, match="eps"):
        create_attack(name, eps=eps)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ifgsm", {"steps": 0}, "steps: "),
        ("pgd", {"eot": 0}, "eot: "),
        ("pgd", {"norm": "l1"}, "unknown norm 'l1'"),
        ("pgd", {"schedule": "cosine"}, "unknown schedule 'cosine'"),
        ("pgd", {"rule": "adaptive"}, "unknown setting of attack pgd 'rule'"),
        ("sa_pgd", {"norm": "l2"}, "rule: 'adaptive'"),
        ("spsa", {"source": "autograd"}, "unknown setting of attack spsa 'source'"),
        ("pgd", {"restarts": 0}, "restarts: "),
        ("ifgsm", {"restarts": 2}, "setting of attack ifgsm|set random_start=True"),
        ("pgd", {"precision": "fp8"}, "unknown attack precision"),
        ("cw", {"precision": "half"}, "unknown attack precision"),
        ("pgd", {"steps": 1.5}, "steps: "),
        ("pgd", {"step_size": -0.1}, "step_size: "),
        ("pgd", {"step_size": "1/0"}, "step_size: "),
        ("pgd", {"loss": "cw"}, "unknown attack loss 'cw'.*ce, margin"),
        ("pgd", {"keep": "first"}, "unknown keep 'first'"),
        ("mifgsm", {"momentum": -1}, "momentum: "),
        ("mifgsm", {"momentum": float("nan")}, "momentum: "),
        ("mifgsm", {"momentum": float("inf")}, "momentum: "),
        ("cw", {"learning_rate": float("inf")}, "learning_rate: "),
        ("pgd", {"seed": -1}, "seed: "),
        ("gaussian_noise", {"seed": 1.5}, "seed: "),
        ("cw", {"steps": 0}, "steps: "),
        ("cw", {"search_steps": 0}, "search_steps: "),
        ("cw", {"learning_rate": 0}, "learning_rate: "),
        ("cw", {"initial_c": -1}, "initial_c: "),
        ("cw", {"confidence": -0.5}, "confidence: "),
        ("cw", {"eps": 0.1}, "unknown setting of attack cw 'eps'"),
        ("gaussian_noise", {"level": 20}, "level: "),
        ("apgd_ce", {"steps": 0}, "steps: "),
        ("apgd_ce", {"restarts": 0}, "restarts: "),
        ("apgd_dlr", {"eot": 0}, "eot: "),
        ("apgd_ce", {"norm": "l1"}, "unknown norm 'l1': .*l2, linf"),
        ("apgd_ce", {"norm": "l2", "eps": 0}, "eps: an L2 radius must be positive and finite"),
        ("apgd_ce", {"norm": "l2", "eps": float("inf")}, "eps: an L2 radius"),
        ("apgd_ce", {"norm": "l2", "eps": "1/0"}, "eps: "),
        ("apgd_ce", {"queries": 10}, "unknown setting of attack apgd_ce 'queries'"),
        ("apgd_ce", {"warnings": ()}, "unknown setting of attack apgd_ce 'warnings'"),
        ("square", {"queries": 0}, "queries: "),
        ("square", {"steps": 10}, "unknown setting of attack square 'steps'"),
        ("autoattack", {"version": "rand"}, "unknown setting of attack autoattack 'version'"),
        ("pgd", {"step": 3}, "unknown setting of attack pgd 'step': did you mean 'steps'"),
        ("fgsm", {"steps": 3}, "unknown setting of attack fgsm"),
        ("pdg", {}, "unknown attack 'pdg': did you mean 'pgd'"),
    ],
    ids=str,
)
def test_bad_settings(name, settings, message):
    with pytest.raises(InputError, match=message):
        create_attack(name, **settings)


def settings(*kinds):
    """Settings of every attack whose fields declare one of these types, that may be changed."""
    for name in list_attacks():
        attack = create_attack(name)
        for each in fields(attack):
            declared = {each.type, *get_args(each.type)}
            if declared & set(kinds):
                yield pytest.param(name, each.name, id=f"{name} {each.name}")


def make(name, key, value):
    """The attack with one setting, or ``None`` where its preset fixes it."""
    # the budget of counts is at least one event
    needed = {"eps": 1.0} if key == "cap" else {}
    try:
        return create_attack(name, **{**needed, key: value})
    except InputError as error:
        unfit = ("unknown setting", "takes no target", "a setting of SPSA")
        if any(part in str(error) for part in unfit):
            return None
        raise


@pytest.mark.parametrize(("name", "key"), settings(bool))
def test_text_and_numbers_are_no_truth(name, key):
    for value in ("false", "true", 0, 1, 0.0, [True]):
        with pytest.raises(InputError, match=f"{key}: must be true or false|unknown setting|takes no target"):
            create_attack(name, **{key: value})
    for value in (np.False_, torch.tensor(False)):
        made = make(name, key, value)
        assert made is None or getattr(made, key) is False


@pytest.mark.parametrize(("name", "key"), settings(int, float))
def test_truth_and_words_are_no_numbers(name, key):
    for value in (True, np.True_, "many", [1], np.array([1, 1])):
        with pytest.raises(InputError, match=f"{key}: |unknown setting"):
            create_attack(name, **{key: value})


@pytest.mark.parametrize(("name", "key"), settings(int))
def test_whole_numbers_of_other_libraries_become_python_s(name, key):
    for value in (np.int64(1), np.array(1), torch.tensor(1)):
        made = make(name, key, value)
        assert made is None or (getattr(made, key) == 1 and type(getattr(made, key)) is int)


@pytest.mark.parametrize(("name", "key"), settings(float))
def test_numbers_of_other_libraries_and_text_become_python_s(name, key):
    # a number of pixels is whole
    size = 3.0 if (name, key) in {(each, "eps") for each in IN_L0} else 0.25
    for value in (np.float32(size), np.array(size), torch.tensor(size), f"{size}", f"{size * 4:g}/4"):
        made = make(name, key, value)
        assert made is None or (getattr(made, key) == size and type(getattr(made, key)) is float)


def test_bounded():
    assert {"flips", "flips_add", "flips_remove", "sparse_search"} == IN_L0
    assert {name: bounded(name) for name in list_attacks()} == {
        **dict.fromkeys([*IN_L0, "pgd_counts"], True),
        "fgsm": True,
        "ifgsm": True,
        "mifgsm": True,
        "pgd": True,
        "sa_pgd": True,
        "spsa": True,
        "cw": False,
        "gaussian_noise": False,
        "apgd_ce": True,
        "apgd_dlr": True,
        "fab": True,
        "square": True,
        "autoattack": True,
        "autoattack_rand": True,
    }
    with pytest.raises(InputError, match="did you mean 'fgsm'"):
        bounded("fgms")


def test_differentiates():
    blind = {name for name in list_attacks() if not create_attack(name).differentiates}
    assert blind == {"spsa", "square", "gaussian_noise", "sparse_search"}


def test_defaults_are_the_paper_s():
    pgd = create_attack("pgd")
    assert (pgd.eps, pgd.steps, pgd.step_size, pgd.random_start) == (8 / 255, 7, 2 / 255, True)
    fgsm = create_attack("fgsm", eps="4/255")
    assert (fgsm.steps, fgsm.step_size, fgsm.momentum) == (1, 4 / 255, 0)
    assert create_attack("mifgsm").momentum == 1


@pytest.mark.parametrize("settings", [{"steps": 10**12}, {"restarts": 10**8}, {"eot": 10**9}])
def test_attacks_that_never_end_are_refused(settings):
    (name,) = settings
    with pytest.raises(InputError, match=rf"{name}: at most 10,000,000, got 10+"):
        create_attack("pgd", **settings)
