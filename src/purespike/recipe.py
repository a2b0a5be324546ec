"""A run as data: the YAML recipe, checked before anything is computed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from purespike.errors import InputError, brief, unknown
from purespike.optimisation import (
    Adam,
    AdamUnlessNamed,
    Constant,
    ConstantUnlessNamed,
    Milestones,
    MilestonesUnlessNamed,
    Sgd,
    SgdUnlessNamed,
)
from purespike.section import Epochs, Positive, Rate, Section, Seed, TimeSteps, Width, explain
from purespike.settings import EvaluationSettings
from purespike.text import parse_attack
from purespike.yaml_text import parse_yaml, read_yaml


def _listed(value: Any) -> Any:
    parts = [value] if isinstance(value, str | dict) else value
    if not isinstance(parts, list | tuple):
        return parts
    return [{"name": part} if isinstance(part, str) else part for part in parts]


_TRAINING_ATTACK = {"name": "fgsm", "eps": "16/255"}


def _changed_attack(value: Any) -> Any:
    # --set purifier.attack.eps=4/255 on a recipe that leaves the attack out changes the default
    return {**_TRAINING_ATTACK, **value} if isinstance(value, dict) and "name" not in value else value


def _named(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("name"), str):
        raise InputError("needs a name, e.g. {name: fgsm, eps: 8/255}")
    return value


def _alone(value: str | None, info: ValidationInfo) -> str | None:
    for key, default in (("thresholds", THRESHOLDS), ("decay", DECAY)) if value else ():
        if info.data.get(key) != default:
            raise InputError(f"leaves {key} unused; give it as a setting of the dynamics")
    return value


Thresholds = Annotated[tuple[float, ...], Field(max_length=64)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
THRESHOLDS, DECAY = (0.6, 1.6, 2.6), 0.25
Dynamics = Annotated[str | None, AfterValidator(_alone)]
Named = Annotated[dict[str, Any], AfterValidator(_named)]
Objective = Annotated[tuple[Named, ...], BeforeValidator(_listed)]

# former keys of the section classifier, and their present places
FORMER = {
    "adversarial": ("objective",),
    "momentum": ("optimiser", "momentum"),
    "weight_decay": ("optimiser", "weight_decay"),
    "milestones": ("schedule", "milestones"),
    "decay_factor": ("schedule", "decay_factor"),
}
# by section: other names of its keys, and the kind of name that they are
_OTHER_NAMES: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "classifier": ("the former name", FORMER),
    "evaluation": (
        "another name",
        {name: (own,) for name, own in EvaluationSettings.names().items() if name != own},
    ),
}


def present_names(values: Any, section: str = "classifier") -> Any:
    """A section with every key under its present name, in its present place.

    Raises:
        InputError: a key is given under both its names.
    """
    kind, others = _OTHER_NAMES.get(section, ("", {}))
    if not isinstance(values, dict):
        return values
    result = {key: value for key, value in values.items() if key not in others}
    for other in values.keys() & others.keys():
        target, (*parents, last) = result, others[other]
        for parent in parents:
            target[parent] = nested = _spelled_out(parent, target.get(parent, {}))
            if not isinstance(nested, dict):
                raise InputError(f"{parent}: must be a name or a mapping with one, got {nested!r}")
            target = nested
        if last in target:
            place = ".".join(others[other])
            raise InputError(f"{other} is {kind} of {place}: give only one of them")
        target[last] = values[other]
    return result


def _spelled_out(key: str, value: Any) -> Any:
    """A copy of the mapping at ``key``, also where a name or an attack as text stands for it."""
    if isinstance(value, str) and key == "curve":
        return parse_attack(value)
    if isinstance(value, str) and key in ("optimiser", "schedule", "objective"):
        return {"name": value}
    # an alias of YAML is one mapping in several places, of which only one is meant
    return dict(value) if isinstance(value, dict) else value


class DataRecipe(Section):
    """``source`` as :func:`purespike.data.load_data` takes it; limits draw a stratified subset.

    For the same source, limits and seed, a run with the ``role`` ``attacker`` trains on images on which the
    ``defender``'s run does not train (:func:`purespike.data.attacker_data`), at most ``attacker_limit``. The
    seed decides the split between both: an attacker's run with another seed gives the seed of the defender's
    recipe as ``defender_seed``.
    """

    source: str = "digits"
    train_limit: Positive | None = None
    test_limit: Positive | None = None
    role: Literal["defender", "attacker"] = "defender"
    attacker_limit: Positive | None = None
    defender_seed: Seed | None = None

    @field_validator("defender_seed")
    @classmethod
    def _only_for_attackers(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("role") == "defender":
            raise InputError("is for role: attacker; a defender's seed is the recipe's own")
        return value


class Training(Section):
    """Settings that classifier and purifier have in common.

    Neurons are multi-level firing with ``thresholds`` and ``decay``, or have other ``dynamics``, by their
    written form, e.g. ``adaptivelif(rise=0.5)``. Gradients flow through the reset unless it is ``detached``.
    Given ``minutes``, training ends when they are over, whatever ``epochs`` says, and schedules follow the
    clock. ``clip`` limits the norm of a step's gradient; ``average`` is the decay of a moving average of the
    weights, which is what is kept in the end.
    """

    epochs: Epochs
    minutes: Rate | None = None
    batch_size: BatchSize = 128
    learning_rate: Rate
    crop_padding: Annotated[int, Field(ge=0, le=1024)] = 4
    flip: bool = True
    clip: Rate | None = None
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def neurons(self) -> dict[str, Any]:
        """Settings of the neurons as models take them; default dynamics as thresholds and decay."""
        own = ("thresholds", "decay") if getattr(self, "dynamics", None) is None else ("dynamics",)
        # models record the settings that they are built with: the defaults stay unwritten there
        usual = {"reset": "attached", "gates": "none", "care": 0.0}
        changed = [key for key, value in usual.items() if getattr(self, key, value) != value]
        values = {key: getattr(self, key) for key in ("time_steps", *own, "surrogate", *changed)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


class ClassifierRecipe(Training):
    """Architecture and training of the classifier; the defaults (SGD, step decay) are the paper's for CIFAR.

    ``smoothing: ols`` smooths the labels online. ``objective`` lists an objective (``none``, training on
    clean images, ``fgsm``, ``pgd`` or ``trades``, with the settings of its attack), penalties and projections
    (:func:`purespike.training.objectives.create_objective`); one needs no list, and a name alone means
    its defaults. The former keys ``adversarial`` (now ``objective``), ``momentum``, ``weight_decay`` (now in
    ``optimiser``), ``milestones`` and ``decay_factor`` (now in ``schedule``) remain valid.
    ``coding`` makes frames of an image, e.g. ``poisson``. ``gates`` puts stochastic gates after the neurons,
    with one probability for each ``channel`` or ``neuron``; ``care`` is the share of a recalibration of
    channels by class means, which the objective's part ``care`` records.

    Given a ``source``, a checkpoint, a run folder or ``module:function``, that model is defended as it is and
    nothing here is trained.
    """

    source: str | None = None
    architecture: str = "senet18_snn"
    width: Width = 1.0
    time_steps: TimeSteps = 4
    thresholds: Thresholds = THRESHOLDS
    decay: Annotated[float, Field(ge=0, le=1)] = DECAY
    surrogate: str = "rectangle(width=1)"
    reset: Literal["attached", "detached"] = "attached"
    dynamics: Dynamics = None
    gates: Literal["none", "channel", "neuron"] = "none"
    care: Annotated[float, Field(ge=0, le=1)] = 0.0
    coding: str = "direct"
    epochs: Epochs = 150
    batch_size: BatchSize = 256
    learning_rate: Rate = 0.1
    optimiser: SgdUnlessNamed = Sgd()
    schedule: MilestonesUnlessNamed = Milestones()
    smoothing: Literal["none", "ols"] = "none"
    objective: Objective = ({"name": "none"},)

    @model_validator(mode="before")
    @classmethod
    def _present(cls, values: Any) -> Any:
        return present_names(values)


class PurifierRecipe(Training):
    """Architecture and training (Algorithm 1, Adam) of the purifier; the paper's but for ``thresholds``.

    Three thresholds instead of the LIF neuron's one undo more of an oblivious attack in our ablation.
    ``attack`` makes the training examples: the settings of one attack, by name. ``objective`` lists an
    objective (``paper``, the loss of eq. 10), penalties and projections. λ and γ are CBDNet's. The paper
    leaves open ``beta``, ``switch_epoch`` and σ(n), here ``noise_level``
    (:func:`purespike.losses.true_noise_level`); it trains on adversarial images only, where here
    ``clean_share`` of each batch may be clean.

    ``coding: events`` purifies frame t of an event camera at step t. ``architecture: background_activity``
    takes :class:`purespike.events.BackgroundActivityFilter` instead of a trained purifier.

    ``output`` is the output stage (:data:`purespike.models.output.OUTPUTS`), ``start`` a purifier whose
    weights training begins with. ``noise`` is the standard deviation of noise that a purifier adds to its
    images first, and ``vote`` puts the answers of ``passes`` draws together.
    """

    architecture: Literal["purifier", "background_activity"] = "purifier"
    width: Width = 1.0
    time_steps: TimeSteps = 4
    thresholds: Thresholds = THRESHOLDS
    decay: Annotated[float, Field(ge=0, le=1)] = DECAY
    surrogate: str = "rectangle(width=1)"
    reset: Literal["attached", "detached"] = "attached"
    dynamics: Dynamics = None
    coding: Literal["direct", "events"] = "direct"
    output: Literal["residual", "bounded", "gated", "reconstruction"] = "residual"
    start: str | None = None
    noise: Annotated[float, Field(ge=0, le=10)] = 0.0
    passes: Annotated[int, Field(ge=1, le=1000)] = 1
    vote: Literal["mean", "majority"] = "mean"
    epochs: Epochs = 200
    batch_size: BatchSize = 128
    learning_rate: Rate = 1e-4
    optimiser: AdamUnlessNamed = Adam()
    schedule: ConstantUnlessNamed = Constant()
    objective: Objective = ({"name": "paper"},)
    attack: Annotated[Named, BeforeValidator(_changed_attack)] = _TRAINING_ATTACK
    beta: Annotated[float, Field(ge=0, le=1)] = 0.5
    switch_epoch: Positive = 100
    asymmetric_weight: Annotated[float, Field(ge=0)] = 0.5
    variation_weight: Annotated[float, Field(ge=0)] = 0.05
    gamma: Annotated[float, Field(gt=0, lt=0.5)] = 0.3
    noise_level: Literal["absolute", "signed", "local_std"] = "absolute"
    clean_share: Annotated[float, Field(ge=0, lt=1)] = 0.0


_EVALUATION: dict[str, Any] = {
    "attacks": ("gaussian_noise", "fgsm", "ifgsm", "mifgsm", "pgd", "pgd:steps=20", "cw"),
    "surrogates": ("rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)"),
    "learned_bpda": False,
    "curve": "pgd:steps=20",
    "curve_eps": ("2/255", "4/255", "8/255", "16/255"),
    "threats": ("oblivious", "bpda", "adaptive"),
    "images": 1000,
}


class EvaluationRecipe(EvaluationSettings):
    """The evaluation of a run: as :class:`~purespike.settings.EvaluationSettings`, the paper's by default.

    A ``suite`` takes the place of the paper's attacks, and of the surrogates.
    """

    @model_validator(mode="before")
    @classmethod
    def _by_default(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = {cls.names().get(name, name) for name in values}
        by_suite = ("attacks", "surrogates", "learned_bpda") if values.get("suite") is not None else ()
        return {k: v for k, v in _EVALUATION.items() if k not in given and k not in by_suite} | values


class Recipe(Section):
    """Everything that decides a run's numbers, apart from the machine."""

    seed: Seed = 0
    data: DataRecipe = DataRecipe()
    classifier: ClassifierRecipe = ClassifierRecipe()
    purifier: PurifierRecipe = PurifierRecipe()
    evaluation: EvaluationRecipe = EvaluationRecipe()

    def to_yaml(self) -> str:
        """The recipe with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file and apply ``a.b=value`` overrides, whose values are YAML.

    Raises:
        InputError: unreadable file, unknown key (with the nearest known one), or a value of the wrong type
            or out of range.
    """
    content = read_yaml(path)
    if not isinstance(content, dict | None):
        raise InputError(f"{path}: a recipe is a mapping of sections, got {type(content).__name__}")
    values = content or {}
    for section in values:
        try:
            values[section] = present_names(values[section], section)
        except InputError as error:
            raise InputError(f"{path}: {section}: {error}") from error
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip().rpartition(".")[2]:
            raise InputError(f"--set {override}: write section.key=value, e.g. classifier.epochs=5")
        try:
            _apply(values, key.strip().split("."), parse_yaml(text))
        except InputError as error:
            raise InputError(f"--set {key.strip()}: {error}") from error
    return parse_recipe(values, source=str(path))


