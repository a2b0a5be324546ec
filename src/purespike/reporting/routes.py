"""Routes of an attacker side by side: how many images each of them broke, attack by attack."""

from collections.abc import Iterator
from dataclasses import dataclass

from purespike.budget import same_eps
from purespike.results import Cell, Evaluation
from purespike.results.vocabulary import ThreatWords, threat_words


@dataclass(frozen=True)
class Routes:
    """The routes of one threat model at one bound.

    Args:
        words: words of the threat model.
        condition: bound of the perturbation.
        cells: one per attack.
        rows: surrogate, loss, and the images broken by each attack along this route, ``None`` if not taken.
        most: largest number of images that one route broke, per attack.
    """

    words: ThreatWords
    condition: str
    cells: tuple[Cell, ...]
    rows: tuple[tuple[str, str, list[int | None]], ...]
    most: tuple[int, ...]

    @property
    def idle(self) -> int:
        """Routes along which no attack broke an image."""
        return sum(not any(counts) for *_, counts in self.rows)


def routes(evaluation: Evaluation) -> Iterator[Routes]:
    """The routes at each bound of the tables and without one, the most knowing attacker first."""
    measured = [cell for cell in evaluation.cells if cell.components]
    threats = sorted(evaluation.threats, key=lambda name: -threat_words(name).knowledge)
    for eps in dict.fromkeys([*evaluation.budgets, None]):
        for threat in threats:
            cells = [cell for cell in measured if same_eps(cell.eps, eps) and cell.threat == threat]
            if not cells:
                continue
            broken = [{(part.gradient, part.loss): part.broken for part in cell.components} for cell in cells]
            names = dict.fromkeys(name for counts in broken for name in counts)
            yield Routes(
                threat_words(threat),
                cells[0].condition,
                tuple(cells),
                tuple((*name, [counts.get(name) for counts in broken]) for name in names),
                tuple(max(counts.values()) for counts in broken),
            )
