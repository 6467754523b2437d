"""`switchbench status`: how sweeps stand."""

from pathlib import Path
from typing import Annotated

import typer

from switchbench.cli.output import DEFAULT_RESULTS, plain_console, print_json


def status(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder with the results of sweeps, or of one sweep.")
    ] = DEFAULT_RESULTS,
    sweep: Annotated[str | None, typer.Option(metavar="NAME", help="Only this sweep.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Say what is done, running, failed and missing, also while sweeps run in other terminals; needs no sweep file."""
    from switchbench.inspection.standing import survey
    from switchbench.inspection.standing_page import print_survey

    found = survey(results, sweep=sweep)
    if as_json:
        print_json(found.as_json())
    else:
        print_survey(found, console=plain_console())
