"""Registry of scores: the higher the score of an image, the more it looks like an attacked one."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from purespike.errors import InputError, unknown
from purespike.models import Defended
from purespike.models.guard import own_code
from purespike.registration import own_name, registering
from purespike.rejection.seen import Seen
from purespike.text import parse_attack

# from Seen, and settings, to a score of each image
Compute = Callable[..., Tensor]
Learn = Callable[[Seen], Tensor]


@dataclass(frozen=True)
class Entry:
    """A registered score; see :func:`score`."""

    name: str
    title: str
    compute: Compute
    needs_purifier: bool
    learn: Learn | None


SCORES: dict[str, Entry] = {}


@registering('@score("Title")')
def score(
    title: str, *, needs_purifier: bool = False, learn: Learn | None = None
) -> Callable[[Compute], Compute]:
    """Register a function from :class:`Seen` to a score ``[N]`` under its own name.

    Its keyword parameters, which have defaults, are settings: ``"prediction_change:steps=10"``. It should be
    differentiable: an adaptive attacker follows its gradient, and without one a good number shows nothing.

    Args:
        title: name in reports.
        needs_purifier: whether it looks at purified images or at the estimated noise.
        learn: function from :class:`Seen` to values ``[N, L]`` whose mean over clean images the score is then
            given as ``reference``, ``[L]``.

    Raises:
        InputError: the name is taken.
    """

    def register(compute: Compute) -> Compute:
        name = own_name("score", compute)
        if name in SCORES:
            raise InputError(f"score {name!r} is registered twice")
        SCORES[name] = Entry(name, title, compute, needs_purifier, learn)
        return compute

    return register


class Score:
    """A registered score with its settings, as text: ``"noise_mean"``, ``"prediction_change:steps=10"``.

    Raises:
        InputError: an unknown score or setting.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise InputError(f"score: name one of {', '.join(SCORES)}, got {type(text).__name__}")
        settings: dict[str, Any] = parse_attack(text, kind="score")
        name = settings.pop("name")
        if name not in SCORES:
            raise unknown("score", name, SCORES)
        self.text, self.entry, self.settings = text, SCORES[name], settings
        known = [
            parameter.name
            for parameter in inspect.signature(self.entry.compute).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "reference"
        ]
        for key in settings:
            if key not in known:
                raise unknown(f"setting of score {name}", key, known or ["none"])

    def check(self, model: nn.Module) -> None:
        """See that ``model`` has the parts that the score looks at.

        Raises:
            InputError: it has no purifier, but the score needs one.
        """
        if self.entry.needs_purifier and not isinstance(model, Defended):
            others = ", ".join(name for name, entry in SCORES.items() if not entry.needs_purifier)
            raise InputError(
                f"score {self.entry.name}: needs a purifier, but the model is a classifier alone; give "
                f"Defended(purifier, classifier), or one of {others}"
            )

    def __call__(self, seen: Seen, reference: tuple[float, ...] | None = None) -> Tensor:
        """The score of each image, ``[N]``; infinite where it is no number: such an image is rejected.

        Raises:
            InputError: a score that learns from clean images has no reference yet, or fails.
        """
        more: dict[str, Any] = {}
        if self.entry.learn is not None:
            if reference is None:
                raise InputError(f"score {self.entry.name}: learns from clean images; call calibrate first")
            more["reference"] = torch.tensor(reference, device=seen.images.device)
        with own_code(f"score {self.entry.name}"):
            found = self.entry.compute(seen, **self.settings, **more)
        if not isinstance(found, Tensor) or found.shape != seen.images.shape[:1]:
            raise InputError(f"score {self.entry.name}: must return one value per image, a tensor [N]")
        return found.float().nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)

    def learn(self, batches: list[Seen]) -> tuple[float, ...] | None:
        """What the score has to know about clean images; ``None`` if it need not know anything."""
        if self.entry.learn is None:
            return None
        with torch.no_grad():
            values = torch.cat([self.entry.learn(seen) for seen in batches])
        return tuple(values.mean(0).tolist())
