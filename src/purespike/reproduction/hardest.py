"""A defence under the hardest attacker: one row of a table in which rivals meet the same attacks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from purespike.budget import parse_eps
from purespike.models import Defended
from purespike.models.complexity import complexity
from purespike.neurons import spiking_neurons
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.row import CLEAN, Models, pooled
from purespike.reproduction.sheet import Column, SheetCell
from purespike.results import Score

OWN = Column("PGD-20, own surrogate", "adaptive")
WHITE_BOX = Column("White box", "adaptive")
QUERY = Column("Square", "query")
TRANSFER = Column("Transfer", "transfer")
WORST = Column("Worst of all", "adaptive")
GAP = Column("gap", unit="points")
PASSES = Column("passes", unit="thousands")
COST = Column("multiplications", unit="× classifier")
COLUMNS = (CLEAN, OWN, WHITE_BOX, QUERY, TRANSFER, WORST, GAP, PASSES, COST)
READING = (
    "PGD-20 differentiates the whole model with the surrogate it was trained with, as most papers do; the "
    "white box tries all attacks, surrogates, losses and resets; the worst of all counts an image as robust "
    "if nothing in the row breaks it. A large gap between the first and the worst means that the surrogate's "
    "gradient was masked. Passes are forward and backward passes of an image in training, the classifier's "
    "own included."
)


class Survivors:
    """The images of one model that nothing has broken so far, attack by attack.

    Args:
        context: data and settings of the measurement.
        dataset: data set whose test images are attacked.
        model: images to logits.
        eps: L∞ budget.
        seed: seed of the model and of every draw.
    """

    def __init__(
        self, context: ExperimentContext, dataset: str, model: nn.Module, *, eps: str, seed: int
    ) -> None:
        self.context, self.dataset, self.model, self.eps, self.seed = context, dataset, model, eps, seed
        self.clean: Score | None = None
        self._robust: np.ndarray | None = None

    def meet(self, attacks: Sequence[Mapping[str, Any]], threat: str, **settings: Any) -> Score:
        """Images robust to all of ``attacks`` under one threat model."""
        result = self.context.evaluate(
            self.model, self.dataset, attacks, [threat], eps=[self.eps], seed=self.seed, **settings
        )
        whole = result.clean_whole or result.clean
        self.clean = whole.defended or whole.undefended
        robust = result.worst_case_at(parse_eps(self.eps), [threat])
        assert robust is not None
        self._robust = robust if self._robust is None else self._robust & robust
        return Score.of(robust.astype(int).tolist())

    @property
    def score(self) -> Score:
        """Images that are left."""
        assert self._robust is not None
        return Score.of(self._robust.astype(int).tolist())


def measure_defence(
    context: ExperimentContext,
    dataset: str,
    models: Models,
    *,
    eps: str,
    rivals: Callable[[int], Mapping[str, nn.Module]],
    passes: Callable[[int], int],
) -> dict[Column, SheetCell]:
    """The cells of one row of :data:`COLUMNS`.

    Args:
        context: models, data and settings of the measurement, and the attacks of its scale's ``hardest``.
        dataset: data set whose test images are attacked.
        models: model of a seed.
        eps: L∞ budget.
        rivals: models of a seed, by name, whose adversarial images are sent to the model; none to skip it.
        passes: passes of an image that the training of a seed took.
    """
    scores: dict[Column, list[Score]] = {}
    figures: dict[Column, list[float]] = {}
    for seed in context.seeds:
        model, sent = models(seed), rivals(seed)
        for column, score in _attacked(context, dataset, model, eps=eps, seed=seed, rivals=sent).items():
            scores.setdefault(column, []).append(score)
        figures.setdefault(PASSES, []).append(passes(seed) / 1000)
        plain = context.classifier(dataset, seed=seed)
        figures.setdefault(COST, []).append(_cost(context, dataset, model) / _cost(context, dataset, plain))
    pairs = zip(scores[OWN], scores[WORST], strict=True)
    figures[GAP] = [100 * (own.accuracy - worst.accuracy) for own, worst in pairs]
    return {
        **{column: pooled(found, column.attacker or None) for column, found in scores.items()},
        **{column: SheetCell.of(values) for column, values in figures.items()},
    }


def _attacked(
    context: ExperimentContext,
    dataset: str,
    model: nn.Module,
    *,
    eps: str,
    seed: int,
    rivals: Mapping[str, nn.Module],
) -> dict[Column, Score]:
    chosen = context.scale.hardest
    left = Survivors(context, dataset, model, eps=eps, seed=seed)
    own = tuple(dict.fromkeys(str(neuron.surrogate) for neuron in spiking_neurons(model)))
    # without a purifier the outputs that an attacker queries are those of the classifier
    query = "query" if isinstance(model, Defended) else "undefended"
    found = {
        OWN: left.meet([{"name": "pgd", "steps": 20}], "adaptive", surrogates=own),
        WHITE_BOX: left.meet(chosen.white_box, "adaptive", surrogates=chosen.surrogates),
        QUERY: left.meet(chosen.query, query),
    }
    if rivals:
        found[TRANSFER] = left.meet(chosen.transfer, "transfer", substitutes=rivals)
    assert left.clean is not None
    return {CLEAN: left.clean, **found, WORST: left.score}


def _cost(context: ExperimentContext, dataset: str, model: nn.Module) -> int:
    """Multiply-accumulates of one image, of all time steps."""
    *_, channels, height, width = context.data(dataset).test.images.shape
    return complexity(model, (height, width), channels).macs_per_image
