"""`switchbench prune`: remove what no sweep names any more."""

import sys
from typing import Annotated

import typer

from switchbench.cli.arguments import OnlySweep, Results
from switchbench.cli.output import DEFAULT_RESULTS, plain_console, print_json, print_lines


def prune(
    results: Results = DEFAULT_RESULTS,
    sweep: OnlySweep = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer with one JSON object; nothing is removed without --yes.")
    ] = False,
) -> None:
    """Remove results that are no longer in their sweep's file, and temporary files; show them first, with sizes.

    Of a run that the manifest no longer names: its result, curve, log and checkpoints; of a configuration: its step
    times. Sweeps that a command is running are left alone, and so are files of other names.
    """
    from switchbench.errors import UsageError
    from switchbench.inspection.leftovers import find_leftovers, leftovers_json, remove_leftovers
    from switchbench.inspection.leftovers_page import files_text, obstacle_lines, print_leftovers

    found = find_leftovers(results, sweep=sweep)
    print_lines(obstacle_lines(found), file=sys.stderr)
    if as_json:
        print_json(leftovers_json(found, removed=remove_leftovers(found) if yes else []))
        return
    files = [file for each in found for file in each.files]
    if not files:
        print("Nothing to remove.")
        return
    print_leftovers(found, console=plain_console())
    if not yes:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError("nothing was removed: without a terminal to ask on, prune needs --yes")
        sys.stdout.flush()
        if not typer.confirm(f"Remove {files_text(files)}?"):
            print("Nothing was removed.")
            return
    print(f"Removed {files_text(remove_leftovers(found))}.")
