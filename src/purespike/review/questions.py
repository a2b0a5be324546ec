"""What a table of robust accuracies leaves open, as questions to its authors."""

from collections.abc import Iterator, Sequence

from purespike.results.vocabulary import attack_words
from purespike.review.row import Entry, Row

LONG = 50
"""Steps of an iterated attack from which on a further one seldom breaks more."""


def questions(rows: Sequence[Row]) -> Iterator[str]:
    """One question for each thing that no row, or not every row, tells.

    Args:
        rows: the table.
    """
    entries = [entry for row in rows for entry in row.entries]
    if not entries:
        yield "How many images does any attack leave robust? The table holds clean accuracies alone."
        return
    yield from _attacks(entries)
    yield from _models(rows)
    if any(entry.eps is None and not entry.unbounded for entry in entries):
        without = dict.fromkeys(e.title for e in entries if e.eps is None and not e.unbounded)
        yield f"At which eps, in pixel units, and in which norm: {', '.join(without)}?"
    for row in rows:
        # 0.711 beside 84.1; some networks without a defence do keep less than a percent
        told = [entry.accuracy for entry in row.entries if entry.accuracy]
        if len(told) > 1 and 0.002 < max(told) < 0.01:
            yield f"Is a percent meant, or a fraction? Every attack on {row.name} leaves less than 1%."
    if any(row.images is None for row in rows):
        yield "How many test images were attacked, and with how many seeds was each row trained?"


def _attacks(entries: Sequence[Entry]) -> Iterator[str]:
    climbing = [entry for entry in entries if entry.iterated]
    longest = max((entry.steps or 0 for entry in climbing), default=0)
    suites = any(attack_words(entry.attack).suite for entry in entries)
    if longest < LONG and not suites:
        ran = f"the longest attack here has {longest} steps" if longest else "no attack here says its steps"
        yield f"How many images are robust to 100 steps of PGD ({ran})?"
    if not any(entry.surrogates > 1 for entry in entries):
        yield (
            "Does the gradient use the surrogate of the spike's derivative that was trained with? How many "
            "images are robust to the worst of several shapes and widths?"
        )
    if not suites and not any(entry.attack in ("apgd_dlr", "cw", "fab") for entry in entries):
        yield "How many images are robust to another loss (the margin, DLR)?"
    if not suites and not any(attack_words(entry.attack).by_queries for entry in entries):
        yield "How many images are robust to an attack without gradients (Square, 5,000 queries)?"
    if not any(entry.threat == "transfer" for entry in entries):
        yield "Do images made on another model, adversarially trained, break more (transfer)?"
    if max((entry.eps or 0 for entry in climbing), default=0) < 64 / 255 - 1e-9:
        yield "Does accuracy fall to 0 as eps grows to 64/255?"


def _models(rows: Sequence[Row]) -> Iterator[str]:
    untold = [row.name for row in rows if row.training is None]
    if untold:
        yield f"Trained on clean or on adversarial images: {', '.join(untold)}?"
    budgets = [row.name for row in rows if row.training == "adversarial" and row.training_eps is None]
    if budgets:
        yield f"Trained at which eps, with how many steps: {', '.join(budgets)}?"
    unknown = [row.name for row in rows if row.stochastic is None]
    if unknown:
        yield f"Is anything random when it classifies: {', '.join(unknown)}?"
    single = [row.name for row in rows if row.stochastic and all(entry.eot == 1 for entry in row.entries)]
    if single:
        yield f"What is left after EOT over 20 passes: {', '.join(single)}?"
