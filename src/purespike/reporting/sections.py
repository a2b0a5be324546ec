"""The sections of the report page, from top to bottom."""

import contextlib

from purespike.errors import Absent, InputError
from purespike.reporting.comparison import comparison_bars, comparison_title
from purespike.reporting.corrupted import accuracy_grid, beside_grid, corrupted_of
from purespike.reporting.facts import provenance_facts, recipe_facts
from purespike.reporting.figures import accuracy_curve, robustness_bars
from purespike.reporting.robustness import cell_entry, table_threats
from purespike.reporting.routes import routes
from purespike.reporting.sample_grid import sample_grid
from purespike.reporting.section import Report, section
from purespike.reporting.training_curves import firing_rates, training_curves
from purespike.reporting.waterfall import waterfall
from purespike.results.vocabulary import ThreatWords, threat_words


@section("comparison", "Comparison")
def comparison_section(report: Report) -> str:
    """This run and those beside it, on the same images."""
    comparison = report.comparison
    figure = report.figure(
        "comparison",
        "Clean accuracy and worst case of each model, one bar per threat model",
        f"Worst case over all attacks ({comparison.condition}), each with its 95% Wilson interval. Judge by "
        "the adaptive one: its attacker knows the whole model.",
        lambda: comparison_bars(comparison),
        lambda: comparison_bars(comparison, narrow=True),
    )
    return report.fill(
        "comparison.html.j2",
        comparison=comparison,
        title=comparison_title(comparison),
        words=threat_words,
        figure=figure,
    )


@section("robustness", "Robustness")
def robustness_section(report: Report) -> str:
    """The robustness tables; the bars that the README shows repeat them, hence are written and not shown."""
    with contextlib.suppress(InputError):
        report.draw("robustness", lambda: robustness_bars(report.evaluation))
    return report.fill(
        "robustness.html.j2", evaluation=report.evaluation, tables=report.tables, threats=_threats(report)
    )


@section("waterfall", "Which attack breaks what")
def waterfall_section(report: Report) -> str:
    """Robust images after each attack in turn."""
    return report.figure(
        "waterfall",
        "Robust images after each attack and each threat model in turn",
        "Images that are robust to each attack and to all before it; the pale part of a bar was broken by "
        "that attack. The last bar is the worst case per image.",
        lambda: waterfall(report.evaluation),
        lambda: waterfall(report.evaluation, narrow=True),
    )


@section("curve", "Accuracy against perturbation size")
def curve_section(report: Report) -> str:
    """Accuracy against eps, if more than one was measured."""
    if len({cell.eps for cell in report.evaluation.cells if cell.eps}) < 2:
        raise Absent("no attack was run at two sizes of eps")
    return report.figure(
        "accuracy_curve",
        "Accuracy against eps, one line per threat model",
        "Each line is the worst case of one threat model over all attacks up to that eps, each band its 95% "
        "Wilson interval. Eps 0 is the clean accuracy: of "
        "the classifier alone for the undefended line, with the purifier for the others.",
        lambda: accuracy_curve(report.evaluation),
        lambda: accuracy_curve(report.evaluation, narrow=True),
    )


@section("corrupted", "Under corruptions")
def corrupted_section(report: Report) -> str:
    """Corrupted images beside clean ones, if they were evaluated."""
    grids = [beside_grid(report.evaluation), accuracy_grid(corrupted_of(report.evaluation))]
    return report.fill("corrupted.html.j2", grids=grids)


@section("samples", "What the purifier does to an image")
def samples_section(report: Report) -> str:
    """Example images, if there are any."""
    caption = f"{report.samples.caption}. " if report.samples.caption else ""
    return report.figure(
        "samples",
        "Clean, adversarial and purified images, and their differences",
        f"{caption}Under the images made against the classifier is the class that it sees in them, under "
        "purified ones the class that it sees there. The differences are those of the last images above; "
        "they share one factor and are clipped.",
        lambda: sample_grid(report.samples),
        lambda: sample_grid(report.samples, narrow=True),
    )


@section("quality", "Image quality")
def quality_section(report: Report) -> str:
    """Likeness of attacked and purified images to clean ones."""
    if not report.evaluation.quality:
        return ""
    return report.fill("quality.html.j2", quality=report.evaluation.quality)


@section("diagnostics", "Can these numbers be trusted?")
def diagnostics_section(report: Report) -> str:
    """Findings of the diagnostics, and the complaints of attacks."""
    evaluation = report.evaluation
    warned = [cell for cell in evaluation.cells if cell.warnings]
    if not evaluation.diagnostics and not warned:
        return ""
    return report.fill("diagnostics.html.j2", findings=evaluation.diagnostics, warned=warned)


@section("threats", "What each threat model means")
def threats_section(report: Report) -> str:
    """Definitions of the threat models in the table."""
    return report.fill("threats.html.j2", threats=_threats(report))


@section("components", "How the adaptive score came about")
def components_section(report: Report) -> str:
    """Images that each route of an attacker broke."""
    found = list(routes(report.evaluation))
    if not found:
        return ""
    return report.fill(
        "components.html.j2",
        routes=found,
        adaptive=any(part.words.name == "adaptive" for part in found),
        others=any(part.words.name != "adaptive" for part in found),
        escalated=any(cell.raised_from for cell in report.evaluation.cells),
        kept=bool(report.evaluation.settings.kept_surrogates),
        entry=cell_entry,
    )


@section("firing", "Firing rates")
def firing_section(report: Report) -> str:
    """Firing rates by layer."""
    return report.figure(
        "firing_rates",
        "Firing rate of every layer before and after training",
        "The share of its possible spikes that each layer emits, on a square-root axis. A silent layer "
        "passes no signal and no gradient; a saturated one carries no information.",
        lambda: firing_rates(report.history),
        lambda: firing_rates(report.history, narrow=True),
    )


@section("training", "Training")
def training_section(report: Report) -> str:
    """Losses and accuracies by epoch."""
    return report.figure(
        "training_curves",
        "Loss and accuracy by epoch",
        "Losses and accuracies by epoch; a loss that spans more than a factor of ten is on a log scale.",
        lambda: training_curves(report.history),
        lambda: training_curves(report.history, narrow=True),
    )


@section("run", "What was run")
def run_section(report: Report) -> str:
    """Origin of the numbers, and the recipe."""
    environment, recipe, damaged = None, [], []
    try:
        environment = None if report.evaluation.provenance else report.environment
    except Absent:
        pass
    except InputError as error:
        damaged.append(str(error))
    try:
        recipe = recipe_facts(report.recipe)
    except Absent:
        pass
    except InputError as error:
        damaged.append(str(error))
    return report.fill(
        "run.html.j2",
        provenance=provenance_facts(report.evaluation, environment),
        recipe=recipe,
        damaged=damaged,
    )


@section("cost", "Cost")
def cost_section(report: Report) -> str:
    """Passes and seconds of every attack."""
    cells = report.evaluation.cells
    if not cells:
        return ""
    total = {
        name: sum(getattr(cell, name) or 0 for cell in cells) for name in ("forwards", "backwards", "seconds")
    }
    return report.fill("cost.html.j2", cells=cells, total=total)


def _threats(report: Report) -> list[ThreatWords]:
    return [report.evaluation.words(name) for name in table_threats(report.evaluation)]
