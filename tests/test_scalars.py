"""Numbers and truth values of settings, from Python, NumPy and PyTorch."""

import numpy as np
import pytest
import torch

from purespike.checks import check_seed, check_steps
from purespike.errors import InputError
from purespike.models import create
from purespike.models.complexity import complexity
from purespike.neurons import Rectangle
from purespike.recipe import parse_recipe
from purespike.scalars import check_number, check_truth, check_whole, parse_number
from purespike.settings import EvaluationSettings

THREES = [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.uint8)]
HALVES = [0.5, "0.5", "1/2", np.float32(0.5), np.array(0.5), torch.tensor(0.5, dtype=torch.float16)]


@pytest.mark.parametrize("given", THREES, ids=repr)
def test_whole_numbers_become_python_s(given):
    found = [check_whole(given, name="n"), check_steps(given), check_seed(given)]
    assert found == [3, 3, 3] and {type(number) for number in found} == {int}
    assert type(EvaluationSettings(images=given).images) is int
    model = create("resnet14_snn", width=0.05, time_steps=given, num_classes=given)
    assert model.neurons.time_steps == 3 and type(model.config["num_classes"]) is int
    assert complexity(torch.nn.Conv2d(3, 8, 3, padding=1), given).macs == 3 * 3 * 27 * 8


@pytest.mark.parametrize("given", HALVES, ids=repr)
def test_numbers_become_python_s(given):
    found = [parse_number(given), check_number(given, name="n")]
    assert found == [0.5, 0.5] and {type(number) for number in found} == {float}


@pytest.mark.parametrize("given", [np.float32(0.5), np.array(0.5), torch.tensor(0.5)], ids=repr)
def test_a_surrogate_takes_them_and_prints_itself(given):
    assert str(Rectangle(width=given)) == "rectangle(width=0.5)"


@pytest.mark.parametrize("given", [True, np.True_, np.array(True), torch.tensor(True)], ids=repr)
def test_truth_is_no_number(given):
    assert check_truth(given, name="n") is True
    for refused in (check_steps, check_seed, parse_number, lambda value: check_number(value, name="n")):
        with pytest.raises(InputError):
            refused(given)


@pytest.mark.parametrize("given", ["false", "true", 0, 1, None, [True], np.array([True])], ids=repr)
def test_anything_else_is_no_truth(given):
    with pytest.raises(InputError, match="flip: must be true or false, got "):
        check_truth(given, name="flip")


@pytest.mark.parametrize("given", ["3", 3.0, None, [3], np.array([3]), torch.tensor(3.0), "three"], ids=repr)
def test_anything_else_is_no_whole_number(given):
    with pytest.raises(InputError, match="steps: must be a whole number of at least 1, got "):
        check_steps(given)


@pytest.mark.parametrize("given", [-0.5, float("nan"), float("inf"), "a", None, [0.5]], ids=repr)
def test_anything_else_is_no_number(given):
    with pytest.raises(InputError, match=r"^momentum: "):
        check_number(given, name="momentum")
    with pytest.raises(InputError, match=r"^rate: must be positive, and finite, got 0"):
        check_number(0, name="rate", positive=True)


@pytest.mark.parametrize("key", ["images", "batch_size", "diagnose", "max_cost", "eot", "eps", "curve_eps"])
@pytest.mark.parametrize("given", [True, np.True_, torch.tensor(True)], ids=repr)
def test_truth_is_no_number_of_an_evaluation(key, given):
    with pytest.raises(InputError, match=rf"{key}: must be a number, got"):
        EvaluationSettings.of(**{key: given})


@pytest.mark.parametrize(
    "path",
    [
        *("seed", "data.train_limit", "classifier.epochs", "classifier.learning_rate", "classifier.width"),
        *("classifier.decay", "classifier.optimiser.momentum", "purifier.beta", "purifier.batch_size"),
    ],
)
def test_truth_is_no_number_of_a_recipe(path):
    *sections, key = path.split(".")
    values = {key: True}
    for section in reversed(sections):
        values = {section: values}
    with pytest.raises(InputError, match=rf"{key}: must be a number, got True"):
        parse_recipe(values)


def test_truths_among_numbers_are_refused_and_others_are_taken():
    with pytest.raises(InputError, match=r"eps: must be a number, got \[True\]"):
        EvaluationSettings.of(eps=[True])
    assert EvaluationSettings.of(learned_bpda=True).learned_bpda is True
    assert parse_recipe({"classifier": {"flip": False}}).classifier.flip is False
