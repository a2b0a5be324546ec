"""Models that reject images, or purify only those that look attacked, and their honest evaluation."""

from purespike.rejection import scores
from purespike.rejection.adversary import gate_routes
from purespike.rejection.evaluate import evaluate_rejection
from purespike.rejection.gated import Gated
from purespike.rejection.registry import SCORES, score
from purespike.rejection.rejecting import Decision, Rejecting
from purespike.rejection.seen import Seen
from purespike.rejection.threshold import choose_threshold
from purespike.results.rejection import Rejection

__all__ = [
    "SCORES",
    "Decision",
    "Gated",
    "Rejecting",
    "Rejection",
    "Seen",
    "choose_threshold",
    "evaluate_rejection",
    "gate_routes",
    "score",
    "scores",
]
