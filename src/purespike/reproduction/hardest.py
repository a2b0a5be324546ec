"""A defence under the hardest attacker: one row of a table in which rivals meet the same attacks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from purespike.budget import parse_eps
from purespike.checks import as_float
from purespike.evaluation.inputs import is_stochastic
from purespike.models import Defended
from purespike.models.complexity import complexity
from purespike.neurons import spiking_neurons
from purespike.rejection import Gated, evaluate_rejection
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.row import CLEAN, Models, pooled
from purespike.reproduction.scale import Hardest
from purespike.reproduction.sheet import Column, SheetCell
from purespike.results import Score
from purespike.settings import DEFAULT_THRESHOLDS
from purespike.training.classifier import build_classifier

OWN = Column("PGD-20, own surrogate", "adaptive")
WHITE_BOX = Column("White box", "adaptive")
APGD = Column("APGD", "adaptive")
QUERY = Column("Square", "query")
TRANSFER = Column("Transfer", "transfer")
WORST = Column("Worst of all", "adaptive")
GAP = Column("gap", unit="points")
PASSES = Column("passes", unit="thousands")
COST = Column("multiplications", unit="× classifier")
OWN_ATTACKS = {OWN: {"name": "pgd", "steps": 20}}
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
        eot: gradients averaged where the model is stochastic; ``None`` for the default of an evaluation.
        seed: seed of the model and of every draw.
    """

    def __init__(
        self,
        context: ExperimentContext,
        dataset: str,
        model: nn.Module,
        *,
        eps: str,
        eot: int | None = None,
        seed: int,
    ) -> None:
        self.context, self.dataset, self.model = context, dataset, model
        self.eps, self.eot, self.seed = eps, eot, seed
        self.clean: Score | None = None
        sample = as_float(context.data(dataset, seed).test.images[:8].to(context.accelerator.device))
        self.stochastic = is_stochastic(
            model.to(sample.device).eval(), sample, DEFAULT_THRESHOLDS.nondeterminism
        )
        self._robust: np.ndarray | None = None

    def meet(self, attacks: Sequence[Mapping[str, Any]], threat: str, **settings: Any) -> np.ndarray:
        """Images robust to all of ``attacks`` under one threat model, bool ``[N]``."""
        result = self.context.evaluate(
            self.model,
            self.dataset,
            attacks,
            [threat],
            eps=[self.eps],
            eot=self.eot if self.stochastic else None,
            seed=self.seed,
            **settings,
        )
        whole = result.clean_whole or result.clean
        self.clean = whole.defended or whole.undefended
        robust = result.worst_case_at(parse_eps(self.eps), [threat])
        assert robust is not None
        return self._keep(robust)

    def meet_gate(self, attacks: Sequence[Mapping[str, Any]], surrogates: Sequence[str]) -> np.ndarray:
        """Images of a ``Gated`` robust to all of ``attacks``, each on both of its branches, bool ``[N]``."""
        found = evaluate_rejection(
            self.model,
            self.context.data(self.dataset, self.seed).test,
            attacks=attacks,
            eps=self.eps,
            surrogates=surrogates,
            losses=self.context.scale.losses,
            images=self.context.scale.images,
            batch_size=self.context.scale.batch_size,
            seed=self.seed,
            accelerator=self.context.accelerator,
            folder=self.context.folder / "checkpoint" / "rejection",
        )
        outcomes = [cell.outcomes for cell in found.cells if cell.threat == "adaptive"]
        return self._keep(np.logical_and.reduce(np.array(outcomes, dtype=bool)))

    def _keep(self, robust: np.ndarray) -> np.ndarray:
        self._robust = robust if self._robust is None else self._robust & robust
        return robust

    @property
    def robust(self) -> np.ndarray:
        """Images that are left, bool ``[N]``."""
        assert self._robust is not None
        return self._robust


@dataclass(frozen=True)
class Defence:
    """One row.

    Args:
        cells: numbers by column.
        stochastic: whether its models answer at random.
    """

    cells: dict[Column, SheetCell]
    stochastic: bool


