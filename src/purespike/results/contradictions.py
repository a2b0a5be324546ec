"""What cannot be true of one evaluation: parts of a file that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from purespike.budget import format_eps
from purespike.errors import InputError
from purespike.results.finding import Verdict

if TYPE_CHECKING:
    from purespike.results.evaluation import Evaluation


def contradictions(evaluation: Evaluation) -> Iterator[str]:
    """Sentences on parts of an evaluation that contradict each other; none where it can be true.

    Every accuracy, list of outcomes and list of labels is of the same images, a list of outcomes has the
    accuracy that stands beside it, a worst case is what its cells say, and a verdict the worst of its
    findings.
    """
    yield from _numbers(evaluation)
    yield from _clean(evaluation)
    yield from _worst_cases(evaluation)
    if evaluation.diagnostics is not None and evaluation.verdict is not None:
        follows = Verdict.of(evaluation.diagnostics).level
        if evaluation.level != follows:
            yield f"verdict: says {evaluation.level}, the diagnostics say {follows}"


def _numbers(evaluation: Evaluation) -> Iterator[str]:
    """Different numbers of images."""
    n, clean = evaluation.data.n, evaluation.clean
    counted = {"clean.undefended": clean.undefended.n}
    if clean.defended is not None:
        counted["clean.defended"] = clean.defended.n
    if evaluation.labels is not None:
        counted["labels"] = len(evaluation.labels)
    for place, cell in enumerate(evaluation.cells):
        counted[f"cells.{place}.score"] = cell.score.n
        if cell.rounded is not None and cell.rounded.outcomes:
            counted[f"cells.{place}.rounded"] = len(cell.rounded.outcomes)
    for name, number in counted.items():
        if number != n:
            yield f"{name}: of {number} images, data.n says {n}"
    for place, cell in enumerate(evaluation.cells):
        for component in cell.components:
            # older files do not say how many were attacked
            if component.attacked and component.broken > component.attacked:
                yield f"cells.{place}.components: {component.broken} broken of {component.attacked} attacked"
        if cell.rounded is not None and cell.rounded.survived > cell.rounded.broken:
            yield f"cells.{place}.rounded: {cell.rounded.survived} survived of {cell.rounded.broken} broken"


def _clean(evaluation: Evaluation) -> Iterator[str]:
    """Outcomes on clean images that are not their accuracy."""
    kept, clean = evaluation.clean_outcomes, evaluation.clean
    if kept is None:
        return
    # of a classifier alone both are its own
    for name, values, score in (
        ("undefended", kept.undefended, clean.undefended),
        ("defended", kept.defended, clean.defended or clean.undefended),
    ):
        if values and not score.fits(values):
            yield (
                f"clean_outcomes.{name}: {sum(values)} of {len(values)} are 1, the score says "
                f"{score.correct} of {score.n}"
            )


def _worst_cases(evaluation: Evaluation) -> Iterator[str]:
    """Worst cases that are not those of the cells."""
    for case in evaluation.worst_case:
        where = f"worst_case, {case.threat} at eps {format_eps(case.eps)}"
        try:
            robust = evaluation.worst_case_at(case.eps, (case.threat,))
        except InputError:
            # without outcomes per image nothing follows
            continue
        if robust is None:
            yield f"{where}: no cell of it"
        elif not case.score.fits(robust):
            said = f"{case.score.correct} of {case.score.n}"
            yield f"{where}: {said}, the cells say {robust.sum()} of {len(robust)}"
