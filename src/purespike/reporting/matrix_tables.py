"""The matrix of substitutes and targets as Markdown."""

from purespike.reporting.grid import Cell, Grid, Group, Head, Row
from purespike.results import Score, TransferMatrix


def markdown_matrix(matrix: TransferMatrix) -> str:
    """One table per attack and budget: a row per substitute, a column per target, white-box in italics."""
    return matrix_grid(matrix).markdown()


def matrix_grid(matrix: TransferMatrix) -> Grid:
    """See :func:`markdown_matrix`."""
    clean = Row("none (clean)", [_entry(score) for score in matrix.clean.targets.values()], once=True)
    groups = []
    for cells in matrix.groups():
        rows = [
            Row(name, [_entry(cell.score, cell.white_box) for cell in cells if cell.substitute == name])
            for name in matrix.substitutes
        ]
        groups.append(Group(cells[0].heading, [clean, *rows]))
    return Grid(
        f"Accuracy in % [95% Wilson interval] on {matrix.data.text}. Threat model: transfer; the images of "
        "a row are made on its substitute, at full strength, and sent to every target.",
        [Head("Substitute"), *map(Head, matrix.targets)],
        groups,
        tuple(training_notes(matrix)),
        italic="substitute and target are the same model (white-box)",
        readable=True,
    )


def training_notes(matrix: TransferMatrix) -> list[str]:
    """A sentence per substitute with known training images."""
    notes = []
    for name, known in matrix.training.items():
        shares = [f"{_count(known.attacked)} of them attacked here"]
        shares += [f"{_count(count)} of {target}'s" for target, count in known.targets.items()]
        notes.append(f"{name} was trained on {known.images:,} images: {', '.join(shares)}.")
    return notes


def _count(number: int) -> str:
    return f"{number:,}" if number else "none"


def _entry(score: Score, white_box: bool = False) -> Cell:
    return Cell(score.text, (score.interval,), "italic" if white_box else "")
