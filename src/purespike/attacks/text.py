"""Attacks and surrogates as written on a command line."""

import re
from typing import Any

import yaml

from purespike.errors import InputError


def parse_attacks(text: str) -> list[dict[str, Any]]:
    """Read ``"fgsm,pgd:steps=20:step_size=2/255"`` as one mapping per attack.

    Raises:
        InputError: no attack, or a setting without a value.
    """
    attacks: list[dict[str, Any]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, *settings = part.split(":")
        attack: dict[str, Any] = {"name": name}
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals:
                raise InputError(f"attacks: {part!r}: write settings as name:key=value, e.g. pgd:steps=20")
            try:
                attack[key] = yaml.safe_load(value)
            except yaml.YAMLError as error:
                raise InputError(f"attacks: {part!r}: the value of {key} is not YAML") from error
        attacks.append(attack)
    if not attacks:
        raise InputError("attacks: name at least one, e.g. fgsm,pgd:steps=20")
    return attacks


def parse_surrogates(text: str) -> list[str]:
    """Split ``"atan(alpha=2), bptr"`` at the commas outside parentheses.

    Raises:
        InputError: no surrogate.
    """
    names = [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]
    if not names:
        raise InputError("surrogates: name at least one, e.g. atan(alpha=2),bptr")
    return names
