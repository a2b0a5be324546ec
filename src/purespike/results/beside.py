"""Evaluations to compare with: read from the folders of other runs, and checked to be of the same images."""

from collections.abc import Sequence
from pathlib import Path

from purespike.budget import format_eps, same_eps
from purespike.errors import InputError
from purespike.results.evaluation import Evaluation
from purespike.results.provenance import DataDescription
from purespike.results.vocabulary import NORMS


def read_beside(specs: Sequence[str], *, name: str, folder: Path | None) -> dict[str, Evaluation]:
    """The evaluations of other runs by name.

    Args:
        specs: ``FOLDER`` or ``NAME=FOLDER`` of each, a folder with ``evaluation.json``.
        name: name of the model that they are compared with.
        folder: folder of its report, if it has one.

    Raises:
        InputError: no such folder, no or a damaged evaluation in it, the report's own folder, or a name that
            is taken.
    """
    found: dict[str, Evaluation] = {}
    for spec in specs:
        key, equals, place = spec.partition("=")
        # a folder may have this sign in its name
        if not equals or Path(spec).exists():
            key, place = "", spec
        other = Path(place)
        key = key or other.resolve().name
        if not other.is_dir():
            kind = "a file" if other.exists() else "no such folder"
            raise InputError(f"--beside {spec}: {kind}; give the folder of a finished run or evaluation")
        if folder is not None and other.resolve() == folder.resolve():
            raise InputError(f"--beside {spec}: is the folder of this report itself; give another one")
        if key in found or key == name:
            owner = "this report" if key == name else "another folder"
            raise InputError(f"--beside {spec}: the name {key!r} is taken by {owner}; write OTHER={place}")
        found[key] = Evaluation.read(
            other / "evaluation.json", hint="; --beside takes a run or an evaluation that is finished"
        )
    return found


def check_alike(
    name: str,
    other: Evaluation,
    *,
    data: DataDescription,
    labels: Sequence[int] | None,
    norm: str,
    eps: float,
) -> None:
    """Check that the evaluation ``other`` is of the images ``data`` at the budget ``eps``.

    Args:
        name: name of ``other`` in messages.
        other: evaluation to compare with.
        data: the images.
        labels: their classes.
        norm: norm of the budget.
        eps: budget.

    Raises:
        InputError: a difference, which the message names.
    """
    prints = (other.data.fingerprint, data.fingerprint)
    if None in prints or prints[0] != prints[1]:
        if other.data.text != data.text:
            raise InputError(
                f"beside {name}: was measured on {other.data.text}, this one on {data.text}; compare on the "
                "same images"
            )
        if None not in (other.labels, labels) and tuple(other.labels or ()) != tuple(labels or ()):
            raise InputError(
                f"beside {name}: the labels differ: it was measured on others of the {data.text}; attack the "
                "same ones, with the same seed"
            )
        if None not in prints:
            raise InputError(
                f"beside {name}: the pixels differ: it was measured on other {data.text}; attack the "
                "same ones"
            )
    bound = f"{NORMS.get(norm, norm)}, eps {format_eps(eps)}"
    if other.norm != norm or not any(same_eps(eps, each) for each in other.budgets):
        others = " and ".join(map(format_eps, other.budgets))
        at = f"at {NORMS.get(other.norm, other.norm)}, eps {others}" if others else "without an eps bound"
        raise InputError(f"beside {name}: was attacked {at}, this one at {bound}; measure both at one budget")
