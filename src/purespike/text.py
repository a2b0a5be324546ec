"""Attacks, surrogates and lists as text, the same on the command line and in Python."""

import re
from typing import Any

from purespike.errors import InputError, brief
from purespike.yaml_text import parse_yaml


def parse_attacks(text: str) -> list[dict[str, Any]]:
    """Read ``"fgsm,pgd:steps=20:step_size=2/255"`` as one mapping per attack.

    Raises:
        InputError: no attack, or a setting without a value.
    """
    attacks = [parse_attack(part) for part in split(text)]
    if not attacks:
        raise InputError("attacks: name at least one, e.g. fgsm,pgd:steps=20")
    return attacks


def parse_attack(text: str) -> dict[str, Any]:
    """Read one attack, ``"pgd:steps=20"``, as a mapping of its name and settings, whose values are YAML.

    Raises:
        InputError: a setting without a value.
    """
    name, *settings = text.strip().split(":")
    attack: dict[str, Any] = {"name": name}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"attacks: {brief(text)}: write settings as name:key=value, e.g. pgd:steps=20")
        if key in attack:
            raise InputError(f"attacks: {brief(text)}: {key} is given twice")
        try:
            attack[key] = parse_yaml(value)
        except InputError as error:
            raise InputError(f"attacks: {brief(text)}: the value of {key}: {error}") from error
    return attack


def split(text: str) -> list[str]:
    """Split ``"atan(alpha=2), bptr"`` at the commas outside parentheses; empty parts are dropped."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]
