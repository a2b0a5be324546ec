"""The trained models of the peers' table, row by row, and all that decides one of its rows."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from purespike.budget import parse_eps
from purespike.data import ImageSet
from purespike.models import Defended
from purespike.recipe import Recipe
from purespike.rejection import Gated
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.kept_rows import deciding
from purespike.reproduction.rivals import Gate, Peer, Peers
from purespike.reproduction.scale import network_of
from purespike.reproduction.sheet import Column


def on_one_network(
    context: ExperimentContext, table: Peers, name: str = "peers", *, held_out: float = 0.0
) -> ExperimentContext:
    """A context whose recipe is that of the table's network, with models and chunks of its own.

    Args:
        context: scale, device and folder.
        table: the table.
        name: folder of the models and chunks.
        held_out: see :class:`~purespike.reproduction.context.ExperimentContext`.
    """
    recipes = {**context.scale.recipes, table.dataset: network_of(context.scale, table)}
    update = {"recipes": recipes, "images": table.images, "batch_size": table.batch_size}
    return ExperimentContext(
        context.scale.model_copy(update=update),
        context.folder / name,
        context.accelerator,
        sources=context.sources,
        seeds=len(context.seeds),
        held_out=held_out,
    )


def peer_model(context: ExperimentContext, table: Peers, name: str, seed: int) -> nn.Module:
    """The trained model of a row."""
    row, dataset = table.rows[name], table.dataset
    if row.gate is not None:
        assert row.before is not None
        defended = peer_model(context, table, row.before, seed)
        return with_gate(defended, row.gate, context.data(dataset, seed).train, seed)
    if row.purifier is None:
        return context.classifier(dataset, name, seed, changes=table.changes(name))
    assert row.before is not None
    classifier = peer_model(context, table, row.before, seed)
    return context.behind(dataset, name, table.changes(name), seed, classifier=classifier)


def trained_row(table: Peers, name: str) -> str:
    """The row whose training made the models of a row: of one with a gate that of its purifier."""
    row = table.rows[name]
    return name if row.gate is None else str(row.before)


def with_gate(defended: nn.Module, gate: Gate, clean: ImageSet, seed: int) -> Gated:
    """A defended model that purifies only what a gate flags, its threshold chosen on clean images."""
    assert isinstance(defended, Defended)
    gated = Gated(defended.purifier, defended.classifier, gate.score)
    gated.calibrate(clean.take(gate.images, seed=seed).images, gate.coverage)
    return gated.eval()


def training_eps(recipe: Recipe, row: Peer) -> float | None:
    """The largest L∞ budget of the adversarial images that a row was trained on; ``None`` for none."""
    parts: list[Mapping[str, Any]] = list(recipe.classifier.objective)
    if row.purifier is not None:
        ends = [part for part in recipe.purifier.objective if "eps" in part]
        # the paper's objective takes the images of `attack`, made on the classifier alone
        parts += ends or [recipe.purifier.attack]
    budgets = [parse_eps(part["eps"]) for part in parts if "eps" in part]
    return max(budgets, default=None)


def row_settings(
    context: ExperimentContext, table: Peers, name: str, own: Mapping[Column, Mapping[str, Any]]
) -> Any:
    """All that decides a row: its recipe and those of the models that it needs, attacks and images.

    Args:
        context: data and scale of the table.
        table: the table.
        name: name of the row.
        own: the attacks with the row's own surrogate.
    """
    gate = table.rows[name].gate
    models = [name, *(each for each in (table.rows[name].before, table.sender) if each is not None)]
    return deciding(
        context,
        table.dataset,
        [context.run(table.dataset, each, 0, table.changes(each)).recipe for each in models],
        gate=None if gate is None else gate.model_dump(mode="json"),
        hardest=table.hardest.model_dump(mode="json"),
        own={column.key: attack for column, attack in own.items()},
        eps=table.eps,
    )
