"""Settings of an evaluation, the same in Python, in a recipe and on the command line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
)

from purespike.budget import PARSERS, parse_radius
from purespike.errors import InputError, unknown
from purespike.section import NotNegativeInt, Positive, Section, explain
from purespike.text import parse_attack, parse_attacks, split


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Tolerances of the diagnostics; fractions of images unless stated otherwise.

    Args:
        gain: fraction that a weaker attack may break beyond a stronger one; also that more steps, more
            starts or queries may break beyond the attack.
        significance: level of the tests that tell two attacks on the same images apart, and an informative
            gradient from a random one.
        spread: lag of the model's own surrogate behind the best of the sweep.
        zero_gradients: fraction without any gradient that is suspicious.
        masked: fraction without any gradient that makes the number unreliable.
        zero_pixels: fraction of an image's pixels whose gradient is exactly zero, mean over images.
        flat: median gradient norm at the images, relative to that at random points of their balls.
        window: fraction of a layer's membranes that must let a gradient pass.
        dead: fraction of a layer's neurons that never fire, or always.
        late_gain: fraction of the loss's total rise that the last steps may contribute.
        unstable: fraction of the loss's total rise that an average step may lose.
        planted: fraction of planted adversarial images that the attack must find.
        nondeterminism: largest difference of two logits that count as equal.
        large_eps: L∞ budget at which every image should be broken.
    """

    gain: float = 0.01
    significance: float = 0.05
    spread: float = 0.05
    zero_gradients: float = 0.05
    masked: float = 0.5
    zero_pixels: float = 0.5
    flat: float = 1e-3
    window: float = 0.01
    dead: float = 0.95
    late_gain: float = 0.05
    unstable: float = 0.1
    planted: float = 0.95
    nondeterminism: float = 1e-4
    large_eps: float = 0.5

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value < math.inf:
                raise InputError(f"{name} must be at least 0 and finite, got {value}")

    def allowed(self, count: int, share: float | None = None) -> float:
        """Number of ``count`` images that a fraction, by default ``gain``, allows; at least one.

        Among fewer than a hundred images one is more than a percentage point, and may be chance.
        """
        return max((self.gain if share is None else share) * count, 1)


DEFAULT_THRESHOLDS = Thresholds()


def _eps(value: float | str, info: ValidationInfo) -> float | str:
    # the ball of a norm of one's own checks its radius itself
    PARSERS.get(info.data.get("norm", "linf"), parse_radius)(value)
    return value


def _list(value: Any) -> Any:
    """One value, a list, or a text with commas, as a list."""
    if isinstance(value, str):
        return split(value)
    return [float(value)] if isinstance(value, Real) and not isinstance(value, bool) else value


def _budgets(value: Any) -> Any:
    """As :func:`_list`, but a comma without a budget after it is a mistake, and so is a budget per image."""
    if getattr(value, "ndim", 0):
        raise InputError("every image meets every budget; give a list of them, not an array or tensor")
    if hasattr(value, "item"):
        value = value.item()
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else _list(value)


def _some(budgets: tuple[float | str, ...]) -> tuple[float | str, ...]:
    if not budgets:
        raise InputError("give at least one budget, e.g. 8/255")
    return budgets


def _named(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise InputError("name at least one, e.g. adaptive, or all")
    return names


def _attack(value: Any) -> Any:
    return parse_attack(value) if isinstance(value, str) else value


def _attacks(value: Any) -> Any:
    if isinstance(value, str):
        return parse_attacks(value)
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, Sequence):
        return value
    # a text in a list may name several, as on the command line
    return [attack for each in value for attack in (parse_attacks(each) if isinstance(each, str) else [each])]


def _thresholds(value: Any) -> Any:
    if isinstance(value, str):
        pairs = (part.partition("=") for part in split(value))
        value = {key.strip(): number for key, _, number in pairs}
    if not isinstance(value, Mapping):
        return value
    try:
        return Thresholds(**{key: float(number) for key, number in value.items()})
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        if named := [key for key in value if key not in asdict(Thresholds())]:
            raise unknown("threshold", str(named[0]), asdict(Thresholds())) from None
        raise InputError(f"write numbers, e.g. gain=0.02 ({error})") from None


# the validator says more about a budget that is not finite
Eps = Annotated[Annotated[float, Field(allow_inf_nan=True)] | str, AfterValidator(_eps)]
Attack = Annotated[dict[str, Any], BeforeValidator(_attack)]
Names = Annotated[tuple[str, ...], BeforeValidator(_list)]


