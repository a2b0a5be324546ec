"""What an evaluation of a gate leaves on disk: JSON, a table, a figure, a page."""

from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from purespike.budget import format_eps
from purespike.files import write_bytes, write_text
from purespike.reporting.drawing import FAINT, INK, TEXT, WIDE, dress, new_figure, png, svg
from purespike.reporting.grid import Cell, Grid, Group, Head, Row
from purespike.reporting.html import engine
from purespike.results import Score
from purespike.results.rejection import Rejection, RejectionCell
from purespike.results.vocabulary import MISSING, percent, threat_words


def write_rejection(rejection: Rejection, folder: str | Path) -> Path:
    """Write ``rejection.json``, ``rejection.md``, ``figures/risk-coverage.png`` and ``rejection.html``.

    Returns:
        The path of ``rejection.html``.
    """
    folder = Path(folder)
    figure = risk_coverage_figure(rejection)
    write_bytes(folder / "figures" / "risk-coverage.png", png(figure))
    write_text(folder / "rejection.md", rejection_grid(rejection).markdown("**{}**"))
    rejection.save(folder / "rejection.json")
    page = engine().get_template("rejection.html.j2")
    origin = rejection.provenance
    facts = {
        "command": origin.command,
        "commit": origin.commit,
        "seed": rejection.seed,
        "date": origin.date,
        "hardware": origin.hardware.text,
        "versions": ", ".join(f"{name} {version}" for name, version in origin.versions.items()),
        "model": rejection.model.text,
        "data": rejection.data.text,
        "fingerprint": rejection.data.fingerprint,
        "surrogates": ", ".join(rejection.surrogates) or "the model's own",
        "losses": ", ".join(rejection.losses),
        "ways with the gate": ", ".join(rejection.gates),
    }
    write_text(
        folder / "rejection.html",
        page.render(
            name=folder.resolve().name,
            rejection=rejection,
            grid=rejection_grid(rejection),
            figure=Markup(svg(figure, "risk-coverage")),
            facts=[(name, str(value)) for name, value in facts.items() if value not in (None, "")],
        ),
    )
    return folder / "rejection.html"


def rejection_grid(rejection: Rejection) -> Grid:
    """A row for clean images, one for each attack, budget and threat model, and the prices of rejecting."""
    clean, gated = rejection.clean, rejection.kind == "gated"
    heads = ["Right clean, never fooled", "Attacker wins", "Left unpurified" if gated else "Accepted"]
    columns = [*heads, "Right | accepted", "AUROC", "TPR at 1%", "TPR at 5%"]
    selective = _entry(clean.selective)
    rows = [Row("clean", [_entry(None), _entry(None), _entry(clean.coverage), selective, "", "", ""])]
    rows += [_row(cell) for cell in rejection.cells]
    rows += [
        Row(
            "accepted clean, made to be rejected",
            ["", "", _entry(_others(each.rejected)), *[""] * 4],
            about=(each.condition,),
        )
        for each in rejection.slight
    ]
    how = "purified" if gated else "rejected"
    notes = [
        f"Accuracy without the gate's say: {clean.accuracy.text}% {clean.accuracy.interval} clean. "
        f"AURC {clean.curve.aurc:.4f} clean.",
        "The attacker wins with an image that is accepted and misclassified. AUROC and TPR are of "
        "images that are right clean and wrong attacked against clean ones; a failed attack is no positive.",
        "A detector robust at eps implies a classifier robust at eps/2 (Tramèr 2022).",
    ]
    return Grid(
        f"{rejection.score} above {rejection.threshold:.6g} is {how}, on {rejection.data.text}; "
        "shares in % [95% interval]",
        [Head("Images"), *map(Head, columns)],
        [Group("", rows)],
        tuple(notes),
        readable=True,
    )


def _row(cell: RejectionCell) -> Row:
    found = cell.detection
    return Row(
        f"{cell.title}, {threat_words(cell.threat).inline}",
        [
            _entry(cell.robust),
            _entry(cell.won),
            _entry(cell.accepted),
            _entry(cell.selective),
            Cell(found.auroc.text) if found.auroc else Cell(MISSING, (f"{found.successes} successes",)),
            _entry(found.tpr_at_1),
            _entry(found.tpr_at_5),
        ],
        about=(cell.condition,),
        style="bold" if cell.threat == "adaptive" else "",
    )


def _others(score: Score) -> Score:
    """The share of all other images."""
    return Score.share(score.n - score.correct, score.n)


def _entry(score: Score | None) -> Cell:
    return Cell(MISSING) if score is None else Cell(score.text, (score.interval,))


def risk_coverage_figure(rejection: Rejection) -> Figure:
    """Share of errors among the accepted against the share accepted, at every threshold.

    Clean, and under the attacks that do not know the gate. An adaptive attack is one point, at the threshold
    that it was made for.
    """
    figure = new_figure(WIDE, 4.6)
    axes = figure.add_subplot()
    dress(
        axes,
        title=f"Errors among accepted images on {rejection.data.text}, by {rejection.score}",
        x="Coverage, % of images accepted",
        y="Risk, % of these misclassified",
        text=TEXT,
    )
    clean = rejection.clean.curve
    x, y = ([100 * each for each in line] for line in (clean.coverage, clean.risk))
    axes.plot(x, y, color=INK, lw=2, drawstyle="steps-post", label="clean")
    axes.axvline(100 * rejection.clean.coverage.accuracy, color=FAINT, lw=0.8, ls=(0, (2, 2)))
    for number, cell in enumerate(rejection.cells):
        words = threat_words(cell.threat)
        name = f"{cell.title}, eps {format_eps(cell.eps or 0)}, {words.inline}"
        if cell.curve is not None:
            x, y = ([100 * each for each in line] for line in (cell.curve.coverage, cell.curve.risk))
            axes.plot(x, y, color=words.color, lw=1.6, ls=(0, (4, 1 + number)), label=name)
            continue
        if cell.selective is None:
            continue
        risk = 1 - cell.selective.accuracy
        axes.plot(
            [100 * cell.accepted.accuracy],
            [100 * risk],
            color=words.color,
            marker=words.marker,
            ms=8,
            ls="none",
            clip_on=False,
            label=f"{name}: {percent(risk)}% wrong",
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 101)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure
