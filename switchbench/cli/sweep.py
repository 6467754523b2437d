"""`switchbench sweep`: train what is missing."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from switchbench.cli.output import DEFAULT_RESULTS, plain_console, print_json, print_lines

EXIT_FAILED_RUNS = 3
EXIT_INTERRUPTED = 130


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sweep file (YAML).", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings by their path in the file, such as base.train.tokens=3e5 or sweep.seeds=[0].",
            show_default=False,
        ),
    ] = None,
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that holds the results of all sweeps.")
    ] = DEFAULT_RESULTS,
    workers: Annotated[
        int | None, typer.Option(help="Runs side by side. Default: cores // threads; one per GPU.", show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads, and cores of its own, of each run.")] = 1,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run; auto: on GPUs if there are any.")
    ] = "auto",
    dispatch: Annotated[
        Literal["auto", "loop", "grouped_mm", "padded"],
        typer.Option(help="How experts are computed; auto: as is fastest for device, precision and shape."),
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; start nothing, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Train what a sweep file asks for and what is still missing, then time every configuration alone.

    The same command again runs only what is missing or failed. Runs that fail are recorded and listed, and the others
    go on; the exit code is then 3.
    """
    from switchbench.launch.display import watching
    from switchbench.launch.local import run_plan
    from switchbench.launch.plan import expand_sweep, make_plan
    from switchbench.launch.slots import resolve_workers
    from switchbench.launch.summary import closing_lines, failure_lines, interrupted_lines, print_plan, summary_json
    from switchbench.store import SweepFolder

    resolve_workers(workers, threads=threads)
    expanded = expand_sweep(file, overrides=overrides or ())
    plan = make_plan(expanded, folder=SweepFolder(results / expanded.name))
    for unreadable in plan.unreadable:
        print(f"warning: {unreadable}", file=sys.stderr)
    if dry_run:
        if as_json:
            print_json(plan.as_json())
        else:
            print_plan(plan, console=plain_console())
        return
    try:
        with watching() as on_event:
            outcome = run_plan(
                plan, on_event=on_event, workers=workers, threads=threads, device=device, dispatch=dispatch
            )
    except KeyboardInterrupt:
        print_lines(interrupted_lines(plan), file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    print_lines(failure_lines(outcome), file=sys.stderr)
    if as_json:
        print_json(summary_json(outcome))
    else:
        report = ["switchbench", "report", *([] if results == DEFAULT_RESULTS else [str(results)])]
        print_lines(
            closing_lines(outcome, report_command=shlex.join([*report, "--sweep", expanded.name])),
            file=sys.stdout,
        )
    if outcome.failed:
        raise typer.Exit(EXIT_FAILED_RUNS)
