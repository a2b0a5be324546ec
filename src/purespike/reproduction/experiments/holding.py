"""A purifier trained through the whole beside its rivals, all under the same attackers."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from purespike.errors import InputError
from purespike.models import Defended
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.hardest import COLUMNS, OWN_ATTACKS, READING, measure_defence
from purespike.reproduction.kept_rows import deciding
from purespike.reproduction.registry import experiment
from purespike.reproduction.row import Models
from purespike.reproduction.scale import TITLES, Scale
from purespike.reproduction.sheet import SheetRow

METHODS = ("classifier", "paper's purifier", "control", "holding purifier", "control, holding purifier")
SENDERS = ("control", "paper's purifier")
"""Rows whose adversarial images are sent to the others."""
HOLDING, BEFORE_CONTROL = "holding", "holding before the control"


@experiment("holding", order=10, printed=False, choice=True)
def holding(context: ExperimentContext) -> Draft:
    """Bare classifier, the paper's purifier, the control, and purifiers trained through the whole."""
    draft = Draft(
        "holding",
        f"Purifiers that hold, and their rivals: the worst case at L∞ eps {budgets(context.scale)}",
        COLUMNS,
        notes=[
            READING,
            "The control is the same classifier adversarially trained, without a purifier. Images made "
            "on the control and on the paper's purifier are sent to the other rows.",
        ],
    )
    draft.choose(context.rows, METHODS)
    for dataset in context.scale.holding:
        _rows(draft, context, dataset)
    return draft


def budgets(scale: Scale, datasets: Sequence[str] | None = None) -> str:
    """The budget of every data set, or of some, as text.

    Raises:
        InputError: the scale has no purifiers that are trained through the whole.
    """
    if not scale.holding:
        raise InputError("the scale names no purifier trained through the whole: give it a key holding")
    names = scale.holding if datasets is None else datasets
    return ", ".join(f"{scale.holding[name].eps} ({TITLES.get(name, name)})" for name in names)


def holder(context: ExperimentContext, dataset: str, seed: int = 0) -> Defended:
    """The plain classifier behind the purifier trained through the whole."""
    return context.behind(dataset, HOLDING, context.scale.holding[dataset].purifier, seed)


def _before_control(context: ExperimentContext, dataset: str, seed: int) -> Defended:
    changes = context.scale.holding[dataset].stacked
    return context.behind(dataset, BEFORE_CONTROL, changes, seed, classifier=context.control(dataset, seed))


def _rows(draft: Draft, context: ExperimentContext, dataset: str) -> None:
    """The rows of a data set: model by seed, and the stages of which runs it was trained in."""
    part, title = context.scale.holding[dataset], TITLES.get(dataset, dataset)
    plain, control = ("plain", "classifier"), ("control", "classifier")
    made: list[tuple[Models, list[tuple[str, str]]]] = [
        (partial(context.classifier, dataset, "plain"), [plain]),
        (partial(context.defended, dataset, "plain"), [plain, ("plain", "purifier")]),
        (partial(context.control, dataset), [control]),
        (partial(holder, context, dataset), [plain, (HOLDING, "purifier")]),
        (partial(_before_control, context, dataset), [control, (BEFORE_CONTROL, "purifier")]),
    ]
    methods = dict(zip(METHODS, made, strict=True))
    changes = {"plain": None, "control": part.control, HOLDING: part.purifier, BEFORE_CONTROL: part.stacked}

    def measure(method: str, stages: list[tuple[str, str]]) -> SheetRow:
        def passes(seed: int) -> int:
            return sum(context.passes(dataset, run, stage, seed) for run, stage in stages)

        def rivals(seed: int) -> dict[str, nn.Module]:
            return {name: methods[name][0](seed) for name in SENDERS if name != method}

        models = methods[method][0]
        found = measure_defence(context, dataset, models, eps=part.eps, rivals=rivals, passes=passes)
        return SheetRow(group=title, method=method, origin="measured", cells=found.cells)

    for method, (_, stages) in methods.items():
        with draft.unless_missing(title, method):
            # those of the senders decide every row
            runs = dict.fromkeys(("plain", "control", *(run for run, _ in stages)))
            settings = deciding(
                context,
                dataset,
                [context.run(dataset, run, 0, changes[run]).recipe for run in runs],
                hardest=context.scale.hardest.model_dump(mode="json"),
                own={column.key: attack for column, attack in OWN_ATTACKS.items()},
                eps=part.eps,
            )
            draft.keep(context, f"{dataset} {method}", method, settings, partial(measure, method, stages))
