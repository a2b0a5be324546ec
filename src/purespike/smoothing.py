"""Settings of randomised smoothing: noise, draws and confidence; imports no torch."""

import math
from statistics import NormalDist
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from purespike.errors import InputError, brief
from purespike.scalars import parse_number
from purespike.section import Positive, Section

LEAST_RADIUS = 1 / 255
"""One grey level of one pixel: within a smaller L2 radius there is no other 8-bit image."""
MOST_SIGMA = 10.0


def _sigma(value: Any) -> float:
    sigma = parse_number(value, name="sigma", example="0.25")
    if not 0 < sigma <= MOST_SIGMA:
        raise InputError(
            f"sigma: must be positive and at most {MOST_SIGMA:g} in pixel units (1 = full range), "
            f"got {brief(value)}; 0.12 to 1 are usual"
        )
    return sigma


class Smoothing(Section):
    """The Gaussian noise of a smoothed classifier, and the draws that estimate it.

    Args:
        sigma: standard deviation of the noise, in pixel units (1 = full range).
        n: draws that estimate the probability of the selected class.
        n0: draws that select the class, others than the ``n``.
        alpha: probability that the certificate of an image is false.

    Raises:
        InputError: a setting out of range, fewer draws than ``alpha`` needs, or noise so weak that even
            draws that all agree certify less than one grey level of one pixel.
    """

    sigma: Annotated[
        float,
        BeforeValidator(_sigma),
        Field(description="Standard deviation of the Gaussian noise, in pixel units (1 = full range)."),
    ] = 0.25
    n: Annotated[
        int, Field(ge=1, le=10**9, description="Draws that estimate the probability of the selected class.")
    ] = 10_000
    n0: Annotated[Positive, Field(description="Draws that select the class, others than the n.")] = 100
    alpha: Annotated[
        float, Field(gt=0, lt=0.5, description="Probability that the certificate of an image is false.")
    ] = 0.001

    @model_validator(mode="after")
    def _certifies(self) -> "Smoothing":
        least = least_draws(self.alpha)
        if self.n < least:
            raise InputError(
                f"n: {self.n} draws certify nothing at alpha {self.alpha:g}, even if all agree; "
                f"give at least {least}, and 10,000 for a useful radius"
            )
        if self.largest_radius < LEAST_RADIUS:
            raise InputError(
                f"sigma: {self.sigma:g} with {self.n:,} draws certifies at most an L2 radius of "
                f"{self.largest_radius:.2g}, less than one grey level of one pixel (1/255); raise sigma or n"
            )
        return self

    @property
    def largest_radius(self) -> float:
        """L2 radius of an image whose ``n`` draws all agree; no certificate exceeds it."""
        return self.sigma * NormalDist().inv_cdf(self.alpha ** (1 / self.n))


def least_draws(alpha: float) -> int:
    """The least number of draws that can certify at ``alpha``: those whose bound, if all agree, exceeds ½."""
    return math.floor(-math.log2(alpha)) + 1
