"""The result of an evaluation: plain JSON values behind a few conveniences."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from purespike.budget import format_eps, parse_eps, parse_radius
from purespike.errors import InputError
from purespike.evaluation.verdict import Verdict
from purespike.files import write_json
from purespike.reporting.tables import markdown_table
from purespike.results import Evaluation as Typed


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores, outcomes per image, settings, seed and provenance; ``content`` is what the JSON file holds."""

    content: dict[str, Any]

    def cell(self, attack: str, threat: str, eps: float | str | None = None) -> dict[str, Any]:
        """The first cell of this attack and threat model, at ``eps`` if given.

        Raises:
            InputError: there is none.
        """
        parse = parse_radius if self.content["settings"].get("norm") == "l2" else parse_eps
        wanted = None if eps is None else parse(eps)
        for cell in self.content["cells"]:
            same_budget = wanted is None or (cell["eps"] is not None and abs(cell["eps"] - wanted) < 1e-9)
            if cell["attack"] == attack and cell["threat"] == threat and same_budget:
                return cell
        budget = "" if wanted is None else f" at eps {format_eps(wanted)}"
        raise InputError(f"evaluation: holds no {attack} under threat model {threat}{budget}")

    def accuracy(self, attack: str, threat: str, eps: float | str | None = None) -> float:
        """Accuracy in [0, 1] of :meth:`cell`."""
        return float(self.cell(attack, threat, eps)["score"]["accuracy"])

    @property
    def verdict(self) -> Verdict | None:
        """Whether the numbers can be trusted; ``None`` if the evaluation was not examined."""
        value = self.content.get("verdict")
        return None if value is None else Verdict(value["level"], tuple(value["reasons"]))

    def to_json(self) -> dict[str, Any]:
        """The content of ``evaluation.json``."""
        return self.content

    def save(self, path: str | Path) -> None:
        """Write ``evaluation.json`` atomically."""
        write_json(path, self.content)

    def __repr__(self) -> str:
        return markdown_table(Typed.from_json(self.content))
