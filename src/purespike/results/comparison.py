"""Several evaluations on the same images side by side: the content of ``comparison.json``."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from purespike.budget import format_eps
from purespike.errors import InputError
from purespike.results.beside import check_alike
from purespike.results.evaluation import Evaluation
from purespike.results.provenance import DataDescription, ModelDescription, Provenance
from purespike.results.record import Number, Record
from purespike.results.score import Score
from purespike.results.vocabulary import NORMS


class Compared(Record):
    """One model of a comparison, with its accuracies on the same images at the same budget.

    Args:
        name: name in the table.
        own: whether it is the model of the report that holds the comparison.
        model: the model.
        clean: clean accuracy.
        oblivious: worst case under the threat model oblivious; ``None`` where it was not measured.
        threat: threat model of the worst case: adaptive, or undefended for a classifier that nobody attacked
            adaptively.
        worst: worst case under that threat model; ``None`` where it was not measured.
        attacks: attacks that count in the worst case, at this budget.
        surrogates: surrogates of an adaptive attacker.
        losses: losses of an adaptive attacker.
        kept_surrogates: modules that spike, and kept their own surrogate.
        level: verdict of the evaluation; ``None`` for the bare classifier out of a defended model's.
        provenance: command, commit, seed and machine of the evaluation; ``None`` where that had none, and for
            the bare classifier, which stands in several.
    """

    name: str
    own: bool
    model: ModelDescription
    clean: Score
    oblivious: Score | None
    threat: str
    worst: Score | None
    attacks: tuple[str, ...]
    surrogates: tuple[str, ...]
    losses: tuple[str, ...]
    kept_surrogates: tuple[str, ...]
    level: str | None
    provenance: Provenance | None = None

    @property
    def met(self) -> str:
        """The attacks in words: ``FGSM, PGD-20 (3 surrogates, 2 losses)``."""
        ways = [(self.surrogates, "surrogate"), (self.losses, "loss")]
        counts = ", ".join(f"{len(each)} {_plural(word, len(each))}" for each, word in ways if each)
        return f"{', '.join(self.attacks) or 'no attack'}{counts and f' ({counts})'}"


class Comparison(Record):
    """Models on the same images, each clean and in the worst case at one budget.

    Args:
        data: the images.
        norm: norm of the budget.
        eps: budget.
        models: bare classifiers, the models beside in the order they were given, and the report's own.
    """

    schema_version: Literal[1] = Field(alias="schema")
    data: DataDescription
    norm: str
    eps: Number
    models: tuple[Compared, ...]

    @classmethod
    def of(cls, name: str, evaluation: Evaluation, beside: Mapping[str, Evaluation]) -> "Comparison":
        """The comparison of an evaluation with others at its first budget.

        Args:
            name: name of the model that was evaluated.
            evaluation: its evaluation.
            beside: other evaluations by name.

        Raises:
            InputError: an evaluation of other images or at other budgets, a name that is taken, or no attack
                with a budget.
        """
        if not evaluation.budgets:
            raise InputError(f"{name}: no attack with an eps bound was run: there is nothing to compare")
        eps = evaluation.budgets[0]
        if name in beside:
            raise InputError(f"beside {name}: the name is taken by this report; give another one")
        for key, other in beside.items():
            check_alike(
                key, other, data=evaluation.data, labels=evaluation.labels, norm=evaluation.norm, eps=eps
            )
        everyone = {**beside, name: evaluation}
        return cls(
            schema_version=1,
            data=evaluation.data,
            norm=evaluation.norm,
            eps=eps,
            models=(
                *_bare(everyone, eps),
                *(_compared(key, each, eps, own=key == name) for key, each in everyone.items()),
            ),
        )

    @property
    def condition(self) -> str:
        """Bound of the perturbation: ``L∞, eps 16/255``."""
        return f"{NORMS.get(self.norm, self.norm)}, eps {format_eps(self.eps)}"

    @property
    def threats(self) -> tuple[str, ...]:
        """Threat models of its numbers."""
        oblivious = ("oblivious",) if any(each.oblivious for each in self.models) else ()
        return tuple(dict.fromkeys((*oblivious, *(each.threat for each in self.models if each.worst))))

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what limits the comparison: attackers who know less, other attacks."""
        lines = [
            f"{each.name}: no adaptive attack was run at {self.condition}; nothing here speaks of an "
            "attacker who knows the purifier."
            for each in self.models
            if each.worst is None and each.threat == "adaptive"
        ]
        shown = [each for each in self.models if each.worst]
        lines += [
            f"{each.name}: neurons of another kind kept their own surrogate derivative; another one may "
            "break more, so this is no worst case."
            for each in shown
            if each.kept_surrogates
        ]
        attacks = {frozenset(each.attacks) for each in shown}
        ways = {(each.surrogates, each.losses) for each in shown if each.threat == "adaptive"}
        if len(attacks) > 1 or len(ways) > 1:
            met = "; ".join(f"{each.name} ({each.threat}) met {each.met}" for each in shown)
            lines.append(f"The attacks differ: {met}.")
        return tuple(lines)


