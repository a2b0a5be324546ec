"""Everything that recipes name, with its settings, from the registries; imports PyTorch."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import purespike.experiment  # noqa: F401  every room registers what it has
from purespike.attacks.registry import describe_attack, list_attacks
from purespike.data.sources import list_sources
from purespike.evaluation.plan import SUITES
from purespike.evaluation.threat import THREATS
from purespike.models.coding import Coding
from purespike.models.registry import about_model, create, list_models
from purespike.neurons import Dynamics, Surrogate
from purespike.optimisation import OPTIMISERS, SCHEDULES
from purespike.reference.docstring import arguments, plain, summary
from purespike.reference.entry import Chapter, Key, Topic
from purespike.reference.kinds import kind, limits, written
from purespike.reference.sections import key
from purespike.reference.titles import TITLES
from purespike.rejection.registry import SCORES
from purespike.section import Section
from purespike.settings import DEFAULT_THRESHOLDS, Thresholds
from purespike.training.objectives.registry import STAGES, Entry, entries
from purespike.written import Written


def _models(options: Iterable[type[Section]]) -> tuple[Topic, ...]:
    return tuple(
        Topic(
            option.model_fields["name"].default,
            summary(option.__doc__),
            tuple(key(name, field) for name, field in option.model_fields.items() if name != "name"),
        )
        for option in options
    )


def _documented(made: type[Any]) -> dict[str, str]:
    """What a class and its bases say about their arguments."""
    found: dict[str, str] = {}
    for base in reversed(made.__mro__):
        found |= arguments(base.__doc__)
    return found


def _keys(made: type[Any], values: Mapping[str, Any]) -> tuple[Key, ...]:
    """The settings of a dataclass, with defaults of its own or others."""
    about, hints = _documented(made), get_type_hints(made, include_extras=True)
    return tuple(
        Key(name, kind(hints[name]), written(value), limits(hints[name]), about.get(name, ""))
        for name, value in values.items()
    )


def _defaults(made: type[Any]) -> dict[str, Any]:
    return {field.name: field.default for field in fields(made) if field.init}


def _family(family: type[Written]) -> tuple[Topic, ...]:
    # a member without a decorator of its own is told when it is parsed
    return tuple(
        Topic(name, summary(member.__doc__), _keys(member, _defaults(member)))
        for name, member in sorted(family.known.items())
    )


def _part(entry: Entry) -> Topic:
    """An objective, penalty or projection; settings of its attack have that attack's defaults."""
    about = _documented(entry.make) if isinstance(entry.make, type) else arguments(entry.about)
    attack = None
    if any(field.annotation is Any for field in entry.settings.model_fields.values()):
        attack = getattr(entry.create({}, place=entry.name)[0], "attack", None)
    said = about | ({} if attack is None else _documented(type(attack)))
    if entry.kind == "penalty":
        said.setdefault("weight", "Factor of the term.")
    keys = []
    for name, field in entry.settings.model_fields.items():
        changes: dict[str, Any] = {}
        if attack is not None and field.annotation is Any:
            hints = get_type_hints(type(attack))
            changes = {"default": written(getattr(attack, name)), "kind": kind(hints[name])}
        keys.append(key(name, field, about=said.get(name, ""), **changes))
    return Topic(entry.name, summary(entry.about), tuple(keys))


def _parts(stage: str, *kinds: str) -> tuple[Topic, ...]:
    return tuple(_part(entry) for name, entry in sorted(entries(stage).items()) if entry.kind in kinds)


def _attacks() -> Iterator[Topic]:
    for name in list_attacks():
        found = describe_attack(name)
        norms = f" Norms: {', '.join(found.norms)}." if found.norms else " Without a budget."
        yield Topic(name, f"{summary(found.about)}{norms}", _keys(found.mechanism, found.settings))


def _architectures() -> Iterator[Topic]:
    for name in list_models():
        count = sum(parameter.numel() for parameter in create(name).parameters())
        yield Topic(name, f"{summary(about_model(name))} {count:,} parameters at width 1, for ten classes.")


def _suites() -> Iterator[Topic]:
    for name, found in SUITES.items():
        attacks = ", ".join(each if isinstance(each, str) else _spelled(each) for each in found.attacks)
        yield Topic(name, f"Attacks: {attacks}. Surrogates: {', '.join(found.surrogates)}.")


def _spelled(attack: Mapping[str, Any]) -> str:
    return ":".join(
        [attack["name"], *(f"{name}={value}" for name, value in attack.items() if name != "name")]
    )


