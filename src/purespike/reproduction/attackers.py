"""The attackers of a sheet's columns: threat models, words and style in figures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attacker:
    """One kind of column.

    Args:
        label: name in legends.
        style: threat model whose colour and marker its numbers take.
        defended: threat model against a model with a purifier.
        bare: threat model against a model without one; ``None`` where the attacker needs a purifier.
    """

    label: str
    style: str
    defended: str
    bare: str | None


ATTACKERS = {
    # noise is measured along with the attacks on the classifier alone
    "": Attacker("clean or noise", "undefended", "oblivious", "undefended"),
    "alone": Attacker("classifier alone", "oblivious", "oblivious", "undefended"),
    "adaptive": Attacker("adaptive", "adaptive", "adaptive", "adaptive"),
    "bpda": Attacker("bpda", "bpda", "bpda", None),
    "transfer": Attacker("transfer", "transfer", "transfer", "transfer"),
    "query": Attacker("query", "query", "query", "query"),
}
BOTH = ("alone", "adaptive")
READING = (
    "The paper attacks the classifier alone: undefended where a row has no purifier, oblivious where it "
    "has one. Beside it stands the adaptive attacker, who differentiates the model end to end, the worst "
    "case per image over surrogates and losses."
)
"""The note of every table whose columns are those of :data:`BOTH`."""
