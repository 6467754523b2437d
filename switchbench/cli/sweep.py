"""`switchbench sweep`: train what is missing."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from switchbench.cli.arguments import AsJson
from switchbench.cli.output import DEFAULT_RESULTS, plain_console, print_json, print_lines

EXIT_FAILED_RUNS = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


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
    per_gpu: Annotated[int, typer.Option(min=1, help="Runs that share a GPU; their times are marked as shared.")] = 1,
    dispatch: Annotated[
        Literal["auto", "loop", "grouped_mm", "padded"],
        typer.Option(help="How experts are computed; auto: as is fastest for device, precision and shape."),
    ] = "auto",
    executor: Annotated[
        Literal["local", "ray", "slurm"], typer.Option(help="What runs are executed by: this machine, or a cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Head of the Ray cluster. Default: the one that this machine is part of, or a new one of it alone.",
            show_default=False,
        ),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Option of Slurm's jobs, such as partition=gpu, account=lab, time=120 (minutes) or mem=16GB; repeat.",
            show_default=False,
        ),
    ] = None,
    max_hours: Annotated[
        float | None,
        typer.Option(metavar="HOURS", help="Refuse to start if it is estimated to take longer.", show_default=False),
    ] = None,
    max_flops: Annotated[
        str | None,
        typer.Option(
            metavar="FLOPS",
            help="Refuse to start if all runs together train with more: 1e15.",
            show_default=False,
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Refuse to start if a run may need more, as in 8GiB or 500MB; end one that does all the same.",
            show_default=False,
        ),
    ] = None,
    no_calibrate: Annotated[
        bool, typer.Option("--no-calibrate", help="Measure no step times beforehand; the time is not estimated.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="EXPR",
            help="Only the runs of which this is true, as in 'num_experts >= 16 and seed == 0'. Dense: one expert.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="End a run that takes longer, as in 90s, 30min or 2h.", show_default=False),
    ] = None,
    checkpoint_every: Annotated[
        str, typer.Option(metavar="TIME", help="Time between two checkpoints of a run, from which it can go on.")
    ] = "10min",
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Keep the final weights of the runs, for `switchbench generate`.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Start no run any more once one has failed.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run also those again that diverged or ran out of memory.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Run everything again, in place of the results that are there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan with what it costs; start no run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train what a sweep file asks for and what is still missing, then time every configuration alone.

    The same command again runs only what is missing or failed, and goes on from checkpoints; in a second terminal it
    takes part in the work. Runs that are killed, crash or take too long are tried again up to twice; those that fail
    all the same are recorded and listed, and the others go on; the exit code is then 3.
    """
    from switchbench.errors import UsageError
    from switchbench.launch.checkpoints import unkept_line
    from switchbench.launch.clusters.delegation import check_options, unknown_estimates
    from switchbench.launch.display import watching
    from switchbench.launch.estimates import estimate_plan
    from switchbench.launch.interrupts import termination_interrupts
    from switchbench.launch.limits import Limits, check_dispatch, memory_warning
    from switchbench.launch.plan import Again, expand_sweep, make_plan
    from switchbench.launch.plan_table import print_plan
    from switchbench.launch.run import run_plan
    from switchbench.launch.scheduler import Policy
    from switchbench.launch.slots import Setup, resolve_workers
    from switchbench.launch.summary import closing_lines, failure_lines, interrupted_lines, summary_json
    from switchbench.quantities import parse_duration
    from switchbench.store import SweepFolder
    from switchbench.sweep import parse_filter

    if per_gpu > 1 and executor == "slurm":
        raise UsageError("--per-gpu goes with --executor local or ray: a job of Slurm has its GPU for itself")
    cluster = check_options(executor, address=address, slurm=slurm or (), workers=workers, threads=threads)
    if cluster is None:
        resolve_workers(workers, threads=threads)
    setup = Setup(
        workers=workers,
        threads=threads,
        device=device,
        dispatch=dispatch,
        per_gpu=per_gpu,
        checkpoint_every_s=parse_duration(checkpoint_every, name="--checkpoint-every"),
        keep_checkpoints=keep_checkpoints,
        cluster=cluster,
    )
    limits = Limits.parse(hours=max_hours, flops=max_flops, memory=max_memory)
    policy = Policy(
        timeout_s=None if timeout is None else parse_duration(timeout, name="--timeout"),
        memory_bytes=limits.memory_bytes,
        fail_fast=fail_fast,
    )
    if no_calibrate and limits.hours is not None:
        raise UsageError("--max-hours needs step times, which --no-calibrate does not measure; leave out one of them")
    if cluster is not None and limits.hours is not None:
        raise UsageError(f"--max-hours: the time is not known beforehand with --executor {executor}; use --timeout")
    chosen = None if only is None else parse_filter(only)
    expanded = expand_sweep(file, overrides=overrides or ())
    again: Again = "all" if force else "early" if retry_failed else "failed"
    plan = make_plan(expanded, folder=SweepFolder(results / expanded.name), again=again, only=chosen)
    for unreadable in plan.unreadable:
        print(f"warning: {unreadable}", file=sys.stderr)
    if (unkept := unkept_line(plan, keeps_all=keep_checkpoints)) is not None:
        print(f"warning: {unkept}", file=sys.stderr)
    check_dispatch(plan, dispatch=dispatch)
    limits.check_costs(plan)
    if dry_run:
        with watching() as on_event:
            if cluster is None:
                estimates = estimate_plan(plan, setup=setup, is_timed=not no_calibrate, on_event=on_event)
            else:
                estimates = unknown_estimates(plan, setup=setup)
        if as_json:
            print_json(estimates.as_json())
        else:
            print_plan(estimates, console=plain_console())
        if cluster is None and (warning := memory_warning(estimates)) is not None:
            print(f"warning: {warning}", file=sys.stderr)
        limits.check_time(estimates)
        return
    if plan.amended is not None and (changes := plan.amended.line()) is not None:
        print(f"{expanded.name}: {changes}", file=sys.stderr)
    with termination_interrupts() as is_terminated:
        try:
            with watching() as on_event:
                outcome = run_plan(
                    plan, setup=setup, on_event=on_event, is_timed=not no_calibrate, limits=limits, policy=policy
                )
        except KeyboardInterrupt:
            print_lines(interrupted_lines(plan), file=sys.stderr)
            raise typer.Exit(EXIT_TERMINATED if is_terminated() else EXIT_INTERRUPTED) from None
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
