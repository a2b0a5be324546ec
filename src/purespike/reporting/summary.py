"""The sentences and the few numbers at the head of a report, made from the measured numbers only."""

from dataclasses import dataclass

from purespike.reporting.robustness import Entry, Row, robustness_table
from purespike.results import Evaluation
from purespike.results.vocabulary import threat_words


@dataclass(frozen=True)
class Tile:
    """One number at the head of the page with its threat model; ``condition`` holds attack and bound."""

    threat: str
    label: str
    entry: Entry
    condition: tuple[str, ...]


def headline_row(evaluation: Evaluation) -> Row | None:
    """The row that the summary speaks of: the worst case at the headline eps.

    Without a bounded attack, the attack that most threat models share.
    """
    rows = [row for row in robustness_table(evaluation).rows if row.kind != "clean"]
    return max(rows, key=lambda row: (row.kind == "worst", sum(map(bool, row.robust.values()))), default=None)


def summary(evaluation: Evaluation) -> list[str]:
    """One sentence on robustness, and one on its price; no number that another attack of the page refutes."""
    row = headline_row(evaluation)
    if row is None:
        return [f"On {evaluation.data.text} no attack was run."]
    if not evaluation.defended:
        return _classifier_alone(evaluation, row)
    sentences = [_against(evaluation, row)]
    clean = evaluation.clean
    if clean.defended:
        sentences.append(
            f"Clean accuracy goes from {clean.undefended.text}% to {clean.defended.text}% "
            "when the purifier is put in front."
        )
    return sentences


def tiles(evaluation: Evaluation) -> list[Tile]:
    """Clean accuracy and the worst case under each threat model that was measured."""
    row = headline_row(evaluation)
    clean = robustness_table(evaluation).rows[0].clean
    where = "with purifier" if evaluation.defended else "no attack"
    head = [Tile("clean", "Clean", clean, ("clean images", where))] if clean else []
    if row is None:
        return head
    shown = [
        Tile(threat, threat_words(threat).title, entry, (row.attack, row.condition))
        for threat, entry in row.robust.items()
        if entry
    ]
    return head + shown


def _attack(row: Row) -> str:
    """``the worst of all attacks (L∞, eps 8/255)``, or the name of an attack."""
    return f"{'the worst of all attacks' if row.kind == 'worst' else row.attack} ({row.condition})"


def _against(evaluation: Evaluation, row: Row) -> str:
    before, after = row.robust.get("undefended"), row.robust.get("oblivious")
    adaptive, identity = row.robust.get("adaptive"), row.robust.get("bpda")
    start = f"On {evaluation.data.text}"
    if adaptive and not before and not after:
        return (
            f"{start} the purified classifier keeps {adaptive.text}% under {_attack(row)} "
            "against an attacker who knows the purifier."
        )
    if before and after:
        levels = f"from {before.text}% to {after.text}%"
        if after.score.low > before.score.high:
            change = f"the purifier lifts accuracy under {_attack(row)} {levels}"
        elif after.score.high < before.score.low:
            change = f"the purifier lowers accuracy under {_attack(row)} {levels}"
        else:
            change = f"the purifier makes no measurable difference under {_attack(row)} ({levels})"
        text = f"{start} {change} against an attacker who does not know it"
    elif after:
        text = (
            f"{start} the purified classifier keeps {after.text}% under {_attack(row)} "
            "against an attacker who does not know the purifier"
        )
    elif before:
        text = f"{start} the classifier alone keeps {before.text}% under {_attack(row)}"
    else:
        text = f"{start} the purified classifier met {_attack(row)}"
    if adaptive:
        return f"{text}, {'and to' if before and after else 'and'} {adaptive.text}% against one who does."
    if identity:
        return (
            f"{text}, {'and to' if before and after else 'and'} {identity.text}% against one who takes the "
            "purifier as the identity (BPDA); no adaptive attack was run."
        )
    return f"{text}; no attack that knows the purifier was run, so this is an upper bound."


def _classifier_alone(evaluation: Evaluation, row: Row) -> list[str]:
    # the attacker who knows all has every other one's images too
    entry = row.robust.get("adaptive") or row.robust.get("undefended")
    start = f"On {evaluation.data.text} the undefended classifier"
    clean = evaluation.clean.undefended.text
    if entry is None:
        return [f"{start} reaches {clean}% on clean images."]
    return [
        f"{start} goes from {clean}% on clean images to {entry.text}% under {_attack(row)}; "
        "no purifier was evaluated."
    ]
