"""Certificates of randomised smoothing: per image, per model, and of several models on the same images."""

import functools
import math
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from scipy.stats import beta, norm

from purespike.results.provenance import DataDescription, ModelDescription, Provenance
from purespike.results.record import Count, Number, Record, Share
from purespike.results.score import Score
from purespike.smoothing import Smoothing

# steps of the radii in a table; the largest that gives at least three rows is taken
_STEPS = (0.25, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


@functools.lru_cache(maxsize=65536)
def lower_bound(successes: int, n: int, alpha: float) -> float:
    r"""One-sided Clopper-Pearson lower bound of a probability, at confidence :math:`1 - \alpha`.

    .. math:: \underline{p} = \mathrm{Beta}^{-1}(\alpha;\ n_A,\ n - n_A + 1)

    Args:
        successes: n_A, draws that agreed.
        n: number of draws.
        alpha: probability that the true one is below the bound.

    Returns:
        The bound; 0 without any success.

    Example:
        >>> round(lower_bound(100, 100, 0.001), 6) == round(0.001 ** (1 / 100), 6)
        True
    """
    return float(beta.ppf(alpha, successes, n - successes + 1)) if successes else 0.0


def certified_radius(p_lower: float, sigma: float) -> float:
    r"""L2 radius :math:`\sigma\,\Phi^{-1}(\underline{p})` (Cohen et al. 2019); 0 for a bound up to ½."""
    return sigma * float(norm.ppf(p_lower)) if p_lower > 0.5 else 0.0


class Certificate(Record):
    """The smoothed prediction of one image, and the L2 radius in which it is proven to stay.

    Args:
        label: true class.
        selected: class that the first draws selected.
        prediction: that class, or ``None`` where the bound is at most ½: the smoothed classifier abstains.
        n_a: count of the selected class among the ``n`` draws.
        p_lower: lower bound of its probability.
        radius: L2 radius in pixel units; 0 for an abstention.
    """

    label: Count
    selected: Count
    prediction: Count | None
    n_a: Count
    p_lower: Share
    radius: Number

    @classmethod
    def of(cls, *, label: int, selected: int, n_a: int, smoothing: Smoothing) -> Self:
        """The certificate of an image whose class ``selected`` got ``n_a`` of the ``n`` draws."""
        p_lower = lower_bound(n_a, smoothing.n, smoothing.alpha)
        radius = certified_radius(p_lower, smoothing.sigma)
        prediction = selected if radius > 0 else None
        return cls(
            label=label, selected=selected, prediction=prediction, n_a=n_a, p_lower=p_lower, radius=radius
        )

    @property
    def correct(self) -> bool:
        """Whether the prediction is the label; an abstention is an error."""
        return self.prediction == self.label


class CertifiedModel(Record):
    """The certificates of one model.

    Args:
        model: description of the model.
        certificates: one for each image.
        seconds: time that the draws took, summed over processes.
        stochastic: whether the model draws random numbers of its own, anew for every draw.
    """

    model: ModelDescription
    certificates: tuple[Certificate, ...]
    seconds: Number = 0.0
    stochastic: bool = False

    def accuracy(self, radius: float = 0.0) -> Score:
        """Certified accuracy: the share of images predicted correctly with at least this L2 radius.

        At 0 it is the accuracy of the smoothed classifier. Abstentions are errors.
        """
        return Score.of([int(one.correct and one.radius >= radius) for one in self.certificates])

    @property
    def average_radius(self) -> float:
        """Mean L2 radius, of an image that is misclassified or abstained from 0 (Zhai et al. 2020)."""
        return sum(one.radius for one in self.certificates if one.correct) / len(self.certificates)

    @property
    def abstained(self) -> int:
        """Number of images without a prediction."""
        return sum(one.prediction is None for one in self.certificates)

    @property
    def images_per_minute(self) -> float | None:
        """Images per minute of one process; ``None`` where no time was taken."""
        return 60 * len(self.certificates) / self.seconds if self.seconds else None


class Certification(Record):
    """Certificates of several models on the same images, by name: the content of ``certification.json``.

    Args:
        smoothing: noise, draws and confidence.
        models: the models, that of the question first.
        data: the images.
        shape: C, H and W of an image.
        settings: further conditions, such as the batch size.
        seed: seed of every draw.
        provenance: origin of the numbers.
    """

    if_unreadable: ClassVar[str] = "certify again"

    schema_version: Literal[1] = Field(alias="schema")
    smoothing: Smoothing
    models: dict[str, CertifiedModel] = Field(min_length=1)
    data: DataDescription
    shape: tuple[Count, Count, Count]
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: Count
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, each in self.models.items():
            if len(each.certificates) != self.data.n:
                raise ValueError(f"{name}: {len(each.certificates)} certificates of {self.data.n} images")
            for number, one in enumerate(each.certificates):
                if one.n_a > self.smoothing.n:
                    raise ValueError(f"{name}, image {number}: {one.n_a} of {self.smoothing.n} draws")
                known = Certificate.of(
                    label=one.label, selected=one.selected, n_a=one.n_a, smoothing=self.smoothing
                )
                same = math.isclose(known.p_lower, one.p_lower, abs_tol=1e-9)
                same &= math.isclose(known.radius, one.radius, abs_tol=1e-6)
                if not same or known.prediction != one.prediction:
                    raise ValueError(
                        f"{name}, image {number}: radius {one.radius:g} is not that of {one.n_a} of "
                        f"{self.smoothing.n} draws"
                    )
        return self

    @property
    def first(self) -> CertifiedModel:
        """The model of the question."""
        return next(iter(self.models.values()))

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The certificates of the model of the question, one for each image."""
        return self.first.certificates

    def accuracy(self, radius: float = 0.0) -> Score:
        """Certified accuracy of the model of the question; see :meth:`CertifiedModel.accuracy`."""
        return self.first.accuracy(radius)

    @property
    def average_radius(self) -> float:
        """Average certified radius of the model of the question."""
        return self.first.average_radius

    @property
    def radii(self) -> list[float]:
        """L2 radii of a table: from 0 in even steps to the largest that can be certified."""
        largest = self.smoothing.largest_radius
        step = next((each for each in _STEPS if largest >= 3 * each), _STEPS[-1])
        return [round(step * number, 6) for number in range(int(largest / step) + 1)]

    def linf(self, radius: float) -> float:
        """Radius of the largest L∞ ball inside the L2 ball: divided by the root of C·H·W."""
        return radius / math.prod(self.shape) ** 0.5

    def __str__(self) -> str:
        """One line per model: smoothed accuracy, certified accuracy and average radius."""
        noise = f"sigma {self.smoothing.sigma:g}, n {self.smoothing.n:,}, alpha {self.smoothing.alpha:g}"
        lines = [f"Certified accuracy on {self.data.text}, {noise}"]
        for name, each in self.models.items():
            shown = [f"{each.accuracy(r).text}% at L2 {r:g}" for r in self.radii[:4]]
            lines.append(
                f"{name}: {', '.join(shown)}; average radius {each.average_radius:.3f}, "
                f"{each.abstained} of {self.data.n} abstained"
            )
        return "\n".join(lines)

    __repr__ = __str__
