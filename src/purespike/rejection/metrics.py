"""Figures of a score: how well it detects, and what it costs to trust it."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score

from purespike.results.rejection import Detection, Estimate, RiskCoverage
from purespike.results.score import Score

# 97.5% quantile of the standard normal distribution
_Z = 1.959963984540054


def detection(clean: Sequence[float], attacked: Sequence[float]) -> Detection:
    """How well scores tell successful attacks, the positives, from clean images, the negatives.

    Args:
        clean: score of each clean image.
        attacked: score of each attacked image that fools the classifier; no failed attacks.
    """
    count = len(attacked)
    if not count or not len(clean):
        return Detection(successes=count)
    truth = [0] * len(clean) + [1] * count
    area = float(roc_auc_score(truth, [*clean, *attacked]))
    low, high = auroc_interval(area, positives=count, negatives=len(clean))
    return Detection(
        successes=count,
        auroc=Estimate(value=area, low=low, high=high),
        tpr_at_1=true_positives(clean, attacked, rate=0.01),
        tpr_at_5=true_positives(clean, attacked, rate=0.05),
    )


def true_positives(clean: Sequence[float], attacked: Sequence[float], *, rate: float) -> Score:
    """Share of ``attacked`` above the least threshold that at most a share ``rate`` of ``clean`` exceeds."""
    ordered = sorted(clean, reverse=True)
    threshold = ordered[math.floor(round(rate * len(clean), 9))] if rate < 1 else -math.inf
    return Score.share(sum(score > threshold for score in attacked), len(attacked))


def auroc_interval(area: float, *, positives: int, negatives: int) -> tuple[float, float]:
    r"""95% interval of an area under the ROC curve (Newcombe 2006, method 5), also of 0 and 1.

    The bounds solve :math:`|\hat\theta - \theta| = z \sqrt{V(\theta)}` with the variance of Hanley & McNeil
    (1982), both sample sizes replaced by their mean in its two terms.
    """

    def spread(theta: float) -> float:
        more = (positives + negatives) / 2 - 1
        inner = 1 + more * (1 - theta) / (2 - theta) + more * theta / (1 + theta)
        return _Z * math.sqrt(max(theta * (1 - theta), 0) * inner / (positives * negatives))

    # at 0 and 1 the equation has a second root, which is no bound
    edge = 1e-9
    low = 0.0 if area == 0 else brentq(lambda theta: area - theta - spread(theta), 0, min(area, 1 - edge))
    high = 1.0 if area == 1 else brentq(lambda theta: theta - area - spread(theta), max(area, edge), 1)
    return float(low), float(high)


def risk_coverage(scores: Sequence[float], right: Sequence[int]) -> RiskCoverage:
    """Risk at every coverage: images of the lowest scores are accepted first, equal scores together.

    Args:
        scores: score of each image.
        right: 1 for each image that is classified correctly.
    """
    values, place = np.unique(np.asarray(scores, dtype=float), return_inverse=True)
    members = np.bincount(place, minlength=len(values))
    errors = np.bincount(place, weights=1 - np.asarray(right), minlength=len(values))
    accepted = members.cumsum()
    risk = errors.cumsum() / accepted
    return RiskCoverage(
        coverage=tuple((accepted / len(scores)).tolist()),
        risk=tuple(risk.tolist()),
        aurc=min(float((risk * members).sum() / len(scores)), 1.0),
    )
