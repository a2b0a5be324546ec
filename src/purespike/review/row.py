"""One row of a table of robust accuracies: a defence, and how many images each attack left robust."""

from dataclasses import dataclass
from typing import Literal

from purespike.budget import format_eps, same_eps
from purespike.results.vocabulary import attack_text, attack_words, percent

Training = Literal["clean", "adversarial"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One robust accuracy.

    Args:
        attack: name of the attack, as on the command line.
        accuracy: share of images classified correctly under attack, in [0, 1].
        eps: budget in pixel units; ``None`` if unknown.
        norm: ``"linf"`` or ``"l2"``.
        steps: gradient steps; ``None`` if unknown, or where the attack has none.
        restarts: random starts.
        eot: passes over which the gradient of a stochastic model is averaged.
        queries: queries an image; ``None`` if unknown, or where the attack has none.
        surrogates: surrogates of the spike's derivative over which the worst case was taken.
        threat: ``"white_box"``, ``"transfer"`` or ``"query"``.
        unbounded: whether the attack has no bound: it makes the image as different as it must.
    """

    attack: str
    accuracy: float
    eps: float | None = None
    norm: str = "linf"
    steps: int | None = None
    restarts: int = 1
    eot: int = 1
    queries: int | None = None
    surrogates: int = 1
    threat: str = "white_box"
    unbounded: bool = False

    @property
    def title(self) -> str:
        """The attack with what distinguishes it, ``PGD-20 (EOT 10)``."""
        kept = {"EOT": self.eot, "starts": self.restarts, "surrogates": self.surrogates}
        about = [f"{name} {count}" for name, count in kept.items() if count > 1]
        if self.queries is not None:
            about.append(f"{self.queries:,} queries")
        if self.threat == "transfer":
            about.append("transferred")
        return attack_text(self.attack, self.steps) + (f" ({', '.join(about)})" if about else "")

    def __str__(self) -> str:
        budget = "" if self.eps is None else f" at eps {format_eps(self.eps)}"
        return f"{self.title}{budget} leaves {percent(self.accuracy)}%"

    @property
    def by_gradient(self) -> bool:
        """Whether it differentiates the model that it is judged by."""
        return self.threat == "white_box" and not attack_words(self.attack).by_queries

    @property
    def iterated(self) -> bool:
        """Whether it climbs by gradients over several steps."""
        words = attack_words(self.attack)
        return self.by_gradient and words.rank is not None and words.rank > 0

    def alike(self, other: "Entry") -> bool:
        """Whether both have the same budget, known or not."""
        same = (self.norm, self.unbounded) == (other.norm, other.unbounded)
        return same and same_eps(self.eps, other.eps)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One defence.

    Args:
        name: its name.
        clean: clean accuracy in [0, 1].
        entries: robust accuracies.
        training: whether it was trained on adversarial images; ``None`` if unknown.
        training_eps: their budget; ``None`` if unknown, or for clean images.
        stochastic: whether two calls answer differently; ``None`` if unknown.
        images: images attacked; ``None`` if unknown.
        zero_gradient: share of images without any input gradient; ``None`` if unknown.
    """

    name: str
    clean: float
    entries: tuple[Entry, ...] = ()
    training: Training | None = None
    training_eps: float | None = None
    stochastic: bool | None = None
    images: int | None = None
    zero_gradient: float | None = None