def _threats() -> Iterator[Topic]:
    for name, found in THREATS.items():
        yield Topic(name, f"The attacker knows {found.knows}. Gradient through: {found.gradient}.")


def _scores() -> Iterator[Topic]:
    for name, found in sorted(SCORES.items()):
        settings = inspect.signature(found.compute).parameters.values()
        hints, about = get_type_hints(found.compute), arguments(found.compute.__doc__)
        keys = tuple(
            Key(one.name, kind(hints.get(one.name, Any)), written(one.default), "", about.get(one.name, ""))
            for one in settings
            if one.kind is one.KEYWORD_ONLY and one.default is not one.empty
        )
        yield Topic(name, summary(found.compute.__doc__) or found.title, keys)


def _sources() -> Iterator[Topic]:
    for name, about in list_sources().items():
        yield Topic(name, summary(about))


def _tolerances() -> tuple[Topic, ...]:
    values = {field.name: getattr(DEFAULT_THRESHOLDS, field.name) for field in fields(Thresholds)}
    return (Topic("thresholds", summary(Thresholds.__doc__), _keys(Thresholds, values)),)


_OBJECTIVE = (
    "In `{stage}.objective`, e.g. `objective: {example}`: a name means the defaults of its settings; a list "
    "adds penalties and projections to one objective."
)
_WRITTEN = "A name with settings in parentheses, e.g. `{example}`."
_PARTS = {
    "objectives": ("classifier", ("objective",), "[{name: pgd, eps: 8/255}]"),
    "purifier-objectives": ("purifier", ("objective",), "[{name: end_to_end, eps: 8/255}]"),
    "penalties": ("classifier", ("penalty",), "[none, {name: input_gradient, weight: 0.1}]"),
    "projections": ("classifier", ("projection",), "[none, parseval]"),
}
_CHAPTERS: dict[str, tuple[str, Callable[[], Iterable[Topic]]]] = {
    "optimisers": (
        "In `classifier.optimiser` and `purifier.optimiser`, e.g. `optimiser: {name: sgd, nesterov: true}`.",
        lambda: _models(OPTIMISERS),
    ),
    "schedules": (
        "In `classifier.schedule` and `purifier.schedule`, e.g. `schedule: {name: milestones, milestones: "
        "[5, 7]}`.",
        lambda: _models(SCHEDULES),
    ),
    "architectures": (
        "In `classifier.architecture`. Their settings are `width`, `time_steps` and the other keys of "
        "`classifier`.",
        _architectures,
    ),
    "codings": (
        f"In `classifier.coding`. {_WRITTEN.format(example='signedpoisson(gain=1)')}",
        lambda: _family(Coding),
    ),
    "dynamics": (
        f"In `classifier.dynamics`, `purifier.dynamics`. {_WRITTEN.format(example='adaptivelif(rise=0.5)')}",
        lambda: _family(Dynamics),
    ),
    "surrogates": (
        "In `classifier.surrogate`, `purifier.surrogate` and, as a list, `evaluation.surrogates`. "
        f"{_WRITTEN.format(example='atan(alpha=2)')}",
        lambda: _family(Surrogate),
    ),
    "attacks": (
        "In `evaluation.attacks`, `evaluation.curve` and `purifier.attack`: `{name: pgd, steps: 20}`, or as "
        "text "
        "`pgd:steps=20`. The budget of an evaluated attack is `evaluation.eps`.",
        _attacks,
    ),
    "suites": ("In `evaluation.suite`, and `--suite` of `purespike evaluate`.", _suites),
    "threats": (
        "In `evaluation.threats`, and `--threat` of `purespike evaluate`.",
        _threats,
    ),
    "tolerances": (
        "In `evaluation.thresholds`, e.g. `{gain: 0.02}`.",
        _tolerances,
    ),
    "sources": ("In `data.source`, and `--data` of most commands.", _sources),
    "scores": ("`--score` of `purespike reject`, e.g. `prediction_change:steps=10`.", _scores),
}


def chapter(name: str) -> Chapter:
    """The chapter called ``name``, one of :data:`~purespike.reference.titles.TITLES`."""
    if name in _PARTS:
        stage, kinds, example = _PARTS[name]
        about = _OBJECTIVE.format(stage=stage, example=example)
        if name in ("penalties", "projections"):
            about += f" They train either stage: {' and '.join(STAGES)}."
        return Chapter(name, TITLES[name], about, _parts(stage, *kinds))
    about, topics = _CHAPTERS[name]
    return Chapter(name, TITLES[name], plain(about), tuple(topics()))
