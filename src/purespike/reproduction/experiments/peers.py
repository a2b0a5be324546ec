"""The systems that the paper compares itself with: one network, the same attacker for all of them."""

from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from purespike.budget import parse_eps
from purespike.errors import InputError
from purespike.reproduction.chosen_rows import chosen_rows
from purespike.reproduction.context import ExperimentContext, Unavailable
from purespike.reproduction.draft import Draft
from purespike.reproduction.hardest import (
    APGD,
    COST,
    GAP,
    PASSES,
    QUERY,
    TRANSFER,
    WHITE_BOX,
    WORST,
    Defence,
    measure_defence,
)
from purespike.reproduction.kept_rows import found_row, kept_row
from purespike.reproduction.peer_models import (
    on_one_network,
    peer_model,
    row_settings,
    trained_row,
    training_eps,
)
from purespike.reproduction.registry import experiment
from purespike.reproduction.rivals import Peers
from purespike.reproduction.row import CLEAN
from purespike.reproduction.scale import TITLES
from purespike.reproduction.sheet import Column, SheetCell, SheetRow
from purespike.review import Entry, Row, review

FGSM, PGD = (Column(f"{name}, own surrogate", "adaptive") for name in ("FGSM", "PGD-7"))
OWN: dict[Column, dict[str, Any]] = {FGSM: {"name": "fgsm"}, PGD: {"name": "pgd", "steps": 7}}
BUDGET = Column("training eps", unit="/255")
STOCHASTIC = "stochastic"
"""Remark of a row whose models answer at random."""
LARGE_GAP = 5
"""Points between PGD-7 and the worst of all beyond which a row is called masked."""
ATTACKED = (FGSM, PGD, WHITE_BOX, APGD, QUERY, TRANSFER, WORST)
COLUMNS = (CLEAN, *ATTACKED, GAP, BUDGET, PASSES, COST)
READING = (
    "FGSM and PGD-7 differentiate with the surrogate that the row was trained with, as its authors do; the "
    "other attackers may choose. The worst of all counts an image as robust if nothing in the row breaks it; "
    "the gap is PGD-7's number minus it, and a row with one of more than 5 points is called masked. "
    "Objections are those of purespike check to the numbers of a row. Of a stochastic row every attack is "
    "judged by draws of its own, so that the worst of all lies below each of them; it is called masked where "
    "PGD-7 exceeds the lowest of them by more than 5 points. "
    "Rows in italics are quoted from the papers, with their networks and attackers: not to be compared with "
    "the measured ones."
)


@experiment("peers", order=12, printed=False, choice=True)
def peers(context: ExperimentContext) -> Draft:
    """Every system that the paper names, alone and adversarially trained, under one attacker."""
    table = table_of(context)
    inner = on_one_network(context, table)
    title = TITLES.get(table.dataset, table.dataset)
    draft = Draft(
        "peers",
        f"Peers under one attacker: {title}, L∞ eps {table.eps}",
        COLUMNS,
        kind="gap",
        notes=[READING],
        shown=settings_shown(table),
    )
    if table.sender is not None:
        draft.notes = (*draft.notes, f"Images made on {table.sender} are sent to the other rows.")
    chosen = chosen_rows(context.rows, list(table.rows))
    for name, row in table.rows.items():
        if name in chosen:
            with draft.unless_missing(title, name), draft.unless_failed(title, name):
                measure = partial(_row, inner, table, name, title)
                settings = row_settings(inner, table, name, OWN)
                draft.rows.append(judged(kept_row(context, "peers", name, settings, measure), table))
        elif (known := _known(context, inner, table, name)) is not None:
            # the table of a folder grows, whichever rows a call asks for
            draft.rows.append(judged(known, table))
        else:
            continue
        for quoted in row.published:
            columns = {column: quoted.numbers[key] for key, column in QUOTED.items() if key in quoted.numbers}
            draft.printed(
                title, f"{name}, {quoted.about}", list(columns), list(columns.values()), origin="quoted"
            )
    return draft


def table_of(context: ExperimentContext) -> Peers:
    """The table of the scale.

    Raises:
        InputError: it has none.
    """
    if context.scale.peers is None:
        raise InputError("the scale names no peers: give it a key peers")
    return context.scale.peers


def settings_shown(table: Peers) -> dict[str, Any]:
    """Settings of the table that are not those of its scale."""
    about = {} if table.about is None else {"about": table.about}
    return {
        **about,
        "images": table.images,
        "batch_size": table.batch_size,
        "surrogates": list(table.hardest.surrogates),
    }


QUOTED = {"clean": CLEAN, "fgsm": FGSM, "pgd": PGD, "apgd": APGD}
"""Columns of quoted numbers by their keys in a scale."""


