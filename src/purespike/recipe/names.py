"""Former and other names of keys, and short spellings of sections."""

from typing import Any

from purespike.errors import InputError
from purespike.settings import EvaluationSettings
from purespike.text import parse_attack

# former keys of the section classifier, and their present places
FORMER = {
    "adversarial": ("objective",),
    "momentum": ("optimiser", "momentum"),
    "weight_decay": ("optimiser", "weight_decay"),
    "milestones": ("schedule", "milestones"),
    "decay_factor": ("schedule", "decay_factor"),
}
# by section: other names of its keys, and the kind of name that they are
OTHER_NAMES: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
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
    kind, others = OTHER_NAMES.get(section, ("", {}))
    if not isinstance(values, dict):
        return values
    result = {key: value for key, value in values.items() if key not in others}
    for other in values.keys() & others.keys():
        target, (*parents, last) = result, others[other]
        for parent in parents:
            target[parent] = nested = spelled_out(parent, target.get(parent, {}))
            if not isinstance(nested, dict):
                raise InputError(f"{parent}: must be a name or a mapping with one, got {nested!r}")
            target = nested
        if last in target:
            place = ".".join(others[other])
            raise InputError(f"{other} is {kind} of {place}: give only one of them")
        target[last] = values[other]
    return result


def spelled_out(key: str, value: Any) -> Any:
    """A copy of the mapping at ``key``, also where a name or an attack as text stands for it."""
    if isinstance(value, str) and key == "curve":
        return parse_attack(value)
    if isinstance(value, str) and key in ("optimiser", "schedule", "objective"):
        return {"name": value}
    # an alias of YAML is one mapping in several places, of which only one is meant
    return dict(value) if isinstance(value, dict) else value
