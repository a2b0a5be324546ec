import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from purespike.errors import InputError
from purespike.neurons import (
    ASSG,
    BPTR,
    HART,
    PDSG,
    ATan,
    Exponential,
    Gaussian,
    RateBased,
    Rectangle,
    StraightThrough,
    Surrogate,
    Triangle,
    parse_surrogate,
)

from .reference import SLOPES

ROWS = [parse_surrogate(text) for text in SLOPES]
ALL = [*ROWS, ASSG(), ASSG(0.98), PDSG(), HART(), HART(0.5), RateBased(), BPTR()]


@pytest.mark.parametrize("text", SLOPES)
def test_derivative_is_what_its_formula_says(text):
    distance = torch.linspace(-4, 4, 1001, dtype=torch.float64)
    derivative = parse_surrogate(text).derivative(distance)
    torch.testing.assert_close(derivative, SLOPES[text](distance), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("surrogate", [row for row in ROWS if row != StraightThrough()], ids=str)
def test_derivative_is_that_of_a_step_from_zero_to_one(surrogate):
    def derivative(x):
        return surrogate.derivative(torch.tensor(x, dtype=torch.float64)).item()

    half = getattr(surrogate, "width", 1.0)
    middle, _ = integrate.quad(derivative, -half, half, points=[-half / 2, 0, half / 2])
    tails = sum(integrate.quad(derivative, *ends)[0] for ends in [(-np.inf, -half), (half, np.inf)])
    assert middle + tails == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("surrogate", ALL, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_derivative_keeps_shape_and_type(surrogate, dtype):
    derivative = surrogate.derivative(torch.randn(3, 4).to(dtype))
    assert derivative.shape == (3, 4) and derivative.dtype == dtype


@pytest.mark.parametrize("surrogate", ALL, ids=str)
def test_written_form_reads_back(surrogate):
    assert parse_surrogate(str(surrogate)) == surrogate
    assert parse_surrogate(surrogate) is surrogate


@given(st.sampled_from([Rectangle, Triangle, ATan, Exponential, Gaussian, HART]), st.integers(1, 9999))
def test_any_written_form_reads_back(cls, thousandths):
    surrogate = cls(thousandths / 100)
    assert parse_surrogate(str(surrogate)) == surrogate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rectangle", Rectangle(1.0)),
        (" Rectangle ( width = 0.5 ) ", Rectangle(0.5)),
        ("triangle()", Triangle(1.0)),
        ("ATan(alpha=3)", ATan(3.0)),
        ("exponential(alpha=2)", Exponential(2.0)),
        ("StraightThrough()", StraightThrough()),
        ("assg", ASSG(0.8)),
        ("ASSG(coverage=0.6)", ASSG(0.6)),
        ("pdsg", PDSG()),
        ("ratebased", RateBased()),
        ("bptr", BPTR()),
        ("BPTR()", BPTR()),
        ("gaussian(width=0.25)", Gaussian(0.25)),
        ("rectangle(width=4)", Rectangle(4.0)),
        ("hart(width=.5)", HART(0.5)),
        ("atan(alpha=1e1)", ATan(10.0)),
    ],
)
def test_reads(text, expected):
    assert parse_surrogate(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rectangel", "did you mean 'rectangle'"),
        ("atan(beta=2)", "unknown setting of surrogate atan 'beta'.*alpha"),
        ("atan(alpha=two)", "alpha must be a number"),
        ("atan(alpha=-1)", "alpha must be positive"),
        ("triangle(width=nan)", "width must be positive"),
        ("triangle(width=inf)", "width must be positive"),
        ("assg(coverage=1)", "surrogate assg: coverage must be below 1"),
        ("pdsg(width=1)", "unknown setting of surrogate pdsg 'width'"),
        ("straightthrough(1)", "unknown setting of surrogate straightthrough '1'"),
        ("bptr(width=1)", "unknown setting of surrogate bptr 'width'"),
        ("gaussian(width=0.25-2)", "width must be a number, got '0.25-2'"),
        ("rememberingsurrogate", "unknown surrogate"),
        ("atan(alpha=2", "write a name and its settings"),
        ("", "write a name and its settings"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message):
        parse_surrogate(text)


@pytest.mark.parametrize("cls", [cls for cls in Surrogate.known.values() if fields(cls)])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "1", True, None])
def test_settings_must_be_positive_numbers(cls, value):
    with pytest.raises(InputError, match=cls.__name__.lower()):
        cls(value)
