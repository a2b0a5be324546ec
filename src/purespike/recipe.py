"""A run as data: the YAML recipe, checked before anything is computed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

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

from purespike.errors import InputError, unknown
from purespike.settings import EvaluationSettings, Positive, Section


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


Rate = Annotated[float, Field(gt=0)]
Named = Annotated[dict[str, Any], AfterValidator(_named)]


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
    """What the training of classifier and purifier have in common."""

    epochs: Positive
    batch_size: Positive = 128
    learning_rate: Rate
    crop_padding: Annotated[int, Field(ge=0)] = 4
    flip: bool = True


class ClassifierRecipe(Training):
    """Architecture and training (SGD, step decay) of the classifier; defaults are the paper's for CIFAR.

    ``smoothing`` is that of the labels: ``ols``, online label smoothing. ``adversarial`` names the way to
    train, ``none`` on clean images, ``fgsm``, ``pgd`` or ``trades``, with the settings of its attack
    (:func:`purespike.training.objectives.create_objective`); a name alone stands for its defaults.
    """

    architecture: str = "senet18_snn"
    width: Rate = 1.0
    time_steps: Positive = 4
    thresholds: tuple[float, ...] = (0.6, 1.6, 2.6)
    decay: Annotated[float, Field(ge=0, le=1)] = 0.25
    surrogate: str = "rectangle(width=1)"
    epochs: Positive = 150
    batch_size: Positive = 256
    learning_rate: Rate = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    milestones: tuple[Positive, ...] = (80, 120)
    decay_factor: Rate = 0.1
    smoothing: Literal["none", "ols"] = "none"
    adversarial: Annotated[Named, BeforeValidator(_name_alone)] = Field(default={"name": "none"})


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
    thresholds: tuple[float, ...] = (0.6, 1.6, 2.6)
    decay: Annotated[float, Field(ge=0, le=1)] = 0.25
    surrogate: str = "rectangle(width=1)"
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
