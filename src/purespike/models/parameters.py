"""Parameters of a model by the names that the patterns of a recipe are looked for in."""

import re
from collections.abc import Iterator

from torch import nn

NAMES = "names look like readout.weight, or BatchNorm2d.weight by their layer's class"
"""What the user is told whose pattern is found in none."""


def named_twice(model: nn.Module) -> Iterator[tuple[nn.Parameter, tuple[str, str]]]:
    """Each parameter once, with its name (``readout.weight``) and that by its layer's class."""
    seen: set[nn.Parameter] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in seen:
                seen.add(parameter)
                yield parameter, (f"{path}.{name}" if path else name, f"{type(module).__name__}.{name}")


def found_in(pattern: str, names: tuple[str, str]) -> bool:
    """Whether the regular expression is found in one of the two names."""
    return any(re.search(pattern, name) for name in names)
