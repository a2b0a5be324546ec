"""Accuracies with their uncertainty."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import model_validator
from scipy.stats import binomtest

from purespike.results.record import Count, Record, Share
from purespike.results.vocabulary import percent


class Score(Record):
    """A share of images with its 95% Wilson interval (Wilson 1927); shares are in [0, 1]."""

    correct: Count
    n: Count
    accuracy: Share
    low: Share
    high: Share

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.n or abs(self.accuracy * self.n - self.correct) > 1e-3:
            raise ValueError(f"accuracy {self.accuracy:g} is not that of {self.correct} of {self.n} images")
        if not self.low - 1e-9 <= self.accuracy <= self.high + 1e-9:
            raise ValueError(f"the interval [{self.low:g}, {self.high:g}] does not hold {self.accuracy:g}")
        return self

    @classmethod
    def of(cls, outcomes: Sequence[int] | np.ndarray) -> Self:
        """The share of ones among ``outcomes``, at least one of them."""
        return cls.share(int(np.sum(outcomes)), len(outcomes))

    def fits(self, outcomes: Sequence[int] | np.ndarray) -> bool:
        """Whether it is the share of ones among ``outcomes``."""
        return (len(outcomes), np.sum(outcomes)) == (self.n, self.correct)

    @classmethod
    def share(cls, correct: int, n: int) -> Self:
        """``correct`` of ``n`` images."""
        interval = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
        return cls(
            correct=correct,
            n=n,
            accuracy=correct / n,
            low=float(interval.low),
            high=float(interval.high),
        )

    @property
    def text(self) -> str:
        """The accuracy in percent, without the sign: ``96.2``."""
        return percent(self.accuracy)

    @property
    def interval(self) -> str:
        """The interval in percent: ``[89.5, 98.7]``."""
        return f"[{percent(self.low)}, {percent(self.high)}]"