def _compared(name: str, evaluation: Evaluation, eps: float, *, own: bool) -> Compared:
    """The evaluated model: purifier and classifier, or a classifier that has no purifier."""
    defended = evaluation.defended
    threat = "adaptive" if defended or evaluation.cells_at(eps, ["adaptive"]) else "undefended"
    clean = evaluation.clean
    return Compared(
        name=name,
        own=own,
        model=evaluation.model,
        clean=(clean.defended if defended else None) or clean.undefended,
        oblivious=evaluation.worst_score(eps, "oblivious") if defended else None,
        level=evaluation.level,
        provenance=evaluation.provenance,
        **_worst(evaluation, eps, threat),
    )


def _bare(everyone: Mapping[str, Evaluation], eps: float) -> Iterator[Compared]:
    """The classifiers of the defended models, each once, in the worst case that any evaluation found."""
    groups: list[dict[str, Evaluation]] = []
    for name, evaluation in everyone.items():
        if not evaluation.defended:
            continue
        for group in groups:
            if _same_classifier(next(iter(group.values())), evaluation, eps):
                group[name] = evaluation
                break
        else:
            groups.append({name: evaluation})
    for group in groups:
        hardest = min((_worst(each, eps, "undefended") for each in group.values()), key=_hardness)
        evaluation = next(iter(group.values()))
        yield Compared(
            name="bare classifier" if len(groups) == 1 else f"bare classifier of {', '.join(group)}",
            own=False,
            model=ModelDescription(classifier=evaluation.model.classifier, purifier=None),
            clean=evaluation.clean.undefended,
            oblivious=None,
            level=None,
            **hardest,
        )


def _worst(evaluation: Evaluation, eps: float, threat: str) -> dict[str, Any]:
    settings, adaptive = evaluation.settings, threat == "adaptive"
    # the attacker who knows all may use every other one's images
    cells = evaluation.cells_at(eps, evaluation.end_to_end_threats if adaptive else [threat])
    return {
        "threat": threat,
        "worst": evaluation.worst_score(eps, threat),
        "attacks": tuple(dict.fromkeys(evaluation.label(cell) for cell in cells)),
        "surrogates": settings.surrogates if adaptive else (),
        "losses": settings.losses if adaptive else (),
        "kept_surrogates": settings.kept_surrogates if adaptive else (),
    }


def _hardness(worst: Mapping[str, Any]) -> tuple[float, int]:
    """Lowest for the lowest accuracy, and of equal ones for the one of most attacks."""
    score = worst["worst"]
    return (2 if score is None else score.accuracy), -len(worst["attacks"])


def _same_classifier(one: Evaluation, other: Evaluation, eps: float) -> bool:
    """Whether two evaluations are of one classifier: by its weights where both name them, else by numbers."""
    weights = [_weights(each) for each in (one, other)]
    if all(weights):
        return weights[0] == weights[1]
    numbers = [
        (
            each.model.classifier.text,
            each.clean.undefended.correct,
            each.clean_outcomes and each.clean_outcomes.undefended,
            each.worst_score(eps, "undefended"),
        )
        for each in (one, other)
    ]
    return numbers[0] == numbers[1]


def _weights(evaluation: Evaluation) -> object:
    made_of = evaluation.provenance and (evaluation.provenance.model_extra or {}).get("made_of")
    return made_of.get("classifier") if isinstance(made_of, Mapping) else None


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}es" if word.endswith("s") else f"{word}s"