def measure_defence(
    context: ExperimentContext,
    dataset: str,
    models: Models,
    *,
    eps: str,
    rivals: Callable[[int], Mapping[str, nn.Module]],
    passes: Callable[[int], int],
    own: Mapping[Column, Mapping[str, Any]] = OWN_ATTACKS,
    hardest: Hardest | None = None,
) -> Defence:
    """One row of a table in which rivals meet the same attacks.

    Args:
        context: models, data and settings of the measurement.
        dataset: data set whose test images are attacked.
        models: model of a seed.
        eps: L∞ budget.
        rivals: models of a seed, by name, whose adversarial images are sent to the model; none to skip it.
        passes: passes of an image that the training of a seed took.
        own: attacks with the surrogates that the model was trained with, the strongest last; the gap is what
            it leaves beyond the worst of all.
        hardest: the other attacks; by default those of the context's scale.
    """
    scores: dict[Column, list[Score]] = {}
    figures: dict[Column, list[float]] = {}
    chosen, stochastic = hardest or context.scale.hardest, False
    for seed in context.seeds:
        model = models(seed)
        left = Survivors(context, dataset, model, eps=eps, eot=chosen.eot, seed=seed)
        found = _attacked(left, rivals(seed), own, chosen)
        for column, score in found.items():
            scores.setdefault(column, []).append(score)
        stochastic |= left.stochastic
        figures.setdefault(PASSES, []).append(passes(seed) / 1000)
        # its multiplications do not depend on its weights, and a row of the table may train it otherwise
        plain = build_classifier(
            context.recipe(dataset, seed=seed).classifier, context.data(dataset, seed), seed=seed
        )
        figures.setdefault(COST, []).append(_cost(context, dataset, model) / _cost(context, dataset, plain))
    pairs = zip(scores[list(own)[-1]], scores[WORST], strict=True)
    figures[GAP] = [100 * (mine.accuracy - worst.accuracy) for mine, worst in pairs]
    return Defence(
        {
            **{column: pooled(found, column.attacker or None) for column, found in scores.items()},
            **{column: SheetCell.of(values) for column, values in figures.items()},
        },
        stochastic,
    )


def trained_surrogates(model: nn.Module) -> tuple[str, ...]:
    """The surrogates that a model's own neurons have, and that its authors attack it with."""
    return tuple(dict.fromkeys(str(neuron.surrogate) for neuron in spiking_neurons(model)))


def _attacked(
    left: Survivors, rivals: Mapping[str, nn.Module], own: Mapping[Column, Mapping[str, Any]], chosen: Hardest
) -> dict[Column, Score]:
    """The score of every column that is measured, one attacker after the other."""
    purified = isinstance(left.model, Defended)
    trained = trained_surrogates(left.model)
    # without a purifier the outputs that an attacker queries are those of the classifier
    query = "query" if purified else "undefended"
    found = {column: left.meet([attack], "adaptive", surrogates=trained) for column, attack in own.items()}
    for column, attacks in ((WHITE_BOX, chosen.white_box), (APGD, chosen.apgd)):
        if attacks:
            found[column] = left.meet(attacks, "adaptive", surrogates=chosen.surrogates)
    if isinstance(left.model, Gated):
        # through the whole a gradient follows the branch that an image is on; this attacker chooses one
        found[WHITE_BOX] = found[WHITE_BOX] & left.meet_gate(list(own.values()), chosen.surrogates)
    found[QUERY] = left.meet(chosen.query, query)
    if rivals:
        found[TRANSFER] = left.meet(chosen.transfer, "transfer", substitutes=rivals)
    assert left.clean is not None
    found[WORST] = left.robust
    return {
        CLEAN: left.clean,
        **{column: Score.of(each) for column, each in found.items()},
    }


def _cost(context: ExperimentContext, dataset: str, model: nn.Module) -> int:
    """Multiply-accumulates of one image, of all time steps."""
    *_, channels, height, width = context.data(dataset).test.images.shape
    return complexity(model, (height, width), channels).macs_per_image