def _known(context: ExperimentContext, inner: ExperimentContext, table: Peers, name: str) -> SheetRow | None:
    """A row that was measured before, if there is one."""
    try:
        return found_row(context, "peers", name, row_settings(inner, table, name, OWN))
    except (Unavailable, InputError):
        return None


def _row(context: ExperimentContext, table: Peers, name: str, title: str) -> SheetRow:
    found = _measured(context, table, name)
    about = {"remark": STOCHASTIC} if found.stochastic else {}
    return SheetRow(group=title, method=name, origin="measured", cells=dict(found.cells), **about)


def _measured(context: ExperimentContext, table: Peers, name: str) -> Defence:
    dataset = table.dataset
    trained = trained_row(table, name)
    row = table.rows[trained]

    def passes(seed: int) -> int:
        before = context.passes(dataset, row.before or trained, "classifier", seed)
        return before + (0 if row.purifier is None else context.passes(dataset, trained, "purifier", seed))

    def rivals(seed: int) -> dict[str, nn.Module]:
        sender = table.sender
        return {} if sender in (None, name) else {str(sender): peer_model(context, table, str(sender), seed)}

    found = measure_defence(
        context,
        dataset,
        partial(peer_model, context, table, name),
        eps=table.eps,
        rivals=rivals,
        passes=passes,
        own=OWN,
        hardest=table.hardest,
    )
    budget = training_eps(context.run(dataset, trained, 0, table.changes(trained)).recipe, row)
    cells = {BUDGET: SheetCell.of([255 * budget])} if budget else {}
    return replace(found, cells={**found.cells, **cells})


def judged(row: SheetRow, table: Peers) -> SheetRow:
    """A row with what its own numbers say of it: which rules of a review object, and whether it is masked.

    A row says when it was measured whether it is stochastic; the rest is said anew in every table.
    """
    if row.origin != "measured":
        return row
    stochastic = row.remark.startswith(STOCHASTIC)
    said = [STOCHASTIC] if stochastic else []
    flags = dict.fromkeys(
        each.name for each in review([as_row(row, table, stochastic=stochastic)]).rows[0].findings
    )
    said += [f"objections: {', '.join(flags)}"] if flags else []
    gap = _gap(row, stochastic)
    said += [f"masked: PGD-7 misses {gap:.3g} points"] if gap > LARGE_GAP + 1e-9 else []
    about = {"remark": "; ".join(said)} if said or row.remark else {}
    return row.model_copy(update=about)


def _gap(row: SheetRow, stochastic: bool) -> float:
    """Points by which PGD-7 exceeds the worst of all.

    Of a stochastic row the lowest column counts: with every attack its draws have one chance more to misread
    an image, and the worst of all falls by that alone.
    """
    cells = {column: row.cells[column].mean for column in ATTACKED if column in row.cells}
    if PGD not in cells:
        return 0.0
    if stochastic:
        cells.pop(WORST, None)
    return 100 * (cells[PGD] - min(cells.values()))


def as_row(row: SheetRow, table: Peers, *, stochastic: bool) -> Row:
    """The numbers of a row as those of a published table."""
    eps, hardest, cells = parse_eps(table.eps), table.hardest, row.cells
    steps, suite_steps = (
        max((int(attack.get("steps", 0)) for attack in attacks), default=0) or None
        for attacks in (hardest.white_box, hardest.apgd)
    )
    averaged = (hardest.eot or 20) if stochastic else 1
    routes = {"eps": eps, "surrogates": len(hardest.surrogates), "eot": averaged}
    kinds: dict[Column, dict[str, Any]] = {
        FGSM: {"attack": "fgsm", "eps": eps, "eot": averaged},
        PGD: {"attack": "pgd", "eps": eps, "steps": 7, "eot": averaged},
        WHITE_BOX: {"attack": "pgd", "steps": steps, **routes},
        APGD: {"attack": "apgd_ce", "steps": suite_steps, **routes},
        QUERY: {"attack": "square", "eps": eps, "threat": "query"},
        TRANSFER: {"attack": "pgd", "eps": eps, "threat": "transfer"},
    }
    entries = tuple(
        Entry(accuracy=cells[column].mean, **kind) for column, kind in kinds.items() if column in cells
    )
    clean = cells[CLEAN].mean if CLEAN in cells else 0.0
    return Row(
        name=row.method,
        # of all test images: those that were attacked may be easier
        clean=max([clean, *(entry.accuracy for entry in entries)]),
        entries=entries,
        training="adversarial" if BUDGET in cells else "clean",
        training_eps=cells[BUDGET].mean / 255 if BUDGET in cells else None,
        stochastic=stochastic,
        images=next((cells[column].n for column in kinds if column in cells), None),
    )
