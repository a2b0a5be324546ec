"""A run as data: the YAML recipe, checked before anything is computed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from purespike.budget import parse_eps, parse_radius
from purespike.errors import InputError, unknown


def _eps(value: float | str, info: ValidationInfo) -> float | str:
    parse = parse_radius if info.data.get("norm") == "l2" else parse_eps
    parse(value)
    return value


def _name_alone(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


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


THRESHOLDS, DECAY = (0.6, 1.6, 2.6), 0.25
Eps = Annotated[float | str, AfterValidator(_eps)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Dynamics = Annotated[str | None, AfterValidator(_alone)]
Named = Annotated[dict[str, Any], AfterValidator(_named)]


class Section(BaseModel):
    """Base of all parts of a recipe: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class DataRecipe(Section):
    """``source`` as :func:`purespike.data.load_data` takes it; limits draw a stratified subset.

    Of the same source, with the same limits and seed, a run whose ``role`` is ``attacker`` trains on images
    that the ``defender``'s does not train on (:func:`purespike.data.attacker_data`), at most
    ``attacker_limit``. The seed decides who has which: a run of another one names that of the defender's
    recipe as ``defender_seed``.
    """

    source: str = "digits"
    train_limit: Positive | None = None
    test_limit: Positive | None = None
    role: Literal["defender", "attacker"] = "defender"
    attacker_limit: Positive | None = None
    defender_seed: Annotated[int, Field(ge=0)] | None = None

    @field_validator("defender_seed")
    @classmethod
    def _of_an_attacker(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("role") == "defender":
            raise InputError("is for role: attacker; a defender's seed is the recipe's own")
        return value


class Training(Section):
    """Settings that classifier and purifier have in common.

    Neurons are multi-level firing with ``thresholds`` and ``decay``, or have other ``dynamics``, by their
    written form, e.g. ``adaptivelif(rise=0.5)``.
    """

    epochs: Positive
    batch_size: Positive = 128
    learning_rate: Rate
    crop_padding: Annotated[int, Field(ge=0)] = 4
    flip: bool = True

    def neurons(self) -> dict[str, Any]:
        """Settings of the neurons as models take them; default dynamics as thresholds and decay."""
        own = ("thresholds", "decay") if getattr(self, "dynamics", None) is None else ("dynamics",)
        values = {key: getattr(self, key) for key in ("time_steps", *own, "surrogate")}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


class ClassifierRecipe(Training):
    """Architecture and training (SGD, step decay) of the classifier; defaults are the paper's for CIFAR.

    ``smoothing`` is that of the labels: ``ols``, online label smoothing. ``adversarial`` names the way to
    train, ``none`` on clean images, ``fgsm``, ``pgd`` or ``trades``, with the settings of its attack
    (:func:`purespike.training.objectives.create_objective`); a name alone stands for its defaults.
    ``coding`` makes frames of an image, e.g. ``poisson``.
    """

    architecture: str = "senet18_snn"
    width: Rate = 1.0
    time_steps: Positive = 4
    thresholds: tuple[float, ...] = THRESHOLDS
    decay: Annotated[float, Field(ge=0, le=1)] = DECAY
    surrogate: str = "rectangle(width=1)"
    dynamics: Dynamics = None
    coding: str = "direct"
    epochs: Positive = 150
    batch_size: Positive = 256
    learning_rate: Rate = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    milestones: tuple[Positive, ...] = (80, 120)
    decay_factor: Rate = 0.1
    smoothing: Literal["none", "ols"] = "none"
    adversarial: Annotated[Named, BeforeValidator(_name_alone)] = {"name": "none"}


class PurifierRecipe(Training):
    """Architecture and training (Algorithm 1, Adam) of the purifier; the paper's but for ``thresholds``.

    Three thresholds instead of its LIF neuron's one undo more of an oblivious attack in our ablation.
    ``attack`` makes the training examples: the settings of one attack, by name. λ, γ are CBDNet's. The paper
    leaves open ``beta``, ``switch_epoch`` and what σ(n) is, here ``noise_level``
    (:func:`purespike.losses.true_noise_level`); it trains on adversarial images only, where here
    ``clean_share`` of each batch may be clean.
    """

    width: Rate = 1.0
    time_steps: Positive = 4
    thresholds: tuple[float, ...] = THRESHOLDS
    decay: Annotated[float, Field(ge=0, le=1)] = DECAY
    surrogate: str = "rectangle(width=1)"
    dynamics: Dynamics = None
    epochs: Positive = 200
    batch_size: Positive = 128
    learning_rate: Rate = 1e-4
    attack: Annotated[Named, BeforeValidator(_changed_attack)] = _TRAINING_ATTACK
    beta: Annotated[float, Field(ge=0, le=1)] = 0.5
    switch_epoch: Positive = 100
    asymmetric_weight: Annotated[float, Field(ge=0)] = 0.5
    variation_weight: Annotated[float, Field(ge=0)] = 0.05
    gamma: Annotated[float, Field(gt=0, lt=0.5)] = 0.3
    noise_level: Literal["absolute", "signed", "local_std"] = "absolute"
    clean_share: Annotated[float, Field(ge=0, lt=1)] = 0.0


class EvaluationRecipe(Section):
    """Which attacks under which threat models; every attack is one mapping with its name and settings.

    ``eps`` lists the budgets of the table, ``curve`` and ``curve_eps`` the attack and budgets of the
    accuracy-versus-eps curve, all of one ``norm``; ``surrogates`` × ``losses`` are what the adaptive attacker
    tries, and with ``learned_bpda`` the one of ``bpda`` also imitates the purifier. On ``diagnose`` images
    the evaluation examines itself; a budget that proves too small rises to ``max_cost`` gradients an image.
    """

    attacks: tuple[dict[str, Any], ...] = (
        {"name": "gaussian_noise"},
        {"name": "fgsm"},
        {"name": "ifgsm"},
        {"name": "mifgsm"},
        {"name": "pgd"},
        {"name": "pgd", "steps": 20},
        {"name": "cw"},
    )
    norm: Literal["linf", "l2"] = "linf"
    learned_bpda: bool = False
    eps: tuple[Eps, ...] = ("8/255",)
    curve: dict[str, Any] | None = {"name": "pgd", "steps": 20}
    curve_eps: tuple[Eps, ...] = ("2/255", "4/255", "8/255", "16/255")
    threats: tuple[str, ...] = ("oblivious", "bpda", "adaptive")
    surrogates: tuple[str, ...] = ("rectangle(width=1)", "triangle(width=1)", "atan(alpha=2)")
    losses: tuple[str, ...] = ("ce", "margin")
    images: Positive | None = 1000
    batch_size: Positive = 128
    diagnose: Annotated[int, Field(ge=0)] = 32
    max_cost: Positive = 400


class Recipe(Section):
    """Everything that decides a run's numbers, apart from the machine."""

    seed: Annotated[int, Field(ge=0)] = 0
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
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the recipe: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict | None):
        raise InputError(f"{path}: a recipe is a mapping of sections, got {type(content).__name__}")
    values = content or {}
    for override in overrides:
        _apply(values, override)
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


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *parents, last = key.strip().split(".")
    if not equals or not last:
        raise InputError(f"--set {override}: write section.key=value, e.g. classifier.epochs=5")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: {parent} is not a section")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not YAML") from error


def _explain(error: ValidationError, source: str) -> InputError:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        section: type[BaseModel] = Recipe
        for part in first["loc"][:-1]:
            section = section.model_fields[str(part)].annotation  # type: ignore[assignment]
        return InputError(f"{source}: {unknown('recipe key', place, _paths(section, place))}")
    return InputError(f"{source}: {place}: {first['msg']}, got {first['input']!r}")


def _paths(section: type[BaseModel], place: str) -> list[str]:
    prefix = place.rpartition(".")[0]
    return [f"{prefix}.{name}" if prefix else name for name in section.model_fields]
