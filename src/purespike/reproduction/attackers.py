"""The attackers of a reproduction's columns: their threat models, their words and their style in figures."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """One kind of column.

    Args:
        head: text under the title of the column.
        label: text in the legend of a figure.
        style: threat model whose colour and marker its numbers take.
        defended: threat model against a model with a purifier.
        bare: threat model against a model without one; ``None`` where there is none.
    """

    head: str
    label: str
    style: str
    defended: str
    bare: str | None


def _as_in(threat: str, *, bare: bool = True) -> Attacker:
    return Attacker(
        head=f"({threat})", label=threat, style=threat, defended=threat, bare=threat if bare else None
    )


ATTACKERS = {
    # noise is measured along with the attacks on the classifier alone
    "": Attacker(
        head="", label="clean or noise", style="undefended", defended="oblivious", bare="undefended"
    ),
    "alone": Attacker(
        head="(classifier alone)",
        label="classifier alone",
        style="oblivious",
        defended="oblivious",
        bare="undefended",
    ),
    "adaptive": _as_in("adaptive"),
    "bpda": _as_in("bpda", bare=False),
    "transfer": _as_in("transfer"),
}
BOTH = ("alone", "adaptive")
READING = (
    "The paper attacks the classifier alone: undefended where a row has no purifier, oblivious where it "
    "has one. Beside it stands the adaptive attacker, who differentiates the model end to end, the worst "
    "case per image over surrogates and losses."
)
"""The note of every table whose columns are those of :data:`BOTH`."""
