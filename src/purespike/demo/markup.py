"""Moments and certificates as HTML; everything that comes from models and files is escaped."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from purespike.demo.lineup import Lineup
from purespike.demo.moments import Moment
from purespike.demo.pictures import data_url
from purespike.demo.views import GAIN
from purespike.reporting.html import engine
from purespike.results import Certification

TEMPLATES = Path(__file__).parent / "templates"
# rows of the table of classes
SHOWN = 10


@dataclass(frozen=True)
class Row:
    """A class in the table of probabilities."""

    name: str
    share: float
    true: bool
    first: bool


@dataclass(frozen=True)
class Cell:
    """A layer at a time step: brightness from 0 to 1, and the words that a pointer is shown."""

    ink: float
    words: str


@dataclass(frozen=True)
class Part:
    """The spikes of the purifier or the classifier: a row of cells for each layer."""

    name: str
    layers: list[list[Cell]]
    spikes: float

    @property
    def steps(self) -> int:
        return max(map(len, self.layers), default=0)


def stage(lineup: Lineup, moments: Mapping[str, Moment]) -> str:
    """All models side by side at one moment each."""
    columns = [_column(lineup, moments[title]) for title in lineup.models if title in moments]
    return _render("stage.html.j2", columns=columns, gain=GAIN)


def chooser(lineup: Lineup) -> str:
    """Examples, a file and a drawing to choose from."""
    examples = []
    if lineup.examples is not None:
        for place, (image, label) in enumerate(
            zip(lineup.examples.to_float(), lineup.examples.labels.tolist(), strict=True)
        ):
            name = lineup.class_names[label] if label < len(lineup.class_names) else str(label)
            examples.append({"place": place, "picture": data_url(image), "name": name})
    return _render(
        "chooser.html.j2", examples=examples, note=lineup.note, draws=lineup.draws, shape=lineup.shape
    )


def certificates(lineup: Lineup, found: Certification) -> str:
    """The certificate of one image from every model."""
    rows = [
        {"title": title, "model": found.models[title], "certificate": found.models[title].certificates[0]}
        for title in lineup.models
    ]
    return _render(
        "certificates.html.j2", rows=rows, smoothing=found.smoothing, class_names=lineup.class_names
    )


def certificate_numbers(lineup: Lineup, found: Certification) -> dict[str, Any]:
    """The same as plain JSON values."""
    smoothing = found.smoothing
    models = {}
    for title in lineup.models:
        one = found.models[title].certificates[0]
        models[title] = {
            "prediction": None if one.prediction is None else lineup.class_names[one.prediction],
            "radius": one.radius,
            "agreed": one.n_a,
            "p_lower": one.p_lower,
        }
    return {
        "sigma": smoothing.sigma,
        "n": smoothing.n,
        "alpha": smoothing.alpha,
        "largest_radius": smoothing.largest_radius,
        "models": models,
    }


def _column(lineup: Lineup, moment: Moment) -> dict[str, Any]:
    view = moment.view
    pictures = [("Input", view.image), (f"Difference × {GAIN}", view.difference)]
    if view.purified is not None:
        pictures.append(("Purified", view.purified))
    return {
        "moment": moment,
        "predicted": lineup.class_names[view.prediction],
        "true": lineup.class_names[moment.label],
        "pictures": [(words, data_url(picture)) for words, picture in pictures],
        "distance": 255 * view.distance,
        "rows": _rows(lineup, moment),
        "parts": _parts(moment),
        "spikes": view.spikes,
    }


def _rows(lineup: Lineup, moment: Moment) -> list[Row]:
    """All classes in their order, or of many the most probable and the true one."""
    shares, best = moment.view.probabilities, moment.view.prediction
    chosen = list(range(len(shares)))
    if len(chosen) > SHOWN:
        chosen = sorted(chosen, key=lambda place: -shares[place])[:SHOWN]
        chosen += [] if moment.label in chosen else [moment.label]
    return [
        Row(lineup.class_names[place], shares[place], place == moment.label, place == best)
        for place in chosen
    ]


def _parts(moment: Moment) -> list[Part]:
    groups: dict[str, list[str]] = {}
    purified = moment.view.purified is not None
    for name in moment.view.layers:
        first = name.partition(".")[0]
        groups.setdefault(first if purified and first == "purifier" else "classifier", []).append(name)
    parts = []
    for title, names in groups.items():
        layers = [(name, moment.view.layers[name]) for name in names]
        cells = [
            [
                Cell(rate**0.5, f"{name}, step {step}: {count:,.0f} spikes, {rate:.1%} of the possible ones")
                for step, (rate, count) in enumerate(zip(layer.rates, layer.spikes, strict=True), start=1)
            ]
            for name, layer in layers
        ]
        parts.append(Part(title, cells, sum(sum(layer.spikes) for _, layer in layers)))
    return parts


def _render(template: str, **values: Any) -> str:
    return engine(TEMPLATES).get_template(template).render(**values)