class EvaluationSettings(Section):
    """Attacks, threat models and budgets of an evaluation, and its diagnostics.

    Lists may be written as one text with commas, attacks as ``"pgd:steps=20:step_size=2/255"``. The suite
    decides ``attacks``, ``surrogates`` and ``learned_bpda`` where they are ``None``; without a suite they are
    FGSM and PGD, three surrogates, and ``False``.
    """

    suite: Annotated[
        str | None, Field(description="Attacks and surrogates: quick, standard, full or table4.")
    ] = None
    attacks: Annotated[
        tuple[dict[str, Any], ...] | None,
        BeforeValidator(_attacks),
        Field(
            description="In place of a suite's, comma-separated; settings after colons, e.g. "
            "fgsm,pgd:steps=20."
        ),
    ] = None
    norm: Annotated[str, Field(description="Norm of all budgets: linf, l2 or l0.")] = "linf"
    learned_bpda: Annotated[
        bool | None, Field(description="Let the bpda attacker also learn to imitate the purifier.")
    ] = None
    eps: Annotated[
        tuple[Eps, ...],
        BeforeValidator(_budgets),
        AfterValidator(_some),
        Field(description="Budgets, comma-separated: L∞ in pixel units, L2 radii, or L0 numbers of pixels."),
    ] = ("8/255",)
    curve: Annotated[
        Attack | None, Field(description="Attack to run at further budgets, for accuracy against eps.")
    ] = None
    curve_eps: Annotated[
        tuple[Eps, ...],
        BeforeValidator(_budgets),
        Field(description="Budgets of the curve, comma-separated."),
    ] = ()
    threats: Annotated[
        Names,
        AfterValidator(_named),
        Field(
            validation_alias=AliasChoices("threats", "threat"),
            description="undefended, oblivious, bpda, adaptive, seed_known, transfer, query "
            "(comma-separated), or all.",
        ),
    ] = ("adaptive",)
    surrogates: Annotated[
        Names | None, Field(description="Surrogates of the adaptive attacker, in place of a suite's.")
    ] = None
    losses: Annotated[Names, Field(description="Losses that the adaptive attacker maximises.")] = (
        "ce",
        "margin",
    )
    eot: Annotated[
        Positive | None,
        Field(description="Gradients averaged per step; by default 20 if the model is stochastic, else 1."),
    ] = None
    passes: Annotated[
        Positive | None,
        Field(description="Passes that judge an image; by default 10 if the model is stochastic, else 1."),
    ] = None
    images: Annotated[
        Positive | None, Field(description="Number of test images, a stratified subset; all if not given.")
    ] = None
    batch_size: Annotated[Positive, Field(description="Images per forward.")] = 128
    diagnose: Annotated[
        NotNegativeInt | None,
        Field(
            description="Number of images for the diagnostics whatever they cost, 0 turns them off; by "
            "default 4 to 32, as many as take no more passes than the attacks did, or 4,000; what takes more "
            "even so is left out, and named."
        ),
    ] = None
    max_cost: Annotated[
        Positive,
        Field(
            description="Gradients per image, surrogate and loss that the evaluation may add to the attacks "
            "named: all escalated attacks of one budget together, and, without --diagnose, the diagnostics."
        ),
    ] = 400
    thresholds: Annotated[
        Thresholds,
        BeforeValidator(_thresholds),
        Field(
            validation_alias=AliasChoices("thresholds", "limits"),
            description="Tolerances of the diagnostics, e.g. gain=0.02,planted=0.9.",
        ),
    ] = DEFAULT_THRESHOLDS

    @field_serializer("thresholds")
    def _only_changed(self, value: Thresholds) -> dict[str, float]:
        usual = asdict(Thresholds())
        return {name: number for name, number in asdict(value).items() if number != usual[name]}

    @classmethod
    def of(
        cls, settings: "EvaluationSettings | Mapping[str, Any] | None" = None, **changes: Any
    ) -> "EvaluationSettings":
        """``settings``, or the defaults, with some of them changed.

        Raises:
            InputError: unknown setting, or a value out of range; the message names it.
        """
        if isinstance(settings, Mapping):
            settings = cls.of(**settings)
        if not isinstance(settings, EvaluationSettings | None):
            raise InputError(
                f"settings: expected EvaluationSettings or a mapping, got {type(settings).__name__}; "
                'a suite is named with suite="standard"'
            )
        given = (
            {} if settings is None else {name: getattr(settings, name) for name in settings.model_fields_set}
        )
        base = cls if settings is None else type(settings)
        renamed: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in base.names():
                raise unknown("setting of an evaluation", name, base.model_fields)
            if (setting := base.names()[name]) in renamed:
                spellings = [each for each in changes if base.names().get(each) == setting]
                raise InputError(f"{' and '.join(spellings)}: two spellings of one setting; give one of them")
            renamed[setting] = value
        try:
            return base.model_validate({**given, **renamed})
        except ValidationError as error:
            raise InputError(explain(error)) from None

    @classmethod
    def names(cls) -> dict[str, str]:
        """The name of a setting for each accepted spelling."""
        found = {name: name for name in cls.model_fields}
        for name, field in cls.model_fields.items():
            if isinstance(field.validation_alias, AliasChoices):
                found |= {str(choice): name for choice in field.validation_alias.choices}
        return found
