"""Corrupted images beside clean ones, as tables."""

from purespike.errors import Absent
from purespike.reporting.grid import Cell, Grid, Group, Head, Row, csv_text
from purespike.results import Corrupted, Evaluation, Score
from purespike.results.corruption import CORRUPTIONS
from purespike.results.vocabulary import percent, threat_words

_COLUMNS = (
    *("corruption", "severity", "attack", "condition", "threat"),
    *("images", "correct", "n", "accuracy", "low", "high"),
)


def corrupted_of(evaluation: Evaluation) -> Corrupted:
    """The corrupted part of an evaluation.

    Raises:
        Absent: it has none.
    """
    if evaluation.corrupted is None:
        raise Absent("no corrupted images were evaluated")
    return evaluation.corrupted


def beside_grid(evaluation: Evaluation) -> Grid:
    """A row per attack and threat model: accuracy on clean images, on corrupted ones, and the difference."""
    corrupted = corrupted_of(evaluation)
    rows = []
    for pair in corrupted.beside(evaluation):
        gap = percent(pair.corrupted.accuracy - pair.clean.accuracy).replace("-", "−")
        threat = pair.threat if pair.attack == "none" else threat_words(pair.threat).title
        cells = [Cell(threat), _entry(pair.clean), _entry(pair.corrupted), Cell(gap)]
        about = (pair.condition,) if pair.condition else ()
        rows.append(Row(pair.attack, cells, about, "bold" if pair.attack.startswith("worst") else ""))
    threats = [f"{words.inline} ({words.short})" for words in map(evaluation.words, evaluation.threats)]
    title = (
        f"Accuracy in % [95% Wilson interval] on {evaluation.data.text} and on {corrupted.data.text}, each "
        f"in one of {len(corrupted.names)} corruptions at one of {len(corrupted.severities)} severities, all "
        f"equally often. Threat model{'s' if len(threats) > 1 else ''}: {', '.join(threats)}."
    )
    heads = [Head("Attack"), Head("Threat model"), Head("Clean"), Head("Corrupted"), Head("Difference")]
    return Grid(title, heads, [Group("", rows)], _notes(evaluation, corrupted), "llrrr", readable=True)


def accuracy_grid(corrupted: Corrupted) -> Grid:
    """A row per corruption, a column per severity: accuracy without an attack, by part of the model."""
    severities = corrupted.severities
    count = corrupted.accuracies[0].undefended.n
    parts = {False: "without purifier"}
    if corrupted.clean.defended is not None:
        parts[True] = "with purifier"
    groups = []
    for defended, heading in parts.items():
        rows = []
        for name in (*corrupted.names, None):
            values = [
                corrupted.accuracy(name, severity, defended=defended) for severity in (*severities, None)
            ]
            cells = [Cell(percent(value)) for value in values]
            rows.append(Row("mean" if name is None else name, cells, style="" if name else "bold"))
        groups.append(Group(heading, rows))
    heads = [Head("Corruption"), *(Head(f"severity {severity}") for severity in severities), Head("mean")]
    title = (
        f"Accuracy in % without an attack under each corruption of {corrupted.source}, {count:,} images for "
        "each corruption and severity; severity 5 is the strongest."
    )
    return Grid(title, heads, groups, readable=True)


def corrupted_markdown(evaluation: Evaluation) -> str:
    """Both tables in Markdown."""
    return beside_grid(evaluation).markdown() + "\n" + accuracy_grid(corrupted_of(evaluation)).markdown()


def corrupted_csv(evaluation: Evaluation) -> str:
    """One line per score: each corruption at each severity, then both kinds of images under each attack."""
    corrupted = corrupted_of(evaluation)
    lines: list[list[object]] = []
    for each in corrupted.accuracies:
        for part, score in (("without purifier", each.undefended), ("purified", each.defended)):
            if score is not None:
                lines.append([each.corruption, each.severity, "none", "", part, "corrupted", *_values(score)])
    for pair in corrupted.beside(evaluation):
        for images, score in (("clean", pair.clean), ("corrupted", pair.corrupted)):
            lines.append(["", "", pair.attack, pair.condition, pair.threat, images, *_values(score)])
    return csv_text(_COLUMNS, lines)


def _notes(evaluation: Evaluation, corrupted: Corrupted) -> tuple[str, ...]:
    notes = []
    if not corrupted.same_images:
        notes.append("The corrupted images are others than the clean ones: their labels differ.")
    known = set(CORRUPTIONS)
    if missing := sorted(known - set(corrupted.names)):
        few = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        notes.append(f"Of CIFAR-10-C's {len(known)} corruptions {few} are not among them.")
    if any(cell.raised_from is not None for cell in evaluation.cells):
        notes.append(
            "On clean images some budgets were raised, which breaks more than is said here: these rows "
            "compare the same attack on both."
        )
    return tuple(notes)


def _entry(score: Score) -> Cell:
    return Cell(score.text, (score.interval,))


def _values(score: Score) -> list[object]:
    return [score.correct, score.n, score.accuracy, score.low, score.high]
