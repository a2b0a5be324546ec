import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from purespike.budget import format_eps, parse_eps
from purespike.checks import check_images, check_labels, check_steps
from purespike.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        (" 8 / 255 ", 8 / 255),
        ("0.03", 0.03),
        ("1e-3", 1e-3),
        ("0", 0.0),
        (1, 1.0),
        (0.5, 0.5),
    ],
)
def test_parse_eps(text, value):
    parsed = parse_eps(text)
    assert parsed == value and isinstance(parsed, float)


@pytest.mark.parametrize("text", ["abc", "", "8/0", "8/", "1/2/3", "nan", "inf", None, [], (1,)], ids=repr)
def test_parse_eps_refuses_what_is_no_number(text):
    with pytest.raises(InputError, match=r"step_size: .*8/255"):
        parse_eps(text, name="step_size")


@pytest.mark.parametrize(
    "value", [-0.1, "-1/255", 8, "8", 1.0001, math.nan, math.inf, 10**400, "1e400"], ids=lambda v: repr(v)[:9]
)
def test_parse_eps_refuses_what_is_out_of_range(value):
    with pytest.raises(InputError, match="eps"):
        parse_eps(value)


@given(st.integers(0, 255))
def test_levels_are_written_as_levels(level):
    assert parse_eps(f"{level}/255") == pytest.approx(level / 255, abs=1e-15)
    text = format_eps(level / 255)
    assert text == {0: "0", 255: "1"}.get(level, f"{level}/255")
    assert parse_eps(text) == float(Fraction(level, 255))


@given(st.floats(0, 1))
def test_what_is_written_reads_back(eps):
    text = format_eps(eps)
    assert parse_eps(text) == pytest.approx(eps, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 1, 1, 1), (0, 3, 8, 8)], ids=str)
def test_good_images_pass(dtype, shape):
    images = torch.rand(shape).to(dtype)
    assert check_images(images, channels=shape[1]) is images


def poisoned(value):
    images = torch.rand(2, 3, 4, 4)
    images[1, 2, 3, 3] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(3, 4, 4), r"\[N, C, H, W\], got \[3, 4, 4\]"),
        (torch.rand(1, 2, 3, 4, 4), r"\[N, C, H, W\]"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), r"images\.float\(\) / 255"),
        (torch.rand(1, 1, 4, 4), "takes 3 channels, got 1"),
        (poisoned(math.nan), "NaN"),
        (poisoned(math.inf), r"outside \[0, 1\]"),
        (poisoned(1.001), r"outside \[0, 1\]"),
        (poisoned(-0.001), r"outside \[0, 1\]"),
        ([[0.5]], "torch tensor .* got list"),
    ],
)
def test_bad_images(images, message):
    with pytest.raises(InputError, match=message) as caught:
        check_images(images, channels=3, name="photos")
    assert str(caught.value).startswith("photos: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_good_labels_become_int64(dtype):
    labels = check_labels(torch.tensor([0, 2, 1], dtype=dtype), count=3, classes=3)
    assert labels.dtype == torch.int64 and labels.tolist() == [0, 2, 1]


def test_no_labels_for_no_images():
    assert check_labels(torch.zeros(0, dtype=torch.long), count=0, classes=3).shape == (0,)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1]), r"shape \[3\].*got \[2\]"),
        (torch.zeros(3, 1, dtype=torch.long), r"got \[3, 1\]"),
        (torch.tensor(1), "got"),
        (torch.tensor([0.0, 1.0, 2.0]), "integer"),
        (torch.tensor([True, False, True]), "integer"),
        ([0, 1, 2], "integer"),
        (torch.tensor([0, 1, 3]), "at most 2, found 0 to 3"),
        (torch.tensor([0, -1, 2]), "at least 0.*found -1"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(InputError, match=message):
        check_labels(labels, count=3, classes=3)


@pytest.mark.parametrize("steps", [0, -1, 1.0, 2.5, "3", True, None])
def test_bad_steps(steps):
    with pytest.raises(InputError, match="search_steps: must be a whole number"):
        check_steps(steps, name="search_steps")


def test_good_steps():
    assert check_steps(7) == 7
