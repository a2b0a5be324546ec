"""What registers as an attack: checked where it is defined, not when it is first used."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

from purespike.attacks.protocol import Attack, has_setting
from purespike.ball import Ball
from purespike.errors import InputError, brief, unknown
from purespike.results.vocabulary import check_name

_MEMBERS = (
    *("seed", "norm", "differentiates", "passes"),
    *("unfit", "gradient_part", "loss_ascent_part", "__call__"),
)


def name_of(mechanism: type[Any]) -> str:
    """The default of the mechanism's setting ``name``.

    Raises:
        InputError: no dataclass, or without such a default.
    """
    place = f"attack {mechanism.__name__}"
    # a class that inherits from a dataclass is none itself
    if "__dataclass_fields__" not in vars(mechanism):
        raise InputError(f"{place}: is no dataclass; write @dataclass(frozen=True) below @attack")
    for one in fields(mechanism):
        if one.name == "name" and isinstance(one.default, str):
            return one.default
    raise InputError(f'{place}: has no field name with a default; add name: str = "…"')


def default_of(name: str, make: Callable[..., Any]) -> Attack:
    """The attack ``name`` with all its defaults.

    Raises:
        InputError: it cannot be made without settings, or is no attack.
    """
    try:
        made = make()
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"
        raise InputError(f"attack {name}: cannot be made with its defaults ({detail})") from error
    if not is_dataclass(made) or isinstance(made, type):
        raise InputError(
            f"attack {name}: makes {brief(made)}, which is no dataclass of settings; return an attack, e.g. "
            'create_attack("pgd", **settings)'
        )
    made = cast(Attack, made)
    missing = [member for member in _MEMBERS if not _has(made, member)]
    if not has_setting(made, "name"):
        missing.insert(0, "name")
    if missing:
        raise InputError(
            f"attack {name}: lacks {', '.join(missing)}; name and seed are fields with defaults, and "
            "purespike.attacks.Attack is the base that has the rest"
        )
    if made.norm not in (*Ball.known, "noise"):
        raise unknown(f"norm of attack {name}", str(made.norm), [*Ball.known, "noise"])
    return replace(made, name=name)


def check_words(name: str, norms: Any, contains: Any, known: Any) -> None:
    """See that an attack has a name that lists can hold, and that its norms and contained attacks are known.

    Args:
        name: name of the attack.
        norms: norms that it knows; ``None`` for all.
        contains: attacks that it runs.
        known: names of all attacks so far.

    Raises:
        InputError: one of them is not, or a text in place of several.
    """
    check_name("attack", name)
    for kind, given, names in (("norms", norms, Ball.known), ("contains", contains, known)):
        if isinstance(given, str):
            raise InputError(f"attack {name}: {kind}: several names, e.g. ({given!r},), got {given!r}")
        for each in given or ():
            if each not in names:
                raise unknown(f"name in {kind} of attack {name}", str(each), names)


def _has(made: Any, member: str) -> bool:
    if member == "__call__":
        return callable(made) and type(made).__call__ is not Attack.__call__
    try:
        return hasattr(made, member)
    except NotImplementedError:
        return False
