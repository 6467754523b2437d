"""`switchbench report`: draw the tables."""

from pathlib import Path
from typing import Annotated

import typer

from switchbench.cli.output import DEFAULT_RESULTS, plain_console


def report(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder with the results of sweeps, or of one sweep.")
    ] = DEFAULT_RESULTS,
    sweep: Annotated[str | None, typer.Option(metavar="NAME", help="Only this sweep.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Draw the tables: dense against sparse head to head, what each costs, what capacity buys, how cost grows."""
    from switchbench.report import build_report, render_report, report_json

    built = build_report(results, sweep=sweep)
    if as_json:
        print(report_json(built))
    else:
        render_report(built, console=plain_console())
