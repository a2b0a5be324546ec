"""The robustness table: attacks by threat models, never a number without its eps and its threat model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from purespike.budget import format_eps, same_eps
from purespike.errors import InputError
from purespike.results import Cell, Evaluation, Score
from purespike.results.vocabulary import NORMS, THREATS, attack_words, percent


@dataclass(frozen=True)
class Entry:
    """One accuracy, with the attack, its bound and the threat model it was measured under."""

    score: Score
    attack: str
    condition: str
    threat: str
    more: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The accuracy in percent."""
        return self.score.text

    @property
    def interval(self) -> str:
        """Its 95% Wilson interval in percent."""
        return self.score.interval

    @property
    def description(self) -> str:
        """The entry in a sentence."""
        bound = f", {self.condition}" if self.condition else ""
        return f"{self.attack}{bound}, {self.threat}: {self.score.correct} of {self.score.n} correct"


@dataclass(frozen=True)
class Row:
    """One attack: ``kind`` is ``"clean"``, ``"attack"`` or ``"worst"``; ``robust`` maps threat to entry."""

    kind: str
    name: str
    attack: str
    condition: str
    clean: Entry | None
    robust: Mapping[str, Entry | None]
    steps: int = 1
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """The rows measured at one eps; ``threats`` are the columns after attack and clean."""

    title: str
    heading: str
    eps: float | None
    threats: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def robustness_table(evaluation: Evaluation, eps: float | None = None) -> Table:
    """The accuracies at one eps, by attack and threat model.

    Args:
        evaluation: the evaluation.
        eps: perturbation size in pixel units; the headline one (first of the settings) if not given.
            Attacks without a bound are in the headline table only.

    Raises:
        InputError: nothing was measured at ``eps``.
    """
    headline = table_eps(evaluation)[0]
    eps = headline if eps is None else eps
    bounded = [cell for cell in evaluation.cells if cell.eps is not None and same_eps(cell.eps, eps)]
    if eps is not None and not bounded:
        raise InputError(f"evaluation: no attack was run at eps {format_eps(eps)}")
    free = [cell for cell in evaluation.cells if cell.eps is None and same_eps(eps, headline)]
    threats = table_threats(evaluation)
    clean = _clean_entry(evaluation)
    plain = Entry(evaluation.clean.undefended, "clean images", "", "classifier without purifier")
    rows = [Row("clean", "none", "none (clean images)", "", clean, _fill(threats, {"undefended": plain}))]
    rows += _attack_rows(evaluation, bounded + free, threats, clean)
    norm = NORMS.get(bounded[0].norm, bounded[0].norm) if bounded else ""
    heading = f"{norm}, eps {format_eps(eps)}" if eps is not None else "no eps bound"
    worst = {
        case.threat: Entry(case.score, "worst case", heading, case.threat)
        for case in evaluation.worst_cases
        if same_eps(case.eps, eps)
    }
    if worst:
        rows.append(Row("worst", "worst", "worst case", heading, clean, _fill(threats, worst)))
    return Table(
        table_title(evaluation), heading, eps, threats, tuple(rows), _notes(rows, heading, evaluation)
    )


def robustness_tables(evaluation: Evaluation) -> list[Table]:
    """One table per eps of the settings, the headline first."""
    return [robustness_table(evaluation, eps) for eps in table_eps(evaluation)]


def table_eps(evaluation: Evaluation) -> list[float | None]:
    """The budgets that get a table, or ``None`` where there is none."""
    return [*evaluation.budgets] or [None]


def table_threats(evaluation: Evaluation) -> tuple[str, ...]:
    """The columns: those that are always shown, and any other that was measured."""
    always = [
        name
        for name, words in THREATS.items()
        if words.always_shown and (evaluation.defended or not words.end_to_end)
    ]
    seen = evaluation.threats
    return tuple(name for name in dict.fromkeys((*THREATS, *seen)) if name in always or name in seen)


