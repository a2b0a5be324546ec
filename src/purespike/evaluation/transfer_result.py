"""The matrix of substitutes and targets: plain JSON values behind a few conveniences."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from purespike.budget import format_eps
from purespike.errors import InputError
from purespike.evaluation.plan import parse_budgets
from purespike.files import write_json
from purespike.reporting.matrix_tables import markdown_matrix
from purespike.results import TransferMatrix as Typed


@dataclass(frozen=True, repr=False)
class TransferMatrix:
    """Scores per attack, substitute and target; ``content`` is what the JSON file holds."""

    content: dict[str, Any]

    def cell(
        self, attack: str, substitute: str, target: str, eps: float | str | None = None
    ) -> dict[str, Any]:
        """The first cell of this attack and pair, at ``eps`` if given.

        Raises:
            InputError: there is none.
        """
        wanted = None if eps is None else parse_budgets(eps, self.content["settings"]["norm"])[0]
        for cell in self.content["cells"]:
            same_budget = wanted is None or (cell["eps"] is not None and abs(cell["eps"] - wanted) < 1e-9)
            if same_budget and (cell["attack"], cell["substitute"], cell["target"]) == (
                attack,
                substitute,
                target,
            ):
                return cell
        budget = "" if wanted is None else f" at eps {format_eps(wanted)}"
        raise InputError(f"transfer matrix: holds no {attack} from {substitute} to {target}{budget}")

    def accuracy(self, attack: str, substitute: str, target: str, eps: float | str | None = None) -> float:
        """Accuracy in [0, 1] of :meth:`cell`."""
        return float(self.cell(attack, substitute, target, eps)["score"]["accuracy"])

    def to_json(self) -> dict[str, Any]:
        """The content of ``transfer.json``."""
        return self.content

    def save(self, path: str | Path) -> None:
        """Write ``transfer.json`` atomically."""
        write_json(path, self.content)

    def markdown(self) -> str:
        """One table per attack and budget: a row per substitute, a column per target."""
        return markdown_matrix(Typed.from_json(self.content))

    def __repr__(self) -> str:
        return self.markdown()