def parse_recipe(values: dict[str, Any], *, source: str = "recipe") -> Recipe:
    """Check a recipe given as nested mappings.

    Raises:
        InputError: as :func:`load_recipe` does.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise _explain(error, source) from error


def _apply(values: dict[str, Any], place: list[str], value: Any) -> None:
    """Set the key at a dotted place, which other names may lead to."""
    section, *keys = place
    if keys:
        _, others = _OTHER_NAMES.get(section, ("", {}))
        keys = [*others.get(keys[0], keys[:1]), *keys[1:]]
    else:
        value = present_names(value, section)
    *parents, last = [section, *keys]
    for parent in parents:
        values[parent] = nested = _spelled_out(parent, values.get(parent, {}))
        if not isinstance(nested, dict):
            raise InputError(f"{parent} is not a section with keys of its own, but {brief(nested)}")
        values = nested
    values[last] = value


def _explain(error: ValidationError, source: str) -> InputError:
    first = error.errors()[0]
    place, section = _locate(first["loc"])
    if first["type"] == "extra_forbidden":
        prefix = place.rpartition(".")[0]
        known = [f"{prefix}.{name}" if prefix else name for name in section.model_fields]
        return InputError(f"{source}: {unknown('recipe key', place, known)}")
    return InputError(f"{source}: {explain(error, place)}")


def _locate(loc: tuple[int | str, ...]) -> tuple[str, type[BaseModel]]:
    """The dotted place of an error, and the section that it lies in."""
    names: list[str] = []
    section: type[BaseModel] = Recipe
    inside: list[type[BaseModel]] = [Recipe]
    for part in loc:
        tagged = [
            option for option in inside if len(inside) > 1 and option.model_fields["name"].default == part
        ]
        if tagged:
            # pydantic names the section that was chosen among several; the recipe does not
            inside = tagged
            continue
        names.append(str(part))
        if isinstance(part, str) and inside:
            (section, *_), field = inside, inside[0].model_fields.get(part)
            inside = _sections(field.annotation) if field else []
    return ".".join(names), section


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]