def table_title(evaluation: Evaluation) -> str:
    """What was measured, on which images, under which threat models: the sentence above every table."""
    clean, whole = evaluation.clean, evaluation.clean_whole
    accuracy = f"Clean accuracy {_with_interval(clean.undefended)} without purifier"
    if clean.defended:
        accuracy += f", {_with_interval(clean.defended)} with it"
    if whole:
        accuracy += f"; on all {whole.undefended.n:,}, {_with_interval(whole.undefended)} without"
        if whole.defended:
            accuracy += f", {_with_interval(whole.defended)} with"
    threats = [
        f"{words.inline} ({words.short})" for words in map(evaluation.words, table_threats(evaluation))
    ]
    bounds = [format_eps(eps) for eps in evaluation.budgets]
    judged = (
        f" The model is stochastic: each image is judged by the majority of {evaluation.passes} passes; "
        '"a pass" is the share of single passes that were right.'
    )
    return (
        f"Accuracy in % [95% Wilson interval] on {evaluation.data.text}"
        f"{' under attacks at eps ' + ' and '.join(bounds) if bounds else ''}. "
        f"Threat model{'s' if len(threats) > 1 else ''}: {', '.join(threats)}. {accuracy}."
        f"{judged if evaluation.passes > 1 else ''}"
    )


def cell_entry(cell: Cell) -> Entry:
    """The entry of one cell; an attack without a bound also says how far it had to go."""
    far = cell.norm == "l2" and cell.eps is None and cell.mean_l2 is not None
    more = (
        f"mean L2 {cell.mean_l2:.2f}" if far else "",
        cell.per_pass,
        cell.rounded.text if cell.rounded else "",
    )
    return Entry(cell.score, cell.title, cell.condition, cell.threat, tuple(filter(None, more)))


def _entry_in(group: Mapping[str, Cell], threat: str, evaluation: Evaluation) -> Entry:
    """The entry of a row's cell: an attacker who knows all may run the attack as any other one runs it."""
    entry = cell_entry(group[threat])
    ways = [cell for name, cell in group.items() if name in evaluation.end_to_end_threats]
    if not evaluation.words(threat).knows_all or not all(cell.outcomes for cell in ways):
        return entry
    contained = Score.of(np.logical_and.reduce([cell.robust for cell in ways]))
    if contained.correct == entry.score.correct:
        return entry
    return replace(entry, score=contained, more=(*entry.more, f"{entry.text} by its own gradient"))


def _clean_entry(evaluation: Evaluation) -> Entry | None:
    clean = evaluation.clean
    if not evaluation.defended:
        return Entry(clean.undefended, "clean images", "", "classifier without purifier")
    return Entry(clean.defended, "clean images", "", "purified") if clean.defended else None


def _fill(threats: tuple[str, ...], entries: Mapping[str, Entry]) -> dict[str, Entry | None]:
    return {threat: entries.get(threat) for threat in threats}


def _attack_rows(
    evaluation: Evaluation, cells: list[Cell], threats: tuple[str, ...], clean: Entry | None
) -> list[Row]:
    # one row per attack, settings and bound; a second measurement of the same threat opens a second row
    groups: list[dict[str, Cell]] = []
    for cell in cells:
        for group in groups:
            first = next(iter(group.values()))
            alike = all(
                getattr(first, name) == getattr(cell, name)
                for name in ("attack", "condition", "raised_from", "settings")
            )
            if alike and cell.threat not in group:
                group[cell.threat] = cell
                break
        else:
            groups.append({cell.threat: cell})
    rows = []
    for group in groups:
        first = next(iter(group.values()))
        entries = {threat: _entry_in(group, threat, evaluation) for threat in group}
        rows.append(
            Row(
                "attack",
                first.attack,
                evaluation.label(first),
                first.condition,
                clean,
                _fill(threats, entries),
                first.steps or 1,
                first.escalation,
            )
        )
    return sorted(rows, key=lambda row: attack_words(row.name).order)


def _notes(rows: list[Row], heading: str, evaluation: Evaluation) -> tuple[str, ...]:
    left_out = tuple(f"{sentence}." for sentence in evaluation.settings.left_out)
    if not evaluation.defended:
        return left_out
    gaps = []
    for row in rows:
        oblivious, adaptive = row.robust.get("oblivious"), row.robust.get("adaptive")
        if oblivious and adaptive:
            gap = percent(oblivious.score.accuracy - adaptive.score.accuracy)
            bound = "" if row.condition == heading else f" ({row.condition})"
            gaps.append(f"{row.attack}{bound} {gap}".replace(" -", " −"))
    if gaps:
        return (
            *left_out,
            f"Gap in points between oblivious and adaptive at {heading}: {', '.join(gaps)}.",
        )
    if any(row.robust.get("adaptive") for row in rows):
        return left_out
    return (
        *left_out,
        f"No adaptive attack was run at {heading}: "
        "these numbers say nothing of an attacker who knows the purifier.",
    )


def _with_interval(score: Score) -> str:
    return f"{score.text}% {score.interval}"
