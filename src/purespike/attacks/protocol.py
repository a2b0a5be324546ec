"""The interface of an attack: a frozen dataclass of settings, called with a model, images and labels."""

import functools
from dataclasses import Field, asdict, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeGuard, get_args, get_type_hints

from torch import Tensor, nn

from purespike.attacks.result import AttackResult
from purespike.errors import InputError, brief
from purespike.scalars import check_truth, check_whole, parse_number

if TYPE_CHECKING:
    from purespike.attacks.gradient import SignAttack

# largest number of steps, queries, restarts, …: more is a slip of the pen, and never ends
MOST = 10_000_000
# metadata of a field that is recorded only where it differs from its default: older results lack it
RECORDED_IF_SET = {"recorded": "if set"}


class Attack(Protocol):
    """An attack: a frozen dataclass of keyword settings, each with a default, that can be called.

    A class that inherits from this one has the answers below unless it gives its own; one that has all of
    these members need not inherit. ``eps``, ``norm``, ``loss``, ``eot``, ``stop_early``, ``restarts`` and
    ``steps`` are settings that the evaluation fills in or reads where an attack has them.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """Name in results and reports."""
        raise NotImplementedError

    @property
    def seed(self) -> int:
        """Seed of its random draws."""
        raise NotImplementedError

    @property
    def norm(self) -> str:
        """Norm in which its perturbations are measured; ``"noise"`` for noise that is no attack."""
        return "linf"

    @property
    def differentiates(self) -> bool:
        """Whether it follows the model's own gradients, and not outputs alone."""
        return True

    @property
    def passes(self) -> int:
        """About how many times it passes an image through the model; for a progress bar."""
        return 1

    def unfit(self, images: Tensor, classes: int) -> str:
        """Reason why it cannot attack such images of so many classes; empty where it can."""
        return ""

    def gradient_part(self) -> "Attack | None":
        """The part of it that follows gradients; ``None`` if none does."""
        return self if self.differentiates else None

    def loss_ascent_part(self) -> "Attack | None":
        """The part of it that climbs a loss, for which another model's gradient will do; ``None`` if none."""
        return self.gradient_part()

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        """Perturb ``images`` ``[N, C, H, W]`` in [0, 1] so that ``model`` misclassifies them."""
        raise NotImplementedError


# the settings that diagnostics vary to see whether the attack is strong enough
_ITERATED = [
    "eps",
    "norm",
    "step_size",
    "steps",
    "restarts",
    "random_start",
    "loss",
    "stop_early",
    "keep",
    "eot",
]


def has_setting(attack: Attack, name: str) -> bool:
    """Whether ``attack`` has a setting called ``name``."""
    return any(field.name == name for field in fields(attack))


def is_iterated(attack: Attack) -> "TypeGuard[SignAttack]":
    """Whether ``attack`` takes untargeted gradient steps, with the settings that :class:`SignAttack` has."""
    settings = all(has_setting(attack, name) for name in _ITERATED)
    return settings and attack.differentiates and not getattr(attack, "targeted", False)


def recorded(attack: Attack) -> dict[str, Any]:
    """Name, settings and seed of an attack as results record them."""
    unset = {
        field.name
        for field in fields(attack)
        if field.metadata == RECORDED_IF_SET and getattr(attack, field.name) == field.default
    }
    return {key: value for key, value in asdict(attack).items() if key not in unset}


def settings_of(attack: Attack) -> dict[str, Any]:
    """:func:`recorded` without the seed, which a result names apart."""
    return {key: value for key, value in recorded(attack).items() if key != "seed"}


def settle_scalars(attack: Attack, *, but: tuple[str, ...] = ()) -> None:
    """Replace numbers and truth values of an attack by plain ones of the types that its fields declare.

    Args:
        attack: attack to change.
        but: settings that are left alone, since a ball parses them.

    Raises:
        InputError: a setting of another type; ``None`` is right where it is the default.
    """
    types = _types(type(attack))
    for field in fields(attack):
        declared = types.get(field.name, field.type)
        value, kinds = getattr(attack, field.name), {declared, *get_args(declared)}
        if field.name in but or (value is None and field.default is None):
            continue
        if bool in kinds:
            settle(attack, **{field.name: check_truth(value, name=field.name)})
        elif int in kinds:
            number = check_whole(value, name=field.name)
            if field.name != "seed" and number > MOST:
                raise InputError(f"{field.name}: at most {MOST:,}, got {brief(value)}")
            settle(attack, **{field.name: number})
        elif float in kinds:
            settle(attack, **{field.name: parse_number(value, name=field.name)})


@functools.cache
def _types(mechanism: type[Attack]) -> dict[str, Any]:
    """Types of the settings, also where annotations are kept as text; none if that has no meaning."""
    try:
        return get_type_hints(mechanism)
    except NameError:
        return {}


def settle(attack: Attack, **settings: Any) -> None:
    """Replace settings of a frozen attack by the values they stand for; for its ``__post_init__`` alone."""
    for name, value in settings.items():
        object.__setattr__(attack, name, value)
