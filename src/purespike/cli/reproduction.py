"""The command that reproduces the paper's experiments."""

from pathlib import Path
from typing import Annotated

import typer

from purespike.cli.names import check_experiments
from purespike.cli.options import Device, app, start
from purespike.console import show


@app.command()
def reproduce(
    experiments: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPERIMENT...",
            help="table1, table2, table3, table4, fig1, fig4, fig5, transfer, ablation, or all of these; and "
            "holding, holding-ablation: purifiers trained through the whole, beside their rivals; peers: the "
            "systems that the paper compares itself with, under one attacker; peers-sweep: "
            "coefficients of theirs that are not published.",
            show_default=False,
        ),
    ],
    scale: Annotated[
        str, typer.Option(help="paper, gpu or cpu: networks, epochs and images; or a YAML file.")
    ] = "cpu",
    seeds: Annotated[int, typer.Option(help="Number of seeds, reported as mean ± deviation.")] = 1,
    data: Annotated[
        list[str],
        typer.Option(
            metavar="SET=SOURCE",
            help="Source of a data set, e.g. cifar10=npz:arrays/cifar10; may be repeated.",
        ),
    ] = [],  # noqa: B006
    rows: Annotated[
        list[str],
        typer.Option(
            metavar="ROW",
            help="Row of the table, by its name, or several with commas; may be repeated; default all.",
        ),
    ] = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/reproduction-SCALE")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            help="Markdown page to update: results go between its markers, such as <!-- table1 -->."
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Reproduce the paper's tables and figures, its numbers beside ours. Run again to resume."""
    check_experiments(experiments, scale)
    from purespike.checks import check_steps
    from purespike.errors import InputError
    from purespike.files import remove_abandoned
    from purespike.reproduction import EXPERIMENTS, load_scale
    from purespike.reproduction import reproduce as repeat
    from purespike.reproduction.context import ExperimentContext, Unavailable
    from purespike.reproduction.output import document
    from purespike.reproduction.registry import check_experiments as chosen_of
    from purespike.reproduction.scale import parse_sources
    from purespike.reproduction.sheet import Sheet
    from purespike.run_folder import check_folder

    check_folder(out)
    check_steps(seeds, name="seeds")
    names = chosen_of(experiments)
    if rows and (others := [name for name in names if not EXPERIMENTS[name].choice]):
        raise InputError(f"rows: {', '.join(others)} offers no choice of rows")
    chosen = load_scale(scale)
    sources = parse_sources(data, chosen)
    if page is not None and not page.is_file():
        raise InputError(f"{page}: no such page")
    accelerator = start(device, chosen.precision)
    folder = out or Path("runs") / f"reproduction-{Path(scale).stem}"
    # several experiments may share the folder at a time, hence no lock
    remove_abandoned(folder)
    context = ExperimentContext(chosen, folder, accelerator, sources=sources, seeds=seeds, rows=rows)
    # a slip in a path must not pass for data that nobody has
    for dataset in sources:
        try:
            context.data(dataset)
        except Unavailable as error:
            raise InputError(f"--data {dataset}={sources[dataset]}: {error}") from error
    for name in names:
        made = repeat(name, context, origin={"name": Path(scale).stem})
        if accelerator.is_main_process:
            show((made / "table.md").read_text(encoding="utf-8"))
            sheet = Sheet.read(made / "result.json")
            for reason in dict.fromkeys(row.reason for row in sheet.rows if row.unavailable):
                show(f"{reason} (--data SET=SOURCE)")
            show(f"{name}: {made}")
    if page is not None and accelerator.is_main_process:
        document(folder, page)
        show(f"page: {page}")
