"""The robustness table: attacks by threat models, never a number without its eps and its threat model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from purespike.errors import InputError
from purespike.reporting.words import (
    MISSING,
    NORMS,
    THREATS,
    Evaluation,
    attack_text,
    condition_text,
    data_text,
    eps_text,
    interval,
    pass_text,
    passes_text,
    percent,
    raised_text,
    same_eps,
)
from purespike.results.vocabulary import attack_words

if TYPE_CHECKING:
    import rich.table

_ALWAYS = ("undefended", "oblivious", "bpda", "adaptive")


@dataclass(frozen=True)
class Entry:
    """One accuracy, with the attack, its bound and the threat model it was measured under."""

    score: Mapping[str, Any]
    attack: str
    condition: str
    threat: str
    distance: str = ""
    per_pass: str = ""

    @property
    def text(self) -> str:
        return percent(self.score["accuracy"])

    @property
    def interval(self) -> str:
        return interval(self.score)

    @property
    def more(self) -> tuple[str, ...]:
        """What else was measured, a line each."""
        return tuple(line for line in (self.distance, self.per_pass) if line)

    @property
    def description(self) -> str:
        bound = f", {self.condition}" if self.condition else ""
        return f"{self.attack}{bound}, {self.threat}: {self.score['correct']} of {self.score['n']} correct"


@dataclass(frozen=True)
class Row:
    """One attack: ``kind`` is ``"clean"``, ``"attack"`` or ``"worst"``; ``robust`` maps threat to entry."""

    kind: str
    name: str
    attack: str
    condition: str
    clean: Entry | None
    robust: Mapping[str, Entry | None]
    steps: int = 1
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """The rows measured at one eps; ``threats`` are the columns after attack and clean."""

    title: str
    heading: str
    eps: float | None
    threats: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def robustness_table(evaluation: Evaluation, eps: float | None = None) -> Table:
    """The accuracies at one eps, by attack and threat model.

    Args:
        evaluation: the content of ``evaluation.json``.
        eps: perturbation size in pixel units; the headline one (first of the settings) if not given.
            Attacks without a bound stand in the headline table only.

    Raises:
        InputError: nothing was measured at ``eps``.
    """
    headline = table_eps(evaluation)[0]
    eps = headline if eps is None else eps
    bounded = [cell for cell in evaluation["cells"] if cell["eps"] is not None and same_eps(cell["eps"], eps)]
    if eps is not None and not bounded:
        raise InputError(f"evaluation: no attack was run at eps {eps_text(eps)}")
    free = [cell for cell in evaluation["cells"] if cell["eps"] is None and same_eps(eps, headline)]
    threats = table_threats(evaluation)
    clean = _clean_entry(evaluation)
    plain = Entry(evaluation["clean"]["undefended"], "clean images", "", "classifier without purifier")
    rows = [Row("clean", "none", "none (clean images)", "", clean, _fill(threats, {"undefended": plain}))]
    rows += _attack_rows(bounded + free, threats, clean)
    norm = NORMS.get(bounded[0]["norm"], bounded[0]["norm"]) if bounded else ""
    heading = f"{norm}, eps {eps_text(eps)}" if eps is not None else "no eps bound"
    worst = {
        case["threat"]: Entry(case["score"], "worst case", heading, case["threat"])
        for case in evaluation.get("worst_case") or []
        if same_eps(case["eps"], eps)
    }
    if worst:
        rows.append(Row("worst", "worst", "worst case", heading, clean, _fill(threats, worst)))
    return Table(
        table_title(evaluation), heading, eps, threats, tuple(rows), _notes(rows, heading, evaluation)
    )


def robustness_tables(evaluation: Evaluation) -> list[Table]:
    """One table per eps of the settings, the headline first."""
    return [robustness_table(evaluation, eps) for eps in table_eps(evaluation)]


def table_eps(evaluation: Evaluation) -> list[float | None]:
    """The eps that get a table: those of the settings that were measured, else all measured, else none."""
    measured = sorted({cell["eps"] for cell in evaluation["cells"] if cell["eps"] is not None})
    wanted = evaluation["settings"].get("eps") or measured
    return [eps for eps in wanted if any(same_eps(eps, other) for other in measured)] or [None]


def table_threats(evaluation: Evaluation) -> tuple[str, ...]:
    """The columns: one for a classifier alone, else four and any other that was measured."""
    seen = {cell["threat"] for cell in evaluation["cells"]}
    always = _ALWAYS if evaluation["model"]["purifier"] else _ALWAYS[:1]
    return tuple(threat for threat in THREATS if threat in always or threat in seen)


def table_title(evaluation: Evaluation) -> str:
    """What was measured, on what, against whom: the sentence above every table."""
    clean = evaluation["clean"]
    judged = passes_text(evaluation)
    accuracy = f"Clean accuracy {_with_interval(clean['undefended'])} without purifier"
    if clean["defended"]:
        accuracy += f", {_with_interval(clean['defended'])} with it"
    whole = evaluation.get("clean_whole")
    if whole:
        accuracy += f"; on all {whole['undefended']['n']:,}, {_with_interval(whole['undefended'])} without"
        if whole["defended"]:
            accuracy += f", {_with_interval(whole['defended'])} with"
    threats = [
        f"{THREATS[threat].title.lower() if threat != 'bpda' else 'BPDA'} ({THREATS[threat].short})"
        for threat in table_threats(evaluation)
    ]
    bounds = [eps_text(eps) for eps in table_eps(evaluation) if eps is not None]
    return (
        f"Accuracy in % [95% Wilson interval] on {data_text(evaluation)}"
        f"{' under attacks at eps ' + ' and '.join(bounds) if bounds else ''}. "
        f"Threat model{'s' if len(threats) > 1 else ''}: {', '.join(threats)}. {accuracy}."
        f"{f' {judged}' if judged else ''}"
    )


def console_table(evaluation: Evaluation) -> rich.table.Table:
    """The tables of every eps as one rich table that fits 80 columns; intervals stand dimmed below."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    tables = robustness_tables(evaluation)
    table = RichTable(
        title=Text(tables[0].title),
        title_justify="left",
        caption=Text("\n".join(note for part in tables for note in part.notes)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    # with more threat models only intervals on two lines leave room for 80 columns
    narrow = len(tables[0].threats) > 4
    table.add_column("Attack")
    for name in ("Clean", *(THREATS[threat].title for threat in tables[0].threats)):
        table.add_column(name, justify="right", width=max(len(name), 6) if narrow else None)
    for part in tables:
        for row in part.rows[0 if part is tables[0] else 1 :]:
            style = "bold" if row.kind == "worst" else ""
            below = [text for text in (row.condition, row.remark) if text]
            label = Text.assemble(row.attack, *((f"\n{text}", "dim") for text in below))
            cells = [Text.assemble(first, ("\n" + second, "dim not bold")) for first, second in _shown(row)]
            table.add_row(label, *cells, style=style)
        table.add_section()
    return table


def markdown_table(evaluation: Evaluation) -> str:
    """The tables of every eps in Markdown, title above, notes below."""
    tables = robustness_tables(evaluation)
    lines = [_escape(tables[0].title), ""]
    for part in tables:
        if len(tables) > 1:
            lines += [f"**{_escape(part.heading)}**", ""]
        titles = ["Attack", "Clean", *(THREATS[threat].title for threat in part.threats)]
        lines += [f"| {' | '.join(titles)} |", f"|:--{'|--:' * (len(titles) - 1)}|"]
        for row in part.rows:
            bold = "**" if row.kind == "worst" else ""
            cells = [f"{bold}{row.attack}{bold}" + (f" ({row.condition})" if row.condition else "")]
            cells[0] += f", {row.remark}" if row.remark else ""
            cells += [f"{bold}{first}{bold} {second}".strip() for first, second in _shown(row)]
            lines.append(f"| {' | '.join(_escape(cell) for cell in cells)} |")
        lines += ["", *(_escape(note) + "\n" for note in part.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _shown(row: Row) -> Iterator[tuple[str, str]]:
    # the clean accuracy is one number for all rows: its interval stands in the first row only
    if row.clean:
        yield row.clean.text, row.clean.interval if row.kind == "clean" else ""
    else:
        yield MISSING, ""
    for entry in row.robust.values():
        if entry:
            yield entry.text, "\n".join([entry.interval, *entry.more])
        else:
            yield MISSING, ""


def _clean_entry(evaluation: Evaluation) -> Entry | None:
    clean = evaluation["clean"]
    if evaluation["model"]["purifier"] is None:
        return Entry(clean["undefended"], "clean images", "", "classifier without purifier")
    return Entry(clean["defended"], "clean images", "", "purified") if clean["defended"] else None


def _fill(threats: tuple[str, ...], entries: Mapping[str, Entry]) -> dict[str, Entry | None]:
    return {threat: entries.get(threat) for threat in threats}


def _attack_rows(cells: list[Mapping[str, Any]], threats: tuple[str, ...], clean: Entry | None) -> list[Row]:
    # one row per attack and bound; a second measurement of the same threat (other steps) opens a second row
    groups: list[dict[str, Mapping[str, Any]]] = []
    for cell in cells:
        for group in groups:
            first = next(iter(group.values()))
            alike = all(
                told(first) == told(cell)
                for told in (itemgetter("attack"), condition_text, lambda one: one.get("raised_from"))
            )
            if alike and cell["threat"] not in group:
                group[cell["threat"]] = cell
                break
        else:
            groups.append({cell["threat"]: cell})
    rows = []
    for group in groups:
        first = next(iter(group.values()))
        entries = {threat: cell_entry(cell) for threat, cell in group.items()}
        counts = sorted({steps for cell in group.values() if (steps := cell_steps(cell))})
        label = attack_text(first["attack"], counts[0] if counts else None)
        label += "".join(f"/{count}" for count in counts[1:])
        rows.append(
            Row(
                "attack",
                first["attack"],
                label,
                condition_text(first),
                clean,
                _fill(threats, entries),
                cell_steps(first) or 1,
                raised_text(first),
            )
        )
    return sorted(rows, key=lambda row: attack_words(row.name).order)


def cell_entry(cell: Mapping[str, Any]) -> Entry:
    """The entry of one cell; an attack without a bound also says how far it had to go."""
    far = cell["norm"] == "l2" and cell["eps"] is None and cell.get("mean_l2") is not None
    return Entry(
        cell["score"],
        attack_text(cell["attack"], cell_steps(cell)),
        condition_text(cell),
        cell["threat"],
        f"mean L2 {cell['mean_l2']:.2f}" if far else "",
        pass_text(cell),
    )


def cell_steps(cell: Mapping[str, Any]) -> int | None:
    """The steps of a cell's attack, if its settings name them."""
    steps = (cell.get("settings") or {}).get("steps")
    return steps if isinstance(steps, int) else None


def _notes(rows: list[Row], heading: str, evaluation: Evaluation) -> tuple[str, ...]:
    if evaluation["model"]["purifier"] is None:
        return ()
    gaps = []
    for row in rows:
        oblivious, adaptive = row.robust.get("oblivious"), row.robust.get("adaptive")
        if oblivious and adaptive:
            gap = 100 * (oblivious.score["accuracy"] - adaptive.score["accuracy"])
            bound = "" if row.condition == heading else f" ({row.condition})"
            gaps.append(f"{row.attack}{bound} {gap:.1f}".replace(" -", " −"))
    if gaps:
        return (f"Gap in points between oblivious and adaptive at {heading}: {', '.join(gaps)}.",)
    if any(row.robust.get("adaptive") for row in rows):
        return ()
    return (
        f"No adaptive attack was run at {heading}: "
        "these numbers say nothing of an attacker who knows the purifier.",
    )


def _with_interval(score: Mapping[str, Any]) -> str:
    return f"{percent(score['accuracy'])}% {interval(score)}"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
