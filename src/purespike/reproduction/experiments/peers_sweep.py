"""Coefficients that the authors of a peer do not publish, tried on images held out from training."""

from functools import partial

from purespike.errors import InputError
from purespike.reproduction.chosen_rows import chosen_rows
from purespike.reproduction.context import ExperimentContext, Unavailable
from purespike.reproduction.draft import Draft
from purespike.reproduction.experiments.peers import OWN, PGD, settings_shown, table_of
from purespike.reproduction.hardest import PASSES, WHITE_BOX, Survivors, trained_surrogates
from purespike.reproduction.peer_models import on_one_network, peer_model, row_settings
from purespike.reproduction.registry import experiment
from purespike.reproduction.rivals import Peers
from purespike.reproduction.row import CLEAN, pooled
from purespike.reproduction.scale import TITLES
from purespike.reproduction.sheet import SheetCell, SheetRow
from purespike.results import Score

NAME = "peers-sweep"
HELD_OUT = 0.2
"""Share of the training images on which coefficients are compared."""
COLUMNS = (CLEAN, PGD, WHITE_BOX, PASSES)


@experiment(NAME, order=13, printed=False, choice=True)
def peers_sweep(context: ExperimentContext) -> Draft:
    """Coefficients that authors do not publish, compared on held-out training images."""
    table = table_of(context)
    # --rows names those of the peers' table
    swept = [name for name in chosen_rows(context.rows, list(table.rows)) if table.rows[name].sweep]
    if not swept:
        known = [name for name, row in table.rows.items() if row.sweep]
        raise InputError(f"rows: none of them has a sweep; those that have: {', '.join(known) or 'none'}")
    tried = table.swept()
    inner = on_one_network(context, tried, NAME, held_out=HELD_OUT)
    try:
        held = len(inner.data(table.dataset).test)
    except Unavailable:
        # every row says so
        held = 0
    draft = Draft(
        NAME,
        f"Coefficients that their authors do not publish: {TITLES.get(table.dataset, table.dataset)}, "
        f"L∞ eps {table.eps}",
        COLUMNS,
        notes=[
            f"Trained on {1 - HELD_OUT:.0%} of the training images and compared on images of the rest; no "
            "test image takes part. Each group is one row of the peers' table with other coefficients.",
        ],
        shown={
            **settings_shown(table),
            "images": min(table.images, held),
            "attacked": "images held out from training",
        },
    )
    for name in swept:
        for label in ("as in the table", *table.rows[name].sweep):
            full = f"{name}: {label}"
            with draft.unless_missing(name, label), draft.unless_failed(name, label):
                settings = row_settings(inner, tried, full, OWN)
                measure = partial(_row, inner, tried, full, group=name, method=label)
                draft.keep(context, full, label, settings, measure)
    return draft


def _row(context: ExperimentContext, table: Peers, full: str, *, group: str, method: str) -> SheetRow:
    """Clean accuracy, PGD-7 with the row's own surrogate and the table's white box, on held-out images."""
    scores: dict[str, list[Score]] = {"clean": [], "own": [], "white": []}
    for seed in context.seeds:
        model = peer_model(context, table, full, seed)
        left = Survivors(context, table.dataset, model, eps=table.eps, eot=table.hardest.eot, seed=seed)
        own = left.meet([OWN[PGD]], "adaptive", surrogates=trained_surrogates(model))
        left.meet(table.hardest.white_box, "adaptive", surrogates=table.hardest.surrogates)
        assert left.clean is not None
        scores["clean"].append(left.clean)
        scores["own"].append(Score.of(own))
        scores["white"].append(Score.of(left.robust))
    passes = [context.passes(table.dataset, full, "classifier", seed) / 1000 for seed in context.seeds]
    cells = {
        CLEAN: pooled(scores["clean"], None),
        PGD: pooled(scores["own"], PGD.attacker),
        WHITE_BOX: pooled(scores["white"], WHITE_BOX.attacker),
        PASSES: SheetCell.of(passes),
    }
    return SheetRow(group=group, method=method, origin="measured", cells=cells)
