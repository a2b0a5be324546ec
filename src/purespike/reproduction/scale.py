"""The scale of an experiment: networks, epochs and images, all in one YAML file."""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from purespike.attacks.objective import OBJECTIVES
from purespike.errors import InputError, unknown
from purespike.recipe import Positive, Recipe, Section, parse_recipe
from purespike.reproduction.rivals import Hardest, Holding, Peers, Surrogates, changed
from purespike.section import explain
from purespike.training.objectives import create_objective
from purespike.yaml_text import parse_yaml, read_yaml

SCALES = ("paper", "gpu", "cpu")
TITLES = {
    "digits16": "Digits",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
}
"""Titles of the data sets of the paper, and of the one that ships with scikit-learn."""
COLOURED = ("cifar10", "cifar100", "svhn")
"""The data sets of Tables 2 and 4 and Figures 4 and 5."""


class Scale(Section):
    """Everything that differs between the paper's scale and a smaller one.

    ``recipes`` are those of each data set; ``variants`` change some keys of them, to train another classifier
    (``ols``, ``pgd_at``, …) or another purifier (``ablations``). ``images`` of the test split are attacked,
    under the adaptive threat model over ``surrogates`` × ``losses``. Figure 4 times ``timed_images`` images,
    ``repeats`` times, Figure 1 shows ``shown``.
    """

    about: str
    images: Positive
    batch_size: Positive
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    surrogates: Surrogates
    losses: tuple[str, ...]
    timed_images: Positive
    repeats: Positive = 3
    shown: Positive = 4
    recipes: dict[str, dict[str, Any]]
    variants: dict[str, dict[str, Any]]
    ablations: dict[str, dict[str, Any]]
    holding: dict[str, Holding] = Field(default_factory=dict)
    hardest: Hardest = Hardest()
    peers: Peers | None = None

    @field_validator("losses")
    @classmethod
    def _are_losses(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in OBJECTIVES:
                raise unknown("attack loss", name, OBJECTIVES)
        return names

    def recipe(self, dataset: str, variant: str = "plain", *, seed: int = 0, source: str = "") -> Recipe:
        """The recipe of a data set with a variant's changes.

        Args:
            dataset: a key of ``recipes``.
            variant: a key of ``variants``, or ``"plain"`` for none.
            seed: seed of the run.
            source: source of the data, if not the recipe's.

        Raises:
            InputError: unknown data set or variant, or an invalid recipe.
        """
        if dataset not in self.recipes:
            raise unknown("data set of this scale", dataset, self.recipes)
        values = self.recipes[dataset]
        if variant != "plain":
            if variant not in self.variants:
                raise unknown("variant of this scale", variant, self.variants)
            values = changed(values, self.variants[variant])
        given = {"seed": seed, **({"data": {"source": source}} if source else {})}
        return parse_recipe(changed(values, given), source=f"{dataset}, {variant}")


def load_scale(name: str) -> Scale:
    """One of :data:`SCALES`, or the scale of a YAML file.

    Raises:
        InputError: unknown name, or a file without a valid scale.
    """
    if name in SCALES:
        content = parse_yaml((files(__package__) / "scales" / f"{name}.yaml").read_text(encoding="utf-8"))
    else:
        path = Path(name)
        if not path.is_file():
            raise unknown("scale", name, [*SCALES, "a YAML file"])
        content = read_yaml(path)
    try:
        scale = Scale.model_validate(content)
    except ValidationError as error:
        raise InputError(f"scale {name}: {explain(error)}") from error
    for dataset in scale.recipes:
        for variant in ("plain", *scale.variants):
            scale.recipe(dataset, variant)
    for dataset, part in scale.holding.items():
        plain = scale.recipe(dataset).model_dump(mode="json")
        brief = changed(part.purifier, part.briefly)
        ablations = {name: changed(brief, changes) for name, changes in part.ablations.items()}
        stages = {"control": part.control, "purifier": part.purifier, "before_control": part.stacked}
        for name, changes in {**stages, **ablations}.items():
            parse_recipe(changed(plain, changes), source=f"holding, {dataset}, {name}")
    if scale.peers is not None:
        _check_peers(scale, scale.peers)
    return scale


def network_of(scale: Scale, peers: Peers) -> dict[str, Any]:
    """The recipe of the peers' data set with the network that all of them share, as a mapping."""
    return changed(scale.recipe(peers.dataset).model_dump(mode="json"), peers.network)


def _check_peers(scale: Scale, peers: Peers) -> None:
    plain = network_of(scale, peers)
    # before its steps are counted as passes
    try:
        create_objective([peers.adversarial])
    except InputError as error:
        raise InputError(f"peers: adversarial: {error}") from error
    folders: dict[str, str] = {}
    for name, row in peers.rows.items():
        other = folders.setdefault(folder_name(name), name)
        if other != name:
            raise InputError(f"peers: rows {other!r} and {name!r} would share a folder: rename one")
        if row.sweep and (row.before is not None or "as in the table" in row.sweep):
            raise InputError(
                f"peers, {name}: sweep: of a row that trains a classifier, none 'as in the table'"
            )
        before = None if row.before is None else peers.rows.get(row.before)
        if row.gate is not None and (before is None or before.purifier is None):
            raise InputError(f"peers, {name}: before: no row {row.before!r} with a purifier of its own")
        if row.purifier is not None and (before is None or before.before is not None):
            raise InputError(f"peers, {name}: before: no row {row.before!r} without a purifier of its own")
        parse_recipe(changed(plain, peers.changes(name)), source=f"peers, {name}")
    swept = peers.swept()
    for name in swept.rows:
        other = folders.setdefault(folder_name(name), name)
        if other != name:
            raise InputError(f"peers: sweeps {other!r} and {name!r} would share a folder: rename one")
        parse_recipe(changed(plain, swept.changes(name)), source=f"peers, sweep of {name}")
    if peers.sender is not None and peers.sender not in peers.rows:
        raise InputError(f"peers: sender: {unknown('row', peers.sender, peers.rows)}")


def folder_name(name: str) -> str:
    """The name of a row or a variant as that of a folder: any other character than ``\\w.=`` is a dash."""
    return re.sub(r"[^\w.=]+", "-", name)


def parse_sources(given: Sequence[str], scale: Scale) -> dict[str, str]:
    """Sources by data set, from texts ``SET=SOURCE``.

    Raises:
        InputError: a text of another form, or a data set that the scale does not have.
    """
    sources = {}
    for text in given:
        name, equals, source = text.partition("=")
        if not equals or not source:
            raise InputError(f"--data {text}: write SET=SOURCE, e.g. cifar10=npz:arrays/cifar10")
        if name not in scale.recipes:
            raise unknown("data set of this scale", name, scale.recipes)
        sources[name] = source
    return sources
