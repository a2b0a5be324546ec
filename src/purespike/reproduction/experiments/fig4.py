"""Figure 4: the time it takes to train the purifier, against adversarial training of its classifier."""

from purespike.reproduction import paper
from purespike.reproduction.context import ExperimentContext
from purespike.reproduction.draft import Draft
from purespike.reproduction.registry import experiment
from purespike.reproduction.scale import COLOURED, TITLES
from purespike.reproduction.sheet import Column, SheetCell
from purespike.reproduction.timing import training_times

CRAFT = Column("crafting", unit="s")
EPOCH = Column("an epoch", unit="s")
EPOCHS = Column("epochs", unit="count")
TOTAL = Column("to the end", unit="h")
RATIO = Column("over ours", unit="×")


@experiment("fig4", order=6)
def fig4(context: ExperimentContext) -> Draft:
    """Seconds of both trainings, alternating in one process; median of several epochs."""
    scale = context.scale
    draft = Draft(
        "fig4",
        "Figure 4: training time of the purifier against adversarial training (PGD-7) of the same classifier",
        [CRAFT, EPOCH, EPOCHS, TOTAL, RATIO],
        kind="bars",
        notes=[
            f"Timed on {scale.timed_images} images, alternating, median of {scale.repeats} epochs, and "
            "scaled to the recipe's training images and epochs. Our FGSM images are crafted once, since a "
            "frozen classifier always yields the same.",
            "Times depend on the machine; the ratio is what carries over.",
        ],
    )
    for dataset in COLOURED:
        with draft.unless_missing(TITLES[dataset], "Ours"):
            times = training_times(context, dataset)
            for method, time in {"Ours": times.ours, "PGD-7 training": times.adversarial}.items():
                values = {
                    CRAFT: time.crafting,
                    EPOCH: time.epoch,
                    EPOCHS: time.epochs,
                    TOTAL: time.total / 3600,
                    RATIO: time.total / times.ours.total,
                }
                cells = {column: SheetCell.of([value]) for column, value in values.items()}
                draft.measured(TITLES[dataset], method, cells)
        draft.printed(TITLES[dataset], "PGD-7 training, paper", [RATIO], [paper.FIGURE4[dataset]])
    return draft
