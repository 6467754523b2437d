"""`switchbench fit`: a law fitted to a table of runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from switchbench.cli.arguments import AsJson
from switchbench.cli.output import plain_console, print_json


def fit(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="A Parquet or CSV file, or the folder of a sweep's results.", show_default=False
        ),
    ],
    law: Annotated[
        Literal["auto", "power", "chinchilla", "routed", "routed-data", "clark", "joint-moe"],
        typer.Option(help="The form; auto: the one that predicts the largest size best from the others."),
    ] = "auto",
    columns: Annotated[
        str,
        typer.Option(
            metavar="ROLE=COLUMN,...",
            help="Where N, E, D, the loss and the seed are, such as n=dense_parameter_count,loss=loss_validation; "
            "arithmetic such as n=millions*1e6 is allowed. Default: by their usual names.",
            show_default=False,
        ),
    ] = "",
    where: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER", help="Only these rows, such as \"k == 1 and router_type == 'Dense'\".", show_default=False
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="size|seed|none|COLUMN",
            help="Rows that vary together. Default: as the data have it, which is said.",
            show_default=False,
        ),
    ] = None,
    loss: Annotated[str, typer.Option(help="What is minimized: huber:DELTA, lad, mse-log or lsq.")] = "mse-log",
    bootstrap: Annotated[
        int | None,
        typer.Option(min=0, help="Resamples. Default: 1000, fewer where rows are very many.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    predict: Annotated[
        list[str] | None,
        typer.Option(metavar="n=N,e=E,d=D", help="Predict the loss there, too; may be repeated.", show_default=False),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="FLOPS", help="Find the best N, E and D under so many FLOPs, such as 1e20.", show_default=False
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="With --budget: all parameters fit into this, too.", show_default=False),
    ] = None,
    bytes_per_parameter: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="What each takes of --memory. Default: 16, weight, gradient and AdamW's moments.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Store fits.parquet and fits.json there. Default: in a sweep's own folder; of other tables, nowhere.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a law of loss to runs, with intervals on what people use of it, and every reason to doubt it."""
    from rich.console import Console
    from rich.progress import Progress

    from switchbench.errors import ResultsFolderError
    from switchbench.fitting import FitRequest, fit_table, folder_of, print_fit, signed_json, store_fit
    from switchbench.fitting.columns import parse_columns
    from switchbench.fitting.request import parse_budget, parse_places
    from switchbench.laws import parse_loss

    request = FitRequest(
        path=table,
        law=None if law == "auto" else law,
        columns=parse_columns(columns),
        where=where,
        group_by=group_by,
        loss=parse_loss(loss),
        resamples=bootstrap,
        seed=seed,
        places=parse_places(predict or ()),
        budget=parse_budget(budget, memory=memory, bytes_per_parameter=bytes_per_parameter),
    )
    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("fitting resamples", total=1.0)
        answer = fit_table(request, on_progress=lambda share: progress.update(task, completed=share))
    content = signed_json(answer)
    if as_json:
        print_json(content)
    else:
        print_fit(answer, console=plain_console())
    folder = output or folder_of(table)
    if folder is None:
        return
    try:
        store_fit(folder, content)
    except ResultsFolderError as error:
        if output is not None:
            raise
        errors.print(f"warning: {error}", markup=False, highlight=False, soft_wrap=True)
