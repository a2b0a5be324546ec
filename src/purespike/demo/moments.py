"""An attack in moments: one for each step on each model, kept side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from purespike.demo.views import View


@dataclass(frozen=True, eq=False, kw_only=True)
class Moment:
    """One model at one step of an attack on it.

    Args:
        title: name of the model.
        view: what the model makes of the image at this step.
        label: true class.
        stage: ``"clean"``, ``"step"``, or ``"end"``: the image that the attack keeps.
        step: number of the step; 0 before the first.
        route: gradient that is followed, e.g. ``"atan(alpha=2), margin"``; empty for the model's own.
        note: remark of the attack.
    """

    title: str
    view: View
    label: int
    stage: str
    step: int = 0
    route: str = ""
    note: str = ""

    @property
    def broken(self) -> bool:
        """Whether the model is wrong about the image."""
        return self.view.prediction != self.label

    def numbers(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """The moment as plain JSON values, without its pictures."""
        view = self.view
        return {
            "stage": self.stage,
            "step": self.step,
            "route": self.route or "own",
            "label": class_names[self.label],
            "prediction": class_names[view.prediction],
            "broken": self.broken,
            "probabilities": dict(
                zip(class_names, (round(one, 6) for one in view.probabilities), strict=True)
            ),
            "distance": round(view.distance, 6),
            "score": view.score,
            "threshold": view.threshold,
            "accepted": view.accepted,
            "spikes": {name: list(layer.spikes) for name, layer in view.layers.items()},
            "rates": {name: [round(one, 6) for one in layer.rates] for name, layer in view.layers.items()},
        }


@dataclass(eq=False)
class Climb:
    """The moments of an attack so far, by model."""

    moments: dict[str, list[Moment]] = field(default_factory=dict)

    def add(self, moment: Moment) -> None:
        """Put a moment after the others of its model."""
        self.moments.setdefault(moment.title, []).append(moment)

    @property
    def length(self) -> int:
        """Moments of the model that was attacked longest."""
        return max(map(len, self.moments.values()), default=0)

    def at(self, place: int) -> Mapping[str, Moment]:
        """Every model at one place of its attack; a shorter attack stays at its end."""
        return {title: each[min(max(place, 0), len(each) - 1)] for title, each in self.moments.items()}

    @property
    def latest(self) -> Mapping[str, Moment]:
        """The last moment of every model."""
        return self.at(self.length)
