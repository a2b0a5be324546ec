"""Attacks, surrogates and lists as text, the same on the command line and in Python."""

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


def parse_attack(text: str, *, kind: str = "attacks") -> dict[str, Any]:
    """Read one attack, ``"pgd:steps=20"``, as a mapping of its name and settings, whose values are YAML.

    Args:
        text: name and settings.
        kind: word before the messages, for other things that are written like attacks.

    Raises:
        InputError: several attacks, or a setting without a value.
    """
    if len(_parts(text, ",")) > 1:
        one = kind.removesuffix("s")
        raise InputError(f"{kind}: {brief(text)}: one {one} belongs here; a comma separates several")
    name, *settings = _parts(text, ":")
    attack: dict[str, Any] = {"name": name}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"{kind}: {brief(text)}: write settings as name:key=value, e.g. pgd:steps=20")
        if key in attack:
            raise InputError(f"{kind}: {brief(text)}: {key} is given twice")
        try:
            attack[key] = parse_yaml(value)
        except InputError as error:
            raise InputError(f"{kind}: {brief(text)}: the value of {key}: {error}") from error
    return attack


def split(text: str) -> list[str]:
    """Split ``"atan(alpha=2), own:sizes=[1,2]"`` at the commas outside brackets; empty parts are dropped."""
    return list(filter(None, _parts(text, ",")))


def _parts(text: str, at: str) -> list[str]:
    """The parts of ``text`` between the characters ``at`` outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth = max(depth + (character in "([{") - (character in ")]}"), 0)
        if character == at and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
