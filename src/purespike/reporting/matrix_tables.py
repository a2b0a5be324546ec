"""The matrix of substitutes and targets as text: Markdown, and a line for the console."""

from collections.abc import Mapping
from typing import Any

from purespike.reporting import escape
from purespike.reporting.words import attack_text, condition_text, data_text, interval, percent

Matrix = Mapping[str, Any]


def matrix_title(matrix: Matrix) -> str:
    """What was measured, on what, against whom."""
    return (
        f"Accuracy in % [95% Wilson interval] on {data_text(matrix)}. Threat model: transfer; the images of "
        "a row are made on its substitute, at full strength, and sent to every target."
    )


def markdown_matrix(matrix: Matrix) -> str:
    """One table per attack and budget: a row per substitute, a column per target, white-box in italics."""
    targets = matrix["targets"]
    lines = [
        f"{matrix_title(matrix)} *Italic*: substitute and target are the same model (white-box).",
        "",
    ]
    for group in groups(matrix):
        lines += [f"**{escape.markdown(heading(group[0]))}**", ""]
        lines += [f"| Substitute | {' | '.join(escape.markdown(name) for name in targets)} |"]
        lines += [f"|:--{'|--:' * len(targets)}|"]
        lines += [_row("none (clean)", [_entry(matrix["clean"]["targets"][name]) for name in targets])]
        for substitute in matrix["substitutes"]:
            own = [cell for cell in group if cell["substitute"] == substitute]
            lines += [_row(substitute, [_entry(cell["score"], cell["white_box"]) for cell in own])]
        lines += [""]
    lines += [f"{escape.markdown(note)}\n" for note in training_notes(matrix)]
    return "\n".join(lines).rstrip() + "\n"


def training_notes(matrix: Matrix) -> list[str]:
    """A sentence per substitute of which it is known what it was trained on."""
    notes = []
    for name, known in matrix.get("training", {}).items():
        shares = [f"{_count(known['attacked'])} of them attacked here"]
        shares += [f"{_count(count)} of {target}'s" for target, count in known["targets"].items()]
        notes.append(f"{name} was trained on {known['images']:,} images: {', '.join(shares)}.")
    return notes


def _count(number: int) -> str:
    return f"{number:,}" if number else "none"


def groups(content: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """The cells of each attack and budget, a whole matrix each, in the order they were measured."""
    size = len(content["substitutes"]) * len(content["targets"])
    cells = content["cells"]
    return [cells[start : start + size] for start in range(0, len(cells), size)]


def heading(cell: Mapping[str, Any]) -> str:
    """``PGD-20, L∞, eps 8/255``."""
    return f"{attack_text(cell['attack'], cell['settings'].get('steps'))}, {condition_text(cell)}"


def entry_text(cell: Mapping[str, Any]) -> str:
    """One line for the console: the score, never without its threat model."""
    found = cell["score"]
    threat = "white-box" if cell["white_box"] else "transfer"
    return (
        f"{heading(cell)}, {threat}, {cell['substitute']} → {cell['target']}: "
        f"{percent(found['accuracy'])}% of {found['n']} {interval(found)}"
    )


def _entry(found: Mapping[str, Any], white_box: bool = False) -> str:
    text = f"{percent(found['accuracy'])} {interval(found)}"
    return f"*{text}*" if white_box else text


def _row(first: str, entries: list[str]) -> str:
    return f"| {' | '.join([escape.markdown(first), *entries])} |"
